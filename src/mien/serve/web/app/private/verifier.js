// MTCNN's last network (Zhang et al. 2016) alone: is a box a face? As FaceVerifier and upright of
// mien.predict.detectors.mtcnn. The network takes images with x before y.

import { MAX_VERIFIED, VERIFIER_SCALE, VERIFIER_SIDE, WIDER } from "../constants.js";
import { cropFace } from "./align.js";

/** How much each of some faces {box, landmarks} is one, 0 to 1. */
export async function faceScores(network, image, faces) {
  const scores = [];
  for (let start = 0; start < faces.length; start += MAX_VERIFIED) {
    const some = faces.slice(start, start + MAX_VERIFIED), cells = VERIFIER_SIDE ** 2;
    const pixels = new Float32Array(some.length * cells * 3);
    some.forEach(({ box, landmarks: [one, other] }, i) => {
      const wide = Math.round(VERIFIER_SIDE * WIDER);
      const crop = cropFace(image, box, { scale: VERIFIER_SCALE }, wide);
      const turned = upright(crop, wide, [other[0] - one[0], other[1] - one[1]], VERIFIER_SIDE);
      fill(pixels, i * cells * 3, turned, VERIFIER_SIDE);
    });
    const out = await network([some.length, VERIFIER_SIDE, VERIFIER_SIDE, 3], pixels);
    some.forEach((_, i) => scores.push(out.softmax_2.data[2 * i + 1]));
  }
  return scores;
}

/** The middle of a square crop, turned so that a direction (x, y) points right; bilinear. */
export function upright(crop, wide, [right, down], side) {
  const angle = Math.atan2(down, right), middle = (wide - 1) / 2;
  const cos = Math.cos(angle), sin = Math.sin(angle);
  const out = new Uint8Array(side * side);
  for (let j = 0, at = 0; j < side; j++) {
    for (let i = 0; i < side; i++) {
      const u = i - (side - 1) / 2, v = j - (side - 1) / 2;
      const x = middle + cos * u - sin * v, y = middle + sin * u + cos * v;
      const left = Math.floor(x), top = Math.floor(y), begin = top * wide + left;
      const upper = crop[begin] * (1 - x + left) + crop[begin + 1] * (x - left);
      const lower = crop[begin + wide] * (1 - x + left) + crop[begin + wide + 1] * (x - left);
      out[at++] = Math.floor(upper * (1 - y + top) + lower * (y - top) + 0.5);
    }
  }
  return out;
}

/** Write a grey crop into the network's input: x before y, three equal channels, about -1 to 1. */
function fill(pixels, start, crop, side) {
  for (let y = 0, from = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = start + (x * side + y) * 3;
      pixels[at] = pixels[at + 1] = pixels[at + 2] = (crop[from++] - 127.5) / 128;
    }
  }
}
