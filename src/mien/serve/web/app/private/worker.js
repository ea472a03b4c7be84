// Private mode's own thread: messages in, readings out, one after another.
//
// In: {id, kind, ...}: "load" {model}; "picture" {bitmap, whole}; "begin" {paced}, a new camera or
// video; "frame" {bitmap, time}. Out: {id, result}, {id, error}, or {progress}.

import { Engine, MissingFiles } from "./engine.js";
import { fromImageData } from "./resample.js";

let engine, follower, canvas;

const answers = {
  async load({ model }) {
    engine = await Engine.load(model, (progress) => postMessage({ progress }));
    return { threads: engine.ort.env.wasm.numThreads };
  },
  async picture({ bitmap, whole }) {
    const picture = pixels(bitmap);
    const faces = whole ? await engine.readWhole(picture) : await engine.readPicture(picture);
    return { width: picture.width, height: picture.height, faces };
  },
  async begin({ paced }) {
    follower = engine.follower(paced);
    return {};
  },
  async frame({ bitmap, time }) {
    const picture = pixels(bitmap);
    const faces = await follower.read(picture, time);
    return { width: picture.width, height: picture.height, time_s: time, faces };
  },
};

function pixels(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white"; // transparency is laid on white, as the server does
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
      postMessage({ id: data.id, error: { message: String(error.message ?? error), missing } });
    }
  });
};
