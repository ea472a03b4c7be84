// YuNet (Wu, Peng, Yu 2023) on one image, as mien.predict.detectors.yunet runs it: the same output
// maps become the same candidates. detector.js has the plan of passes.

import { MAX_CANDIDATES, OVERLAP, STRIDES } from "../constants.js";
import { suppress } from "./boxes.js";

const f = Math.fround;

/**
 * The candidates in an image, boxes and landmarks in its pixels: [{score, box, landmarks}].
 * @param {(dims: number[], bytes: Uint8Array) => Promise<object>} network gives a map per stride.
 * @param {object} image a raster.
 * @param {number} minScore candidates below it are left out.
 */
export async function candidates(network, image, minScore) {
  const [height, width] = [image.height, image.width].map(padded);
  const maps = await network([1, height, width, 3], bytes(image, width, height));
  return STRIDES.flatMap((stride) => decode(maps[`stride${stride}`], stride, minScore));
}

/** One candidate for each face, from left to right. */
export function select(found, width, height) {
  const on = found.filter((o) => inside(o.box, width, height));
  const best = on.sort((a, b) => b.score - a.score).slice(0, MAX_CANDIDATES);
  const kept = suppress(best.map((o) => o.box), best.map((o) => o.score), OVERLAP);
  return kept.map((i) => best[i]).sort((a, b) => a.box[0] - b.box[0]);
}

/** Whether a box's centre is on the image. */
export function inside([x0, y0, x1, y1], width, height) {
  const x = f(f(x0 + x1) / 2), y = f(f(y0 + y1) / 2);
  return x >= 0 && y >= 0 && x <= width && y <= height;
}

/** A candidate in an image of another size. */
export function placed({ score, box, landmarks }, scale) {
  const times = (v) => f(v * scale);
  return { score, box: box.map(times), landmarks: landmarks.map((point) => point.map(times)) };
}

function padded(side) {
  const step = STRIDES[STRIDES.length - 1];
  return Math.ceil(side / step) * step;
}

/** RGB bytes, black from the image's right and lower edge on. */
function bytes({ data, offset, line, step, width, height }, across, down) {
  const out = new Uint8Array(across * down * 3);
  for (let y = 0; y < height; y++) {
    let at = y * across * 3;
    const begin = offset + y * line;
    for (let i = begin, end = begin + width * step; i < end; i += step) {
      out[at++] = data[i];
      out[at++] = data[i + 1];
      out[at++] = data[i + 2];
    }
  }
  return out;
}

/** The candidates of a map of 16 channels: class, objectness, box (4), landmarks (5 x 2). */
function decode({ data, dims }, stride, minScore) {
  const [, , rows, columns] = dims, cells = rows * columns;
  // Both factors of a high enough score are at least its square: few cells remain to compute.
  const least = Math.log(minScore ** 2 / (1 - minScore ** 2));
  const found = [];
  for (let cell = 0; cell < cells; cell++) {
    if (data[cell] < least || data[cells + cell] < least) continue;
    const score = f(Math.sqrt(chance(data[cell]) * chance(data[cells + cell])));
    if (score < minScore) continue;
    const at = (channel) => data[channel * cells + cell];
    const column = cell % columns, row = Math.floor(cell / columns);
    const x = column + at(2), y = row + at(3);
    const halfWidth = Math.exp(Math.min(at(4), 8)) / 2, halfHeight = Math.exp(Math.min(at(5), 8)) / 2;
    found.push({
      score,
      box: [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight].map((v) => f(v * stride)),
      landmarks: [6, 8, 10, 12, 14].map((k) =>
        [f((column + at(k)) * stride), f((row + at(k + 1)) * stride)]),
    });
  }
  return found;
}

const chance = (logit) => 1 / (1 + Math.exp(-logit));
