// MTCNN's last network (Zhang et al. 2016) alone: is a box a face? As FaceVerifier and upright of
// mien.predict.detectors.mtcnn. The network takes images with x before y.

import { MAX_VERIFIED, TURNED_AGAIN, VERIFIER_SCALE, VERIFIER_SIDE, WIDER } from "../constants.js";
import { cropFace } from "./align.js";

/** How much each of some faces {box, landmarks} is one, 0 to 1. */
export async function faceScores(network, image, faces) {
  const scores = [];
  await look(network, image, faces, (out, i) => scores.push(out.softmax_2.data[2 * i + 1]));
  return scores;
}

/** The faces with better landmarks: YuNet's own hardly follow a tilt. */
export async function withLandmarks(network, image, faces) {
  const better = await placed(network, image, faces);
  const again = better.filter((face, i) =>
    Math.abs(Math.sin(tilt(face) - tilt(faces[i]))) > TURNED_AGAIN);
  const second = await placed(network, image, again);
  return better.map((face) => (again.includes(face) ? second[again.indexOf(face)] : face));
}

async function placed(network, image, faces) {
  const found = [];
  await look(network, image, faces, (out, i, face) => {
    const points = out.dense_6.data.slice(10 * i, 10 * i + 10);
    found.push({ ...face, landmarks: inImage(points, face) });
  });
  return found;
}

/** The direction from one eye to the other, in radians. */
const tilt = ({ landmarks: [one, other] }) => Math.atan2(other[1] - one[1], other[0] - one[0]);

/** Landmarks in the image, of points (five x, five y, 0 to 1) in the crop of a face. */
function inImage(points, face) {
  const [x0, y0, x1, y1] = face.box;
  const side = Math.max(Math.max(x1 - x0, y1 - y0) * VERIFIER_SCALE, 1);
  const pixel = side / Math.round(VERIFIER_SIDE * WIDER);
  const angle = tilt(face), cos = Math.cos(angle), sin = Math.sin(angle);
  return [0, 1, 2, 3, 4].map((k) => {
    const x = (points[k] - 0.5) * VERIFIER_SIDE * pixel, y = (points[k + 5] - 0.5) * VERIFIER_SIDE * pixel;
    return [(x0 + x1) / 2 + cos * x - sin * y, (y0 + y1) / 2 + sin * x + cos * y];
  });
}

/** Run the network on faces in batches; `take` gets a batch's outputs, the place in it, and the face. */
async function look(network, image, faces, take) {
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
    some.forEach((face, i) => take(out, i, face));
  }
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
