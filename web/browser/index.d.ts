/**
 * Facial expressions read in a browser, without a server.
 *
 * We read expressions; we never say what someone feels.
 */

/** What can be drawn now, and read by `Tracker.read`. */
export type FrameSource =
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | ImageBitmap
  | ImageData
  | VideoFrame;

/** What `Reader.read` takes: also an image file. */
export type ImageSource = FrameSource | Blob;

/** What runs a network. */
export type Provider = "wasm" | "webgpu";

/** Probability by label, 0 to 1, in the model's order; they sum to 1. */
export type Probabilities = Record<string, number>;

/** x0, y0, x1, y1 in pixels of the source; it may reach beyond the image. */
export type Box = [number, number, number, number];

/** A face of an image. */
export interface Face {
  box: Box;
  /** Detection score, 0 to 1. */
  score: number;
  /** Eyes, nose, corners of the mouth, in pixels of the source. Absent with `whole` and from trackers. */
  landmarks?: [number, number][];
  probabilities: Probabilities;
  /** The most probable label, or 'unsure' where its probability is below `minConfidence`. */
  label: string;
  /** The largest probability, 0 to 1. */
  confidence: number;
}

/** Why a face is not classified; 'good' if it is. */
export type Quality = "good" | "small" | "blurred" | "turned" | "cut" | "covered";

/** A face of a frame, followed from frame to frame. */
export interface TrackedFace extends Omit<Face, "probabilities" | "label" | "confidence"> {
  /** Number of the track, 1 or more; it stays while the face is followed. */
  track: number;
  quality: Quality;
  /** Of the head, in degrees: positive towards the right edge; null in frames without a detection. */
  yaw: number | null;
  /** In degrees, positive for a raised head; null likewise. */
  pitch: number | null;
  /** In degrees, positive for a head that is tilted clockwise; null likewise. */
  roll: number | null;
  /** Of this frame alone; null in frames that are not classified. */
  raw: Probabilities | null;
  /** Smoothed along the track; null while the quality is not good. */
  probabilities: Probabilities | null;
  label: string | null;
  confidence: number | null;
}

/** Follows faces of one camera or video. */
export interface Tracker {
  /**
   * The faces of a frame, by track.
   *
   * @param timeS seconds of the frame, not before the last one's: `video.currentTime` of a file
   *   (default: the time since the tracker was made).
   * @throws {MienError} a source without pixels, a time that jumps back, or a closed tracker.
   */
  read(source: FrameSource, timeS?: number): Promise<TrackedFace[]>;
  /** Forget the tracks. */
  close(): Promise<void>;
}

/** A model of this package, as its Python file describes it. */
export interface ModelDescription {
  readonly name: string;
  readonly labels: readonly string[];
  /** Height and width of a crop, in pixels. */
  readonly inputSize: number;
  /** Id of the alignment of its crops. */
  readonly alignment: string;
  readonly colour: "grey";
  /** By which the logits are divided, inside the file. */
  readonly temperature: number;
  /** Default threshold, 0 to 1: below it a face is 'unsure'. */
  readonly unsureBelow: number;
  /** Probability of each label in the training data; null if unknown. */
  readonly trainingPrior: Readonly<Probabilities> | null;
  /** Class prior that the probabilities have; null: that of the training data. */
  readonly prior: Readonly<Probabilities> | null;
  /** Minimum probability of a label in a conformal prediction set, by coverage. */
  readonly coverage: Readonly<Record<string, unknown>>;
  /** Figures on validation data, each with n and interval. */
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly licence: string;
  /** Of the file, in hexadecimal. */
  readonly sha256: string;
}

export interface ReaderOptions {
  /** Name of a model in `MODELS` (default: `DEFAULT_MODEL`). */
  model?: string;
  /** Decision threshold, 0 to 1 (default: the model's `unsureBelow`); 0 never says unsure. */
  minConfidence?: number;
  /** What runs the networks (default: WebGPU where it works and is faster, else WebAssembly). */
  provider?: Provider;
  /** Address of the folder onnxruntime-web/dist (default: beside this package, as npm installs). */
  runtime?: string | URL;
  /** Called with the fraction of the files that is fetched, 0 to 1. */
  onProgress?: (fraction: number) => void;
}

/** Reads expressions in a worker. */
export class Reader {
  private constructor();
  /**
   * Fetch model and runtime, check their SHA-256, and start a worker; there are no requests afterwards.
   *
   * @throws {MienError} an invalid option, a file that is missing or damaged, or no worker.
   */
  static create(options?: ReaderOptions): Promise<Reader>;
  readonly model: ModelDescription;
  readonly minConfidence: number;
  /** What runs each network. */
  readonly providers: Readonly<{ classifier: Provider; detector: Provider }>;
  /** Threads of WebAssembly; 1 unless the page is cross-origin isolated. */
  readonly threads: number;
  get labels(): readonly string[];
  /**
   * The faces of an image, or of what a video shows now, from left to right.
   *
   * @param options `whole`: classify the whole image as one face, without detection.
   * @throws {MienError} no pixels, pixels of another origin, over 50 megapixels, not an image.
   */
  read(source: ImageSource, options?: { whole?: boolean }): Promise<Face[]>;
  /**
   * Start to follow faces.
   *
   * @param options `live`: detect less often on a slow machine (default: true, for cameras).
   */
  track(options?: { live?: boolean }): Promise<Tracker>;
  /** End the worker and free its memory; readings that wait fail. */
  close(): void;
}

/** A failure with what went wrong, and in `hint` what to do. */
export class MienError extends Error {
  constructor(message: string, hint: string);
  readonly hint: string;
}

/** The models of this package, by name. */
export const MODELS: Readonly<Record<string, ModelDescription>>;
export const DEFAULT_MODEL: string;
/** Name of the face detector. */
export const DETECTOR: string;
/** Version of the Python package that the modules and models come from. */
export const MIEN_VERSION: string;
/** The label of a face whose largest probability is below the threshold. */
export const UNSURE: "unsure";
