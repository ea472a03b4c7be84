// Reading in this browser: the page's side of the worker. Same methods as `server` in api.js.

import { Trouble } from "../api.js";
import { Grabs } from "../grabs.js";

const LONGEST = 640, STEP_S = 0.1;
const MOST_PIXELS = 50e6;

let worker = null, ready = null, loaded = "", calls = new Map(), number = 0, onProgress = () => {};

/** Fetch and start everything; again and again gives the same. `progress(share)` from 0 to 1. */
export function prepare(model, progress) {
  onProgress = progress;
  if (ready && loaded !== model.name) stop();
  loaded = model.name;
  ready ??= start(model).catch((error) => {
    stop();
    throw error;
  });
  return ready;
}

function stop() {
  worker?.terminate();
  worker = ready = null;
}

async function start(model) {
  worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  calls = new Map();
  worker.onmessage = ({ data }) => {
    if (data.progress !== undefined) return onProgress(data.progress);
    const { resolve, reject } = calls.get(data.id);
    calls.delete(data.id);
    return data.error ? reject(explain(data.error)) : resolve(data.result);
  };
  worker.onerror = () => {
    for (const { reject } of calls.values()) reject(explain({ message: "it could not be started" }));
    calls.clear();
  };
  return ask("load", { model });
}

function ask(kind, values, transfer = []) {
  return new Promise((resolve, reject) => {
    calls.set(++number, { resolve, reject });
    worker.postMessage({ id: number, kind, ...values }, transfer);
  });
}

export const here = {
  name: "private",

  async readPicture(file, { model, whole }) {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
      throw new Trouble("this browser cannot open that file as a picture",
        "save it as JPEG, PNG or WebP and try again");
    });
    if (bitmap.width * bitmap.height > MOST_PIXELS) {
      throw new Trouble("the picture is too large to be read in a browser", "scale it down first");
    }
    const answer = await ask("picture", { bitmap, whole }, [bitmap]);
    return { ...worded(answer, model.labels), detector: "mtcnn", model: model.name };
  },

  /** Step through the video; each tenth of a second is read, however long that takes. */
  async readVideo(file, { model, signal, progress }) {
    const video = await openVideo(file);
    const frames = [];
    try {
      await ask("begin", { paced: false });
      for (let time = 0; time < video.duration; time += STEP_S) {
        signal.throwIfAborted();
        await seek(video, time);
        const bitmap = await shrunk(video);
        const answer = worded(await ask("frame", { bitmap, time }, [bitmap]), model.labels);
        frames.push({ ...grown(answer, video.videoWidth / answer.width), frame: frames.length });
        progress(time / video.duration, "Reading in this browser");
      }
    } finally {
      URL.revokeObjectURL(video.src);
    }
    return frames;
  },

  async live({ model, onReading, onEnd }) {
    await ask("begin", { paced: true });
    const began = performance.now(), grabs = new Grabs();
    let frame = 0;
    const live = {
      ready: true,
      async send(video) {
        live.ready = false;
        try {
          const picture = grabs.take(video, frame++);
          const time = (performance.now() - began) / 1000;
          const bitmap = await createImageBitmap(picture);
          onReading(worded(await ask("frame", { bitmap, time }, [bitmap]), model.labels), picture);
          live.ready = true;
        } catch (error) {
          onEnd(error);
        }
      },
      close() {},
    };
    return live;
  },
};

function shrunk(video) {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  if (scale === 1) return createImageBitmap(video);
  return createImageBitmap(video, {
    resizeWidth: Math.round(video.videoWidth * scale),
    resizeHeight: Math.round(video.videoHeight * scale), resizeQuality: "medium",
  });
}

function grown(answer, factor) {
  const faces = answer.faces.map((face) => ({ ...face, box: face.box.map((v) => v * factor) }));
  return { time_s: answer.time_s, faces };
}

function worded(answer, labels) {
  const shares = (values) => values && Object.fromEntries(labels.map((label, i) => [label, values[i]]));
  const faces = answer.faces.map((face) =>
    ({ ...face, raw: shares(face.raw), probabilities: shares(face.probabilities) }));
  return { ...answer, faces };
}

function openVideo(file) {
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  return new Promise((resolve, reject) => {
    video.onloadeddata = () => resolve(video);
    video.onerror = () => reject(new Trouble("this browser cannot play that video",
      "MP4 (H.264) and WebM play nearly everywhere; on the server more kinds are read"));
  });
}

function seek(video, time) {
  return new Promise((resolve) => {
    video.onseeked = resolve;
    video.currentTime = time;
  });
}

function explain({ message, missing }) {
  if (!missing) {
    return new Trouble(`reading in this browser failed: ${message}`, "read on the server instead");
  }
  const error = missing.some((name) => name.startsWith("vendor/"))
    ? new Trouble("this server lacks the files that private mode needs",
      "whoever runs it can add them with: make web")
    : new Trouble("private mode has no such model", "choose the one that comes with mien");
  error.missing = missing;
  return error;
}
