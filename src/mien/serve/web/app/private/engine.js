// Detector and classifier on onnxruntime-web, independent of worker messages and of the page.

import { cropFace } from "./align.js";
import { FRAMING, YuNet } from "./detector.js";
import { Follower } from "./follow.js";

const ASSETS = new URL("../../", import.meta.url); // .../assets/
const RUNTIME = "vendor/ort.wasm.min.mjs";
const WASM = "vendor/ort-wasm-simd-threaded.wasm";
const GLUE = "vendor/ort-wasm-simd-threaded.mjs";
const NETWORKS = ["yunet", "onet"]; // the detector's, and its verifier

/** Files of private mode that the server does not have. */
export class MissingFiles extends Error {
  constructor(names) {
    super(names.join(", "));
    this.names = names;
  }
}

export class Engine {
  /**
   * Download all files; there are no requests afterwards.
   * @param {object} model of /v1/models: name, labels, input_size.
   * @param {(fraction: number) => void} progress called with 0 to 1.
   */
  static async load(model, progress) {
    const names = [WASM, `models/${model.name}.onnx`, ...NETWORKS.map((n) => `models/${n}.onnx`)];
    const [wasm, classifier, ...detector] = await fetchAll(names, progress);
    const ort = await import(new URL(RUNTIME, ASSETS)).catch(() => {
      throw new MissingFiles([RUNTIME]);
    });
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: new URL(GLUE, ASSETS).href };
    // Threads need shared memory, which browsers allow on isolated pages only.
    ort.env.wasm.numThreads = self.crossOriginIsolated ? threads() : 1;
    const options = {
      executionProviders: ["wasm"],
      // Spinning threads would keep a core busy while they wait.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    };
    const open = (bytes) => ort.InferenceSession.create(bytes, options);
    const sessions = [];
    for (const bytes of [classifier, ...detector]) sessions.push(await open(bytes));
    return new Engine(ort, model, sessions);
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

/** Half of the cores, at most four: the page and the camera need some too. */
function threads() {
  return Math.min(Math.max((navigator.hardwareConcurrency ?? 1) >> 1, 1), 4);
}

async function fetchAll(names, progress) {
  const answers = await Promise.all(names.map((name) => fetch(new URL(name, ASSETS))));
  const missing = names.filter((_, i) => !answers[i].ok);
  if (missing.length) throw new MissingFiles(missing);
  const total = answers.reduce((sum, a) => sum + Number(a.headers.get("content-length") ?? 0), 0);
  let got = 0;
  return Promise.all(answers.map(async (answer) => {
    const parts = [];
    for await (const part of chunks(answer.body.getReader())) {
      parts.push(part);
      got += part.length;
      progress(total ? Math.min(got / total, 1) : 0);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }));
}

async function* chunks(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
