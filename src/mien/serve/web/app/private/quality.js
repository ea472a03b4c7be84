// Which faces are good enough to classify, as mien.video.quality; the others get a reason.

import { MAX_COVERED, MAX_YAW, MIN_INSIDE, MIN_SHARPNESS, MIN_SIDE } from "../constants.js";
import { overlap } from "./boxes.js";

/**
 * "good", or the first reason not to classify a face.
 * @param {number[] | null} pose yaw, pitch and roll in degrees, where there are landmarks.
 * @param {number[][]} others boxes that may be in front of this one.
 */
export function judge(box, width, height, crop, pose, others) {
  const [x0, y0, x1, y1] = box;
  if (Math.max(x1 - x0, y1 - y0) < MIN_SIDE) return "small";
  const shown = Math.max(Math.min(x1, width) - Math.max(x0, 0), 0) *
    Math.max(Math.min(y1, height) - Math.max(y0, 0), 0);
  if (shown < MIN_INSIDE * (x1 - x0) * (y1 - y0)) return "cut";
  if (others.some((other) => overlap(box, other, "smaller") > MAX_COVERED)) return "covered";
  // Landmarks in one place have no angle: NaN.
  if (pose && !(Math.abs(pose[0]) <= MAX_YAW)) return "turned";
  if (sharpness(crop) < MIN_SHARPNESS) return "blurred";
  return "good";
}

/** Variance of the crop's Laplacian over its own: 0 is a smooth blur. */
export function sharpness(crop) {
  const side = Math.sqrt(crop.length), edges = [];
  for (let y = 1; y < side - 1; y++) {
    for (let x = 1; x < side - 1; x++) {
      const i = y * side + x;
      edges.push(crop[i - 1] + crop[i + 1] + crop[i - side] + crop[i + side] - 4 * crop[i]);
    }
  }
  return variance(edges) / Math.max(variance(crop), 1);
}

function variance(values) {
  let sum = 0, squares = 0;
  for (const v of values) {
    sum += v;
    squares += v * v;
  }
  return squares / values.length - (sum / values.length) ** 2;
}
