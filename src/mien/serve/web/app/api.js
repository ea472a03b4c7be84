// Reading on the server: pictures, videos, cameras. Every failure is a Trouble, in plain words.

import { Grabs } from "./grabs.js";

const TRIES = 6, POLL_MS = 400;

/** What went wrong, and what to do. */
export class Trouble extends Error {
  constructor(message, hint = "", status = 0) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

let token = null;
let askForToken = async () => null;

/** Tell who asks the user for a token when the server wants one. */
export function onLocked(ask) {
  askForToken = ask;
}

/** The models that the server offers. */
export async function listModels() {
  const { models } = await json(await call("/v1/models"));
  return models;
}

export const server = {
  name: "server",

  /** Read one picture file. */
  async readPicture(file, { model, signal, whole }) {
    const form = new FormData();
    form.append("files", file, "picture"); // its name is nobody's business
    const values = { model: model.name, min_confidence: 0, faces: whole ? "whole" : "detect" };
    const answer = await call(`/v1/predict?${query(values)}`,
      { method: "POST", body: form, signal });
    const [picture] = (await json(answer)).images;
    if (picture.error) throw new Trouble(picture.error.message, picture.error.hint);
    return picture;
  },

  /** Read a video: frames, each {time_s, faces}. `progress(share, words)` is called on the way. */
  async readVideo(file, { model, signal, progress }) {
    const form = new FormData();
    form.append("file", file, "video");
    progress(0, "Sending the video");
    const start = `/v1/video?${query({ model: model.name, min_confidence: 0 })}`;
    let job = await json(await call(start, { method: "POST", body: form, signal }));
    const address = `/v1/video/${encodeURIComponent(job.id)}`;
    const cancel = () => call(address, { method: "DELETE" }).catch(() => {});
    signal.addEventListener("abort", cancel);
    try {
      while (job.status === "queued" || job.status === "running") {
        progress(job.progress, job.status === "queued" ? "Waiting for its turn" : "Reading");
        await pause(POLL_MS);
        signal.throwIfAborted();
        job = await json(await call(address, { signal }));
      }
    } finally {
      signal.removeEventListener("abort", cancel);
    }
    if (job.status !== "done") {
      const error = job.error ?? {};
      throw new Trouble(error.message ?? `the video was ${job.status}`, error.hint);
    }
    const { rows } = await json(await call(`${address}/result?format=json`, { signal }));
    cancel(); // nothing of it stays there
    return framesOf(rows, model.labels);
  },

  /** Begin a camera; `onReading(answer, picture)` gets each answer, and the canvas it is about. */
  async live({ model, onReading, onEnd }) {
    return new Live(model, onReading, onEnd).open();
  },
};

/** A camera read over a WebSocket: at most two pictures are on their way, newer ones wait. */
class Live {
  constructor(model, onReading, onEnd) {
    Object.assign(this, { model, onReading, onEnd, sent: 0, answered: 0, busy: false, done: false });
    this.grabs = new Grabs();
  }

  open() {
    const address = new URL(`/v1/live?${query({ model: this.model.name })}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    return new Promise((resolve, reject) => {
      this.socket.onopen = () => {
        this.socket.send(JSON.stringify({ token, min_confidence: 0 }));
        resolve(this);
      };
      this.socket.onclose = ({ reason }) => {
        const error = new Trouble(reason || "the server ended the connection",
          "it may be busy or restarting: start the camera again in a moment");
        reject(error);
        if (!this.done) this.onEnd(error);
        this.done = true;
      };
    });
  }

  get ready() {
    return !this.busy && this.sent - this.answered < 2 && this.socket.readyState === WebSocket.OPEN;
  }

  async send(video) {
    this.busy = true;
    const picture = this.grabs.take(video, this.sent);
    const jpeg = await new Promise((resolve) => picture.toBlob(resolve, "image/jpeg", 0.85));
    this.busy = false;
    if (!jpeg || this.socket.readyState !== WebSocket.OPEN) return;
    this.sent += 1;
    this.socket.send(jpeg);
  }

  receive(answer) {
    this.answered = Math.max(this.answered + 1, answer.frame + 1);
    if (answer.error) return; // one picture that was broken; the server ends it if many are
    this.onReading(answer, this.grabs.get(answer.frame));
  }

  close() {
    this.done = true;
    this.socket.close();
  }
}

/** Rows of a video, one a face and frame, as frames. */
export function framesOf(rows, labels) {
  const frames = new Map();
  const shares = (row, prefix) => (row[`${prefix}_${labels[0]}`] == null ? null
    : Object.fromEntries(labels.map((label) => [label, Number(row[`${prefix}_${label}`])])));
  for (const row of rows) {
    if (!frames.has(row.frame)) frames.set(row.frame, { frame: row.frame, time_s: row.time_s, faces: [] });
    if (row.track == null) continue;
    frames.get(row.frame).faces.push({
      track: row.track, box: row.box ?? [row.x0, row.y0, row.x1, row.y1], score: row.score,
      quality: row.quality ?? "good", raw: shares(row, "raw"), probabilities: shares(row, "p"),
    });
  }
  return [...frames.values()];
}

/** Call the server; wait when it is busy; ask for a token when it wants one. */
async function call(address, options = {}) {
  for (let attempt = 1; ; attempt++) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(address, { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Trouble("the server does not answer", "is it still running? Then try again");
    });
    if (answer.ok) return answer;
    if (answer.status === 401) {
      token = await askForToken(token !== null);
      if (token) continue;
    }
    const busy = answer.status === 429 || answer.status === 503;
    if (!busy || attempt === TRIES) throw await troubleOf(answer);
    await pause(1000 * Math.min(Number(answer.headers.get("retry-after")) || 1, 10));
    options.signal?.throwIfAborted();
  }
}

async function troubleOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const message = body.detail ?? body.title ?? `the server answered ${answer.status}`;
  return new Trouble(message, body.hint ?? "try again", answer.status);
}

async function json(answer) {
  return answer.json().catch(() => {
    throw new Trouble("the server's answer was cut off", "try again");
  });
}

const query = (values) => new URLSearchParams(values).toString();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
