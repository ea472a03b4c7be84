// The page's side of a worker: questions and answers, whoever asks. client.js uses it for the page of
// `mien serve`, and index.js of the npm package @mien/browser.

/** A failure inside the worker; `missing` names files that could not be fetched, or `damaged` one. */
export class WorkerFailure extends Error {
  constructor({ message, missing = null, damaged = null }) {
    super(message);
    Object.assign(this, { missing, damaged });
  }
}

export class Connection {
  #worker;
  #calls = new Map();
  #number = 0;

  /**
   * @param {(fraction: number) => void} progress called with 0 to 1 while files are fetched.
   */
  constructor(progress) {
    this.progress = progress;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) return this.progress(data.progress);
      const { resolve, reject } = this.#calls.get(data.id);
      this.#calls.delete(data.id);
      return data.error ? reject(new WorkerFailure(data.error)) : resolve(data.result);
    };
    this.#worker.onerror = () => this.#fail("the worker did not start");
  }

  /** Send {kind, ...values}; a promise of the result, or of a WorkerFailure. */
  ask(kind, values, transfer = []) {
    return new Promise((resolve, reject) => {
      this.#calls.set(++this.#number, { resolve, reject });
      this.#worker.postMessage({ id: this.#number, kind, ...values }, transfer);
    });
  }

  /** End the worker; with a reason, what is not answered yet fails, else it is forgotten. */
  close(reason = "") {
    this.#worker.terminate();
    if (reason) this.#fail(reason);
  }

  #fail(message) {
    for (const { reject } of this.#calls.values()) reject(new WorkerFailure({ message }));
    this.#calls.clear();
  }
}
