// MTCNN: three small networks in a cascade (Zhang et al. 2016), as mien.predict.detectors.mtcnn
// runs it: the same sizes, thresholds and suppression give the same faces.
// Its networks take images with x before y and give landmarks as five x, then five y.

import {
  CELL, FRAMING_SCALE, FRAMING_SHIFT_X, FRAMING_SHIFT_Y, MAX_CANDIDATES, MIN_FACE, MIN_FACE_FRACTION,
  PYRAMID, STRIDE, THRESHOLDS,
} from "../constants.js";
import { suppress } from "./boxes.js";
import { cut, resize } from "./resample.js";

const f = Math.fround;

export const FRAMING = { scale: FRAMING_SCALE, shiftX: FRAMING_SHIFT_X, shiftY: FRAMING_SHIFT_Y };

export class Mtcnn {
  /**
   * @param {object} networks pnet, rnet, onet: functions from (dims, Float32Array) to outputs.
   * @param {number} minFace side of the smallest face to detect, in pixels.
   * @param {number} minFraction the same as a fraction of the shorter side; the larger of both counts.
   */
  constructor(networks, minFace = MIN_FACE, minFraction = MIN_FACE_FRACTION) {
    Object.assign(this, { networks, minFace, minFraction });
  }

  /** Faces from left to right: [{box, score, landmarks: [[x, y] x 5]}]. */
  async detect(image) {
    const proposed = await this.propose(image);
    const refined = await this.refine(image, proposed);
    return this.output(image, refined);
  }

  async propose(image) {
    const shorter = Math.min(image.width, image.height);
    let scale = CELL / Math.max(this.minFace, this.minFraction * shorter);
    const boxes = [], scores = [];
    for (; shorter * scale >= CELL; scale *= PYRAMID) {
      const found = await this.proposeAt(image, scale);
      for (const i of suppress(found.boxes, found.scores, 0.5)) {
        boxes.push(found.boxes[i]);
        scores.push(found.scores[i]);
      }
    }
    return best(boxes, scores);
  }

  async proposeAt(image, scale) {
    const width = Math.ceil(image.width * scale), height = Math.ceil(image.height * scale);
    const small = resize(image, width, height, undefined, 2);
    const pixels = new Float32Array(width * height * 3);
    fill(pixels, 0, small);
    const out = await this.networks.pnet([1, width, height, 3], pixels);
    const [, across, down] = out.softmax.dims;
    const chance = out.softmax.data, moves = out.conv2d_4.data;
    const boxes = [], scores = [];
    for (let x = 0, i = 0; x < across; x++) {
      for (let y = 0; y < down; y++, i++) {
        if (chance[2 * i + 1] < THRESHOLDS[0]) continue;
        const corner = [x * STRIDE, y * STRIDE, x * STRIDE + CELL, y * STRIDE + CELL];
        boxes.push(corner.map((v, k) => f(v / f(scale) + f(moves[4 * i + k] * f(CELL / scale)))));
        scores.push(chance[2 * i + 1]);
      }
    }
    return { boxes, scores };
  }

  async refine(image, { boxes }) {
    if (!boxes.length) return { boxes, scores: [] };
    const squares = boxes.map(squared);
    const out = await this.networks.rnet([boxes.length, 24, 24, 3], crops(image, squares, 24));
    const moved = [], scores = [];
    squares.forEach((box, i) => {
      const score = out.softmax_1.data[2 * i + 1];
      if (score <= THRESHOLDS[1]) return;
      moved.push(shifted(box, out.dense_2.data.subarray(4 * i, 4 * i + 4)));
      scores.push(score);
    });
    return best(moved, scores);
  }

  async output(image, { boxes }) {
    if (!boxes.length) return [];
    const squares = boxes.map(squared);
    const out = await this.networks.onet([boxes.length, 48, 48, 3], crops(image, squares, 48));
    const faces = [];
    squares.forEach((box, i) => {
      const score = out.softmax_2.data[2 * i + 1];
      if (score <= THRESHOLDS[2]) return;
      const points = out.dense_6.data.subarray(10 * i, 10 * i + 10);
      const [width, height] = [box[2] - box[0], box[3] - box[1]];
      faces.push({
        box: shifted(box, out.dense_5.data.subarray(4 * i, 4 * i + 4)),
        score,
        landmarks: [0, 1, 2, 3, 4].map((k) =>
          [box[0] + points[k] * width, box[1] + points[k + 5] * height]),
      });
    });
    const kept = suppress(faces.map((o) => o.box), faces.map((o) => o.score), 0.7, "smaller");
    return kept.map((i) => faces[i]).sort((a, b) => a.box[0] - b.box[0]);
  }
}

/** Write a raster into a network's input: x before y, values about -1 to 1. */
function fill(pixels, start, { data, width, height }) {
  let from = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = start + (x * height + y) * 3;
      pixels[at] = (data[from++] - 127.5) / 128;
      pixels[at + 1] = (data[from++] - 127.5) / 128;
      pixels[at + 2] = (data[from++] - 127.5) / 128;
    }
  }
}

function crops(image, boxes, side) {
  const pixels = new Float32Array(boxes.length * side * side * 3);
  boxes.forEach(([x0, y0, x1, y1], i) => {
    const left = Math.floor(x0), top = Math.floor(y0);
    const right = Math.max(Math.ceil(x1), left + 1), bottom = Math.max(Math.ceil(y1), top + 1);
    const crop = cut(image, left, top, right, bottom);
    fill(pixels, i * side * side * 3, resize(crop, side, side, undefined, 2));
  });
  return pixels;
}

function best(boxes, scores) {
  const kept = suppress(boxes, scores, 0.7).slice(0, MAX_CANDIDATES);
  return { boxes: kept.map((i) => boxes[i]), scores: kept.map((i) => scores[i]) };
}

function squared([x0, y0, x1, y1]) {
  const half = f(Math.max(f(x1 - x0), f(y1 - y0)) / 2);
  const x = f(f(x0 + x1) / 2), y = f(f(y0 + y1) / 2);
  return [f(x - half), f(y - half), f(x + half), f(y + half)];
}

function shifted(box, moves) {
  const width = f(box[2] - box[0]), height = f(box[3] - box[1]);
  return box.map((v, k) => f(v + f(moves[k] * (k % 2 ? height : width))));
}
