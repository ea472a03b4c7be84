// Detector and classifier on onnxruntime-web, independent of worker messages and of the page.

import { cropFace } from "./align.js";
import { FRAMING, YuNet } from "./detector.js";
import { Follower } from "./follow.js";
import { fetchRuntime } from "./runtime.js";

const NETWORKS = ["yunet", "onet"]; // the detector's, and its verifier
const FIRST_PASS = [1, 256, 320, 3], USUAL_FACES = 4; // of a camera of 640 x 480 pixels

export class Engine {
  /**
   * Download all files; there are no requests afterwards.
   * @param {object} model of /v1/models: name, labels, input_size.
   * @param {(fraction: number) => void} progress called with 0 to 1.
   * @param {object} options of fetchRuntime.
   */
  static async load(model, progress, options = {}) {
    const names = [`models/${model.name}.onnx`, ...NETWORKS.map((n) => `models/${n}.onnx`)];
    const { runtime, files } = await fetchRuntime(names, progress, options);
    const crops = [USUAL_FACES, 1, model.input_size, model.input_size];
    const opened = [];
    for (const [i, dims] of [crops, FIRST_PASS, null].entries()) {
      opened.push(await runtime.open(files[i], dims));
    }
    const engine = new Engine(runtime.ort, model, opened.map(({ session }) => session));
    engine.providers = { classifier: opened[0].provider, detector: opened[1].provider };
    return engine;
  }

  constructor(ort, model, [classifier, ...detector]) {
    Object.assign(this, { ort, model, classifier });
    const [network, verifier] = detector.map((session) => (dims, data) => {
      const type = data instanceof Uint8Array ? "uint8" : "float32";
      return session.run({ [session.inputNames[0]]: new ort.Tensor(type, data, dims) });
    });
    this.detector = new YuNet(network, verifier);
  }

  /** The faces of an image from left to right, with probabilities in the labels' order. */
  async readImage(image) {
    const faces = await this.detector.detect(image);
    const crops = faces.map(({ box }) => cropFace(image, box, FRAMING, this.model.input_size));
    const probabilities = await this.classify(crops);
    return faces.map((face, i) => ({ ...face, raw: null, probabilities: probabilities[i] }));
  }

  /** Classify the whole image as one face. */
  async readWhole(image) {
    const box = [0, 0, image.width, image.height];
    const [probabilities] = await this.classify([cropFace(image, box, {}, this.model.input_size)]);
    return [{ box, score: 1, raw: null, probabilities }];
  }

  /** A follower for a new camera or video. */
  follower(paced) {
    const classify = (crops) => this.classify(crops);
    return new Follower(this.detector, FRAMING, classify, this.model.input_size, paced);
  }

  /** Probabilities of grey crops, each [size * size] bytes. */
  async classify(crops) {
    if (!crops.length) return [];
    const { input_size: size, labels } = this.model;
    const pixels = new Uint8Array(crops.length * size * size);
    crops.forEach((crop, i) => pixels.set(crop, i * size * size));
    const input = new this.ort.Tensor("uint8", pixels, [crops.length, 1, size, size]);
    const { logits } = await this.classifier.run({ pixels: input });
    const rows = crops.map((_, i) => logits.data.subarray(i * labels.length, (i + 1) * labels.length));
    return rows.map(softmax);
  }
}

function softmax(logits) {
  const top = Math.max(...logits);
  const parts = Array.from(logits, (v) => Math.exp(v - top));
  const whole = parts.reduce((sum, v) => sum + v, 0);
  return parts.map((v) => v / whole);
}
