// Which faces are fit to be read (mien.video.quality): nothing is guessed of the others.

import { overlap } from "./boxes.js";

const LIMITS = { side: 24, sharpness: 0.004, turn: 0.75, inside: 0.6, covered: 0.3 };

/**
 * "good", or the first reason against reading a face.
 * @param {number[][] | null} landmarks five [x, y], where the frame was searched for faces.
 * @param {number[][]} others boxes that may be in front of this one.
 */
export function judge(box, width, height, crop, landmarks, others) {
  const [x0, y0, x1, y1] = box;
  if (Math.max(x1 - x0, y1 - y0) < LIMITS.side) return "small";
  const shown = Math.max(Math.min(x1, width) - Math.max(x0, 0), 0) *
    Math.max(Math.min(y1, height) - Math.max(y0, 0), 0);
  if (shown < LIMITS.inside * (x1 - x0) * (y1 - y0)) return "cut";
  if (others.some((other) => overlap(box, other, "smaller") > LIMITS.covered)) return "covered";
  if (landmarks && turn(landmarks) > LIMITS.turn) return "turned";
  if (sharpness(crop) < LIMITS.sharpness) return "blurred";
  return "good";
}

/** How far the nose is from the middle of the eyes, 0, to below one of them, 1. */
export function turn([one, other, nose]) {
  const x = other[0] - one[0], y = other[1] - one[1];
  const width = Math.hypot(x, y);
  if (width < 1e-3) return Infinity;
  const along = (nose[0] - (one[0] + other[0]) / 2) * x + (nose[1] - (one[1] + other[1]) / 2) * y;
  return Math.abs(along) / width / (width / 2);
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
