// Private mode: the page's side of the worker, with the same methods as `server` in api.js.

import { UserError } from "../api.js";
import { FrameCapture } from "../capture.js";
import { DETECTOR } from "../constants.js";
import { Connection } from "./connection.js";
import { labelled, scaledDown, scaledUp } from "./frames.js";

const STEP_S = 0.1;
const MAX_UNANSWERED = 2; // frames: more would only wait for each other
const MAX_PIXELS = 50e6;

let connection = null, ready = null, loaded = "";

/** Download and start the model once; `progress(fraction)` is called with 0 to 1. */
export function prepare(model, progress) {
  if (ready && loaded !== model.name) stop();
  loaded = model.name;
  connection ??= new Connection(progress);
  connection.progress = progress;
  const own = connection; // by the time it fails, another model may be loading
  ready ??= ask("load", { model }).catch((error) => {
    if (connection === own) stop();
    throw error;
  });
  return ready;
}

function stop() {
  connection?.close();
  connection = ready = null;
}

async function ask(kind, values, transfer = []) {
  try {
    return await connection.ask(kind, values, transfer);
  } catch (error) {
    throw explain(error);
  }
}

export const here = {
  name: "private",

  async readImage(file, { model, whole }) {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
      throw new UserError("this browser cannot open the file as a picture",
        "save it as JPEG, PNG or WebP and try again");
    });
    if (bitmap.width * bitmap.height > MAX_PIXELS) {
      throw new UserError("the picture has more than 50 megapixels, the maximum in private mode", "scale it down first");
    }
    const answer = await ask("image", { bitmap, whole }, [bitmap]);
    return { ...named(answer, model.labels), detector: DETECTOR, model: model.name };
  },

  /** Process ten frames per second of video, however long that takes. */
  async readVideo(file, { model, signal, progress }) {
    const video = await openVideo(file);
    const frames = [];
    try {
      await ask("begin", { paced: false });
      for (let time = 0; time < video.duration; time += STEP_S) {
        signal.throwIfAborted();
        await seek(video, time);
        const bitmap = await scaledDown(video, video.videoWidth, video.videoHeight);
        const answer = named(await ask("frame", { bitmap, time }, [bitmap]), model.labels);
        const faces = scaledUp(answer.faces, video.videoWidth / answer.width);
        frames.push({ time_s: answer.time_s, faces, frame: frames.length });
        progress(time / video.duration, "Processing in this browser");
      }
    } finally {
      URL.revokeObjectURL(video.src);
    }
    return frames;
  },

  async live({ model, onReading, onEnd }) {
    await ask("begin", { paced: true });
    const began = performance.now(), captures = new FrameCapture();
    let frame = 0, unanswered = 0, failed = false;
    return {
      // While the worker reads one frame the next one is captured: the camera is never waited for.
      get ready() {
        return !failed && unanswered < MAX_UNANSWERED;
      },
      async send(video) {
        unanswered += 1;
        try {
          const image = captures.take(video, frame++);
          const time = (performance.now() - began) / 1000;
          const bitmap = await createImageBitmap(image);
          onReading(named(await ask("frame", { bitmap, time }, [bitmap]), model.labels), image);
          unanswered -= 1;
        } catch (error) {
          if (!failed) onEnd(error);
          failed = true;
        }
      },
      close() {},
    };
  },
};

function named(answer, labels) {
  return { ...answer, faces: labelled(answer.faces, labels) };
}

function openVideo(file) {
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  return new Promise((resolve, reject) => {
    video.onloadeddata = () => resolve(video);
    video.onerror = () => reject(new UserError("this browser cannot play the video",
      "MP4 (H.264) and WebM play in nearly every browser; the server reads more formats"));
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
    return new UserError(`processing in this browser failed: ${message}`, "choose On the server instead");
  }
  const error = missing.some((name) => name.startsWith("vendor/"))
    ? new UserError("this server lacks files that private mode needs",
      "its operator can add them with: make web")
    : new UserError("this model is not available in private mode", "choose the model that comes with mien");
  error.missing = missing;
  return error;
}
