// Frames of a video or camera, for the worker: no larger than the tracker needs, and the answers in
// pixels of the video again.

const MAX_SIDE = 640; // pixels: larger frames find hardly more faces

/** A bitmap of what a video, canvas or image shows now, its longer side at most MAX_SIDE. */
export function scaledDown(source, width, height) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  if (scale === 1) return createImageBitmap(source);
  return createImageBitmap(source, {
    resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale),
    resizeQuality: "medium",
  });
}

/** The faces of an answer, with boxes and landmarks times a factor. */
export function scaledUp(faces, factor) {
  const times = (v) => v * factor;
  return faces.map((face) => ({
    ...face, box: face.box.map(times),
    ...(face.landmarks && { landmarks: face.landmarks.map((point) => point.map(times)) }),
  }));
}

/** The faces of an answer, with probabilities by label instead of in the labels' order. */
export function labelled(faces, labels) {
  const fractions = (values) => values && Object.fromEntries(labels.map((label, i) => [label, values[i]]));
  return faces.map((face) =>
    ({ ...face, raw: fractions(face.raw), probabilities: fractions(face.probabilities) }));
}
