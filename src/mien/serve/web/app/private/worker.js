// Worker of private mode: processes messages one after another.
//
// In: {id, kind, ...}: "load" {model, options of fetchRuntime}; "image" {bitmap, whole}; "begin"
// {paced, stream}, a new camera or video; "frame" {bitmap, time, stream}; "end" {stream}. A `stream`
// is any key, needed where several cameras are read in turns. Out: {id, result}, {id, error}, or
// {progress}.

import { Engine } from "./engine.js";
import { fromImageData } from "./resample.js";
import { DamagedFile, MissingFiles } from "./runtime.js";

let engine, canvas;
const followers = new Map();

const answers = {
  async load({ model, options }) {
    engine = await Engine.load(model, (progress) => postMessage({ progress }), options);
    return { threads: engine.ort.env.wasm.numThreads, providers: engine.providers };
  },
  async image({ bitmap, whole }) {
    const image = pixels(bitmap);
    const faces = whole ? await engine.readWhole(image) : await engine.readImage(image);
    return { width: image.width, height: image.height, faces };
  },
  async begin({ paced, stream }) {
    followers.set(stream, engine.follower(paced));
    return {};
  },
  async end({ stream }) {
    followers.delete(stream);
    return {};
  },
  async frame({ bitmap, time, stream }) {
    const image = pixels(bitmap);
    const faces = await followers.get(stream).read(image, time);
    return { width: image.width, height: image.height, time_s: time, faces };
  },
};

function pixels(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white"; // transparent pixels become white, as on the server
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return fromImageData(pen.getImageData(0, 0, width, height));
}

let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ id: data.id, result: await answers[data.kind](data) });
    } catch (error) {
      const missing = error instanceof MissingFiles ? error.names : null;
      const damaged = error instanceof DamagedFile ? error.file : null;
      postMessage({ id: data.id, error: { message: String(error.message ?? error), missing, damaged } });
    }
  });
};
