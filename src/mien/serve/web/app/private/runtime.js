// onnxruntime-web: on WebGPU where browser and server have it and it is faster, else WebAssembly.

export const ASSETS = new URL("../../", import.meta.url); // .../assets/

const BUILDS = {
  wasm: ["vendor/ort.wasm.min.mjs", "vendor/ort-wasm-simd-threaded.mjs", "vendor/ort-wasm-simd-threaded.wasm"],
  // Has WebAssembly too, but is twice as large: only browsers with a graphics processor fetch it.
  webgpu: ["vendor/ort.webgpu.min.mjs", "vendor/ort-wasm-simd-threaded.asyncify.mjs",
    "vendor/ort-wasm-simd-threaded.asyncify.wasm"],
};
const TRIALS = 5, MAX_DIFFERENCE = 1e-3;

/** Files of private mode that the server does not have. */
export class MissingFiles extends Error {
  constructor(names) {
    super(names.join(", "));
    this.names = names;
  }
}

/** A file whose SHA-256 is not the expected one. */
export class DamagedFile extends Error {
  constructor(name, found, expected) {
    super(`the SHA-256 of ${name} is ${found}, expected ${expected}`);
    this.file = name;
  }
}

/**
 * Fetch the runtime and other files; there are no requests afterwards.
 * @param {string[]} names of the other files, below `assets`.
 * @param {(fraction: number) => void} progress called with 0 to 1.
 * @param {object} options
 * @param {string} [options.provider] take this one, 'wasm' or 'webgpu', without a trial.
 * @param {boolean} [options.software] for tests: accept WebGPU that the processor emulates.
 * @param {string} [options.assets] address of the folder of the other files.
 * @param {string} [options.vendor] address of the folder of onnxruntime-web's files.
 * @param {object} [options.sha256] expected hashes by name; other files are not checked.
 * @returns {Promise<{runtime: Runtime, files: Uint8Array[]}>}
 */
export async function fetchRuntime(names, progress, options = {}) {
  const { software = false, provider = "", assets = ASSETS, sha256 = {} } = options;
  const vendor = options.vendor ?? new URL("vendor/", assets);
  const place = { sha256, address: (name) => (name.startsWith("vendor/")
    ? new URL(name.slice("vendor/".length), vendor) : new URL(name, assets)) };
  const gpu = provider !== "wasm" && (await hasAdapter(software));
  if (gpu) {
    try {
      return await fetchBuild("webgpu", names, progress, provider, place);
    } catch (error) {
      // A wheel has no room for this build; a checkout has it after `make web`.
      if (!error.names?.every((name) => BUILDS.webgpu.includes(name))) throw error;
    }
  }
  return fetchBuild("wasm", names, progress, "wasm", place);
}

async function fetchBuild(build, names, progress, provider, place) {
  const [script, glue, binary] = BUILDS[build];
  const [wasm, ...files] = await fetchAll([binary, ...names], progress, place);
  const ort = await import(place.address(script)).catch(() => {
    throw new MissingFiles([script]);
  });
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: place.address(glue).href };
  // Threads need shared memory, which browsers allow on isolated pages only.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? threads() : 1;
  return { runtime: new Runtime(ort, provider), files };
}

export class Runtime {
  /** @param {string} provider 'wasm', 'webgpu', or '' for the faster one of each network. */
  constructor(ort, provider) {
    Object.assign(this, { ort, provider });
  }

  /**
   * A session, and what runs it: 'wasm' or 'webgpu'.
   * @param {Uint8Array} bytes of the network.
   * @param {number[]} dims of a usual input, uint8; none takes WebAssembly.
   */
  async open(bytes, dims) {
    if (this.provider || !dims) {
      const provider = dims ? this.provider : "wasm";
      return { session: await this.#create(bytes, provider), provider };
    }
    const wasm = await this.#create(bytes, "wasm");
    const webgpu = await this.#create(bytes, "webgpu").catch(() => null);
    // A driver may be slow, or wrong.
    if (webgpu && (await this.#isBetter(webgpu, wasm, dims).catch(() => false))) {
      await wasm.release();
      return { session: webgpu, provider: "webgpu" };
    }
    await webgpu?.release();
    return { session: wasm, provider: "wasm" };
  }

  #create(bytes, provider) {
    return this.ort.InferenceSession.create(bytes, {
      executionProviders: [provider],
      // Spinning threads would keep a core busy while they wait.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
  }

  /** Whether a session gives what another gives, in less time. */
  async #isBetter(session, other, dims) {
    const data = new Uint8Array(dims.reduce((a, b) => a * b)).map((_, i) => (i * 7919) % 251);
    const run = (one) => one.run({ [one.inputNames[0]]: new this.ort.Tensor("uint8", data, dims) });
    const [outputs, expected] = [await run(session), await run(other)]; // compiles, too
    for (const name of other.outputNames) {
      const values = outputs[name].data;
      if (expected[name].data.some((v, i) => !(Math.abs(v - values[i]) <= MAX_DIFFERENCE))) return false;
    }
    const taken = { session: [], other: [] };
    for (let trial = 0; trial < TRIALS; trial++) {
      for (const [name, one] of [["session", session], ["other", other]]) {
        const began = performance.now();
        await run(one);
        taken[name].push(performance.now() - began);
      }
    }
    return Math.min(...taken.session) < Math.min(...taken.other);
  }
}

/** Whether the browser offers WebGPU on a graphics processor. */
async function hasAdapter(software) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && (software || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}

/** Half of the cores, at most four: the page and the camera need some too. */
function threads() {
  return Math.min(Math.max((navigator.hardwareConcurrency ?? 1) >> 1, 1), 4);
}

async function fetchAll(names, progress, { address, sha256 }) {
  const answers = await Promise.all(names.map((name) => fetch(address(name)).catch(() => ({}))));
  const missing = names.filter((_, i) => !answers[i].ok);
  if (missing.length) throw new MissingFiles(missing);
  const total = answers.reduce((sum, a) => sum + Number(a.headers.get("content-length") ?? 0), 0);
  let got = 0;
  return Promise.all(answers.map(async (answer, i) => {
    const parts = [];
    for await (const part of chunks(answer.body.getReader())) {
      parts.push(part);
      got += part.length;
      progress(total ? Math.min(got / total, 1) : 0);
    }
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    await checkHash(names[i], bytes, sha256[names[i]]);
    return bytes;
  }));
}

/** Compare a file with its expected SHA-256; browsers compute it in secure contexts only. */
async function checkHash(name, bytes, expected) {
  if (!expected || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== expected) throw new DamagedFile(name, found, expected);
}

async function* chunks(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
