// @mien/browser: facial expressions read in a browser, without a server.
//
// The modules in app/ are those of private mode of `mien serve`; tools/browser_package.py puts them
// beside this file. We read expressions; we never say what someone feels.

import { DETECTOR, UNSURE } from "./app/constants.js";
import { named } from "./app/names.js";
import { Connection } from "./app/private/connection.js";
import { labelled, scaledDown, scaledUp } from "./app/private/frames.js";
import { DEFAULT_MODEL, FILES, MIEN_VERSION, MODELS } from "./models.js";

export { DEFAULT_MODEL, DETECTOR, MIEN_VERSION, MODELS, UNSURE };

const MAX_PIXELS = 50e6;
const RUNTIME = new URL("../../onnxruntime-web/dist/", import.meta.url); // beside us, as npm installs
const OPTIONS = ["model", "minConfidence", "provider", "runtime", "onProgress"];
const PROVIDERS = ["wasm", "webgpu"];

/** A failure with what went wrong, and in `hint` what to do. */
export class MienError extends Error {
  constructor(message, hint) {
    super(message);
    Object.assign(this, { name: "MienError", hint });
  }
}

export class Reader {
  #connection;
  #streams = 0;

  /** Fetch model and runtime, and start a worker; there are no requests afterwards. */
  static async create(options = {}) {
    const { model, minConfidence, provider, runtime, onProgress } = checked(options);
    let connection;
    try {
      connection = new Connection(onProgress);
    } catch (error) {
      throw new MienError(`the worker cannot be started: ${error.message}`,
        "serve the package from the page's own origin, over http or https");
    }
    try {
      const places = { assets: new URL(".", import.meta.url).href, vendor: runtime, provider, sha256: hashes(),
        software: provider === "webgpu" }; // who asks for WebGPU gets it, even emulated
      const about = { name: model.name, labels: model.labels, input_size: model.inputSize };
      const loaded = await connection.ask("load", { model: about, options: places });
      if (provider === "webgpu" && loaded.providers.classifier !== provider) {
        throw new MienError("provider: WebGPU cannot be used: this browser offers no adapter, or "
          + `${runtime} has no build for it`, "leave provider out, which falls back to WebAssembly");
      }
      return new Reader(connection, { model, minConfidence, ...loaded });
    } catch (error) {
      connection.close();
      throw explained(error, runtime);
    }
  }

  /** Not for use: see Reader.create. */
  constructor(connection, { model, minConfidence, providers, threads }) {
    this.#connection = connection;
    this.model = model;
    this.minConfidence = minConfidence;
    this.providers = Object.freeze(providers);
    this.threads = threads;
    Object.seal(this);
  }

  get labels() {
    return this.model.labels;
  }

  /** The faces of an image, or of what a video shows now, from left to right. */
  async read(source, { whole = false } = {}) {
    const bitmap = await bitmapOf(source);
    const { faces } = await this.#ask("image", { bitmap, whole: Boolean(whole) }, [bitmap]);
    return this.#decided(faces);
  }

  /** Start to follow the faces of a camera or video from frame to frame. */
  async track({ live = true } = {}) {
    const stream = ++this.#streams;
    await this.#ask("begin", { paced: Boolean(live), stream });
    const start = performance.now();
    let last = -Infinity, ended = false;
    return {
      read: async (source, timeS = (performance.now() - start) / 1000) => {
        if (ended) throw new MienError("the tracker was closed", "start another with reader.track()");
        if (!Number.isFinite(timeS) || timeS < last) {
          throw new MienError(`timeS: ${timeS} is not a time in seconds after the frame before (${last})`,
            "pass video.currentTime in the order of playing; start another tracker after a jump back");
        }
        last = timeS;
        const [width, height] = sizeOf(source);
        const bitmap = await guarded(() => scaledDown(source, width, height), source);
        const factor = width / bitmap.width;
        const { faces } = await this.#ask("frame", { bitmap, time: timeS, stream }, [bitmap]);
        return this.#decided(scaledUp(faces, factor));
      },
      close: async () => {
        if (ended) return;
        ended = true;
        await this.#ask("end", { stream });
      },
    };
  }

  /** End the worker and free its memory; readings that wait fail. */
  close() {
    this.#connection?.close("the reader was closed");
    this.#connection = null;
  }

  async #ask(kind, values, transfer = []) {
    if (!this.#connection) throw new MienError("the reader was closed", "create another: Reader.create()");
    try {
      return await this.#connection.ask(kind, values, transfer);
    } catch (error) {
      throw explained(error);
    }
  }

  #decided(faces) {
    return labelled(faces, this.labels).map(({ box, score, landmarks, raw, probabilities, ...rest }) => {
      const { track, quality, yaw, pitch, roll } = rest;
      const { label, confidence } = named({ probabilities, quality }, this.minConfidence);
      const tracked = track === undefined ? {} : { track, quality, yaw, pitch, roll, raw };
      return {
        box, score, ...(landmarks && { landmarks }), ...tracked, probabilities,
        label: probabilities ? label : null, confidence,
      };
    });
  }
}

function checked(options) {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name)) throw new MienError(`there is no option ${name}`, `allowed: ${OPTIONS.join(", ")}`);
  }
  const { model: name = DEFAULT_MODEL, provider = "", onProgress = () => {} } = options;
  const model = Object.hasOwn(MODELS, name) ? MODELS[name] : null;
  if (!model) {
    throw new MienError(`model: this package has no model ${name}`,
      `allowed: ${Object.keys(MODELS).join(", ")}; tools/browser_package.py packs others`);
  }
  const { minConfidence = model.unsureBelow } = options;
  if (!(typeof minConfidence === "number" && minConfidence >= 0 && minConfidence <= 1)) {
    throw new MienError(`minConfidence: ${minConfidence} is out of range 0 to 1`, "for example 0.6; 0 never says unsure");
  }
  if (provider && !PROVIDERS.includes(provider)) {
    throw new MienError(`provider: there is no ${provider}`,
      `allowed: ${PROVIDERS.join(", ")}; without it the faster one is taken`);
  }
  if (typeof onProgress !== "function") {
    throw new MienError("onProgress: not a function", "it is called with the fraction fetched, 0 to 1");
  }
  let runtime;
  try {
    runtime = new URL(options.runtime ?? RUNTIME, globalThis.document?.baseURI ?? import.meta.url);
  } catch {
    throw new MienError(`runtime: ${options.runtime} is not an address`, "give that of the folder onnxruntime-web/dist");
  }
  if (!runtime.pathname.endsWith("/")) runtime.pathname += "/";
  return { model, minConfidence, provider, runtime: runtime.href, onProgress };
}

function hashes() {
  return Object.fromEntries(Object.entries(FILES).map(([name, { sha256 }]) => [name, sha256]));
}

/** An image as a bitmap of its own size. */
async function bitmapOf(source) {
  const [width, height] = source instanceof Blob ? [1, 1] : sizeOf(source);
  check50(width, height);
  // As in Python: pixels of the file, whatever its colour profile; EXIF's rotation is applied.
  const colours = source instanceof Blob || source instanceof HTMLImageElement ? { colorSpaceConversion: "none" } : {};
  const bitmap = await guarded(() => createImageBitmap(source, colours), source);
  check50(bitmap.width, bitmap.height);
  return bitmap;
}

function check50(width, height) {
  if (width * height > MAX_PIXELS) {
    throw new MienError(`the image has ${width} x ${height} pixels; the maximum is 50 megapixels`, "scale it down first");
  }
}

/** Width and height in pixels of what can be drawn now. */
function sizeOf(source) {
  const is = (name) => typeof globalThis[name] === "function" && source instanceof globalThis[name];
  let size;
  if (is("HTMLVideoElement")) size = source.readyState >= 2 ? [source.videoWidth, source.videoHeight] : [0, 0];
  else if (is("HTMLImageElement")) size = source.complete ? [source.naturalWidth, source.naturalHeight] : [0, 0];
  else if (is("VideoFrame")) size = [source.displayWidth, source.displayHeight];
  else if (is("HTMLCanvasElement") || is("OffscreenCanvas") || is("ImageBitmap") || is("ImageData")) {
    size = [source.width, source.height];
  } else {
    throw new MienError(`cannot read ${Object.prototype.toString.call(source).slice(8, -1)}`,
      "pass an image, video or canvas element, an ImageBitmap, ImageData or VideoFrame; read() also takes a Blob or File");
  }
  if (!(size[0] && size[1])) {
    throw new MienError("the source has no pixels yet, or could not be loaded",
      "wait for image.decode(), or for the video's loadeddata event");
  }
  return size;
}

async function guarded(make, source) {
  try {
    const bitmap = await make();
    readable(bitmap);
    return bitmap;
  } catch (error) {
    if (error instanceof MienError) throw error;
    throw new MienError(source instanceof Blob ? "this browser cannot open the file as an image"
      : `the pixels cannot be read: ${error.message}`,
    source instanceof Blob ? "use JPEG, PNG or WebP" : "it may have been closed or detached");
  }
}

/** Refuse pixels of other origins here: the worker could not say why it never gets them. */
function readable(bitmap) {
  try {
    const pen = new OffscreenCanvas(1, 1).getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    pen.getImageData(0, 0, 1, 1);
  } catch {
    bitmap.close();
    throw new MienError("the pixels come from another origin, which does not share them",
      'set crossorigin="anonymous" on the element, and have that server send CORS headers');
  }
}

function explained(error, runtime) {
  if (error instanceof MienError) return error;
  const missing = error.missing ?? [];
  if (missing.some((name) => name.startsWith("vendor/"))) {
    const names = missing.map((name) => name.replace("vendor/", "")).join(", ");
    return new MienError(`onnxruntime-web cannot be loaded from ${runtime}: ${names}`,
      "npm install onnxruntime-web beside this package, or pass `runtime`, the address of its dist folder; "
      + ".mjs must be served as text/javascript");
  }
  if (missing.length) {
    return new MienError(`files of the package are missing: ${missing.join(", ")}`,
      "serve the whole folder of @mien/browser");
  }
  if (error.damaged) return new MienError(error.message, "install the package again; do not convert its files");
  return new MienError(`reading failed: ${error.message}`, "create another Reader; try provider: \"wasm\"");
}
