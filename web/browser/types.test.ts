// Compiled by tsc --noEmit, never run: every export and method, and mistakes that must not compile.

import {
  DEFAULT_MODEL, DETECTOR, MIEN_VERSION, MienError, MODELS, Reader, UNSURE,
  type Face, type ModelDescription, type TrackedFace, type Tracker,
} from "@mien/browser";

async function use(file: File, video: HTMLVideoElement, canvas: HTMLCanvasElement): Promise<string> {
  const model: ModelDescription | undefined = MODELS[DEFAULT_MODEL];
  const reader = await Reader.create({
    model: "mien-tiny", minConfidence: 0.6, provider: "wasm", runtime: new URL("https://example.org/dist/"),
    onProgress: (fraction) => fraction.toFixed(1),
  });
  const faces: Face[] = [...await reader.read(file), ...await reader.read(canvas, { whole: true })];
  const tracker: Tracker = await reader.track({ live: false });
  const tracked: TrackedFace[] = await tracker.read(video, video.currentTime);
  await tracker.close();
  reader.close();
  try {
    await reader.read(new ImageData(1, 1));
  } catch (error) {
    if (error instanceof MienError) return `${error.message}: ${error.hint}`;
  }
  const [x0, y0, x1, y1] = faces[0]!.box;
  const sure = faces[0]!.label === UNSURE ? 0 : faces[0]!.probabilities["happy"]! * (x1 - x0) * (y1 - y0);
  // A tracked face may be unclassified.
  const confidence: number = tracked[0]!.confidence ?? 0;
  return [sure, confidence, reader.labels[0], reader.providers.detector, reader.threads, reader.minConfidence,
    model?.inputSize, reader.model.alignment, DETECTOR, MIEN_VERSION].join();
}

// @ts-expect-error  a reader is made by create
new Reader();
// @ts-expect-error  there is no such option
void Reader.create({ threshold: 0.5 });
// @ts-expect-error  a path is not an image
void (async () => (await Reader.create()).read("photo.jpg"));
// @ts-expect-error  a tracker takes frames, not files
void (async () => (await (await Reader.create()).track()).read(new Blob()));

void use;
