// Client of the server: images, videos, cameras. Every failure is a UserError, in plain words.

import { FrameCapture } from "./capture.js";

const MAX_ATTEMPTS = 6, POLL_MS = 400;

/** An error for the user: what went wrong, and what to do. */
export class UserError extends Error {
  constructor(message, hint = "", status = 0) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

let token = null;
let askForToken = async () => null;

/** Set the function that asks the user for a token when the server requires one. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** The served models. */
export async function listModels() {
  const { models } = await json(await call("/v1/models"));
  return models;
}

export const server = {
  name: "server",

  /** Read one image file. */
  async readImage(file, { model, signal, whole }) {
    const form = new FormData();
    form.append("files", file, "image"); // the file's own name stays here
    const values = { model: model.name, min_confidence: 0, faces: whole ? "whole" : "detect" };
    const answer = await call(`/v1/predict?${query(values)}`,
      { method: "POST", body: form, signal });
    const [image] = (await json(answer)).images;
    if (image.error) throw new UserError(image.error.message, image.error.hint);
    return image;
  },

  /** Process a video: frames, each {time_s, faces}. `progress(fraction, text)` reports progress. */
  async readVideo(file, { model, signal, progress }) {
    const form = new FormData();
    form.append("file", file, "video");
    progress(0, "Uploading the video");
    const start = `/v1/video?${query({ model: model.name, min_confidence: 0 })}`;
    let job = await json(await call(start, { method: "POST", body: form, signal }));
    const address = `/v1/video/${encodeURIComponent(job.id)}`;
    const cancel = () => call(address, { method: "DELETE" }).catch(() => {});
    signal.addEventListener("abort", cancel);
    try {
      while (job.status === "queued" || job.status === "running") {
        progress(job.progress, job.status === "queued" ? "Waiting in the queue" : "Processing");
        await pause(POLL_MS);
        signal.throwIfAborted();
        job = await json(await call(address, { signal }));
      }
    } finally {
      signal.removeEventListener("abort", cancel);
    }
    if (job.status !== "done") {
      const error = job.error ?? {};
      throw new UserError(error.message ?? `the video was ${job.status}`, error.hint);
    }
    const { rows } = await json(await call(`${address}/result?format=json`, { signal }));
    cancel(); // the result is here: delete it on the server
    return framesOf(rows, model.labels);
  },

  /** Start a camera; `onReading(answer, image)` gets each answer and the canvas it is about. */
  async live({ model, onReading, onEnd }) {
    return new Live(model, onReading, onEnd).open();
  },
};

/** A camera stream over a WebSocket; at most two frames are unanswered, so that delay stays low. */
class Live {
  constructor(model, onReading, onEnd) {
    Object.assign(this, { model, onReading, onEnd, sent: 0, answered: 0, busy: false, done: false });
    this.captures = new FrameCapture();
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
        const error = new UserError(reason || "the server closed the connection",
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
    const image = this.captures.take(video, this.sent);
    const jpeg = await new Promise((resolve) => image.toBlob(resolve, "image/jpeg", 0.85));
    this.busy = false;
    if (!jpeg || this.socket.readyState !== WebSocket.OPEN) return;
    this.sent += 1;
    this.socket.send(jpeg);
  }

  receive(answer) {
    this.answered = Math.max(this.answered + 1, answer.frame + 1);
    if (answer.error) return; // a damaged frame; the server closes the connection after many
    this.onReading(answer, this.captures.get(answer.frame));
  }

  close() {
    this.done = true;
    this.socket.close();
  }
}

/** Rows of a video, one per face and frame, as frames. */
export function framesOf(rows, labels) {
  const frames = new Map();
  const fractions = (row, prefix) => (row[`${prefix}_${labels[0]}`] == null ? null
    : Object.fromEntries(labels.map((label) => [label, Number(row[`${prefix}_${label}`])])));
  for (const row of rows) {
    if (!frames.has(row.frame)) frames.set(row.frame, { frame: row.frame, time_s: row.time_s, faces: [] });
    if (row.track == null) continue;
    frames.get(row.frame).faces.push({
      track: row.track, box: row.box ?? [row.x0, row.y0, row.x1, row.y1], score: row.score,
      quality: row.quality ?? "good", yaw: row.yaw, pitch: row.pitch, roll: row.roll,
      raw: fractions(row, "raw"), probabilities: fractions(row, "p"),
    });
  }
  return [...frames.values()];
}

/** Call the server; retry while it is busy; ask for a token if it requires one. */
async function call(address, options = {}) {
  for (let attempt = 1; ; attempt++) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(address, { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new UserError("the server does not respond", "check that it is running, then try again");
    });
    if (answer.ok) return answer;
    if (answer.status === 401) {
      token = await askForToken(token !== null);
      if (token) continue;
    }
    const busy = answer.status === 429 || answer.status === 503;
    if (!busy || attempt === MAX_ATTEMPTS) throw await errorOf(answer);
    await pause(1000 * Math.min(Number(answer.headers.get("retry-after")) || 1, 10));
    options.signal?.throwIfAborted();
  }
}

async function errorOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const message = body.detail ?? body.title ?? `the server responded with status ${answer.status}`;
  return new UserError(message, body.hint ?? "try again", answer.status);
}

async function json(answer) {
  return answer.json().catch(() => {
    throw new UserError("the server's response was cut off", "try again");
  });
}

const query = (values) => new URLSearchParams(values).toString();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
