// Alignment "square-1", as mien.imaging.crop: square, upright, grey, edge pixels repeated outside,
// antialiased.

import { fromBytes, resize } from "./resample.js";

const f = Math.fround;

/** The square crop around a detector's box; 32-bit floats, as in Python. */
export function square(box, { scale = 1, shiftX = 0, shiftY = 0 }) {
  const [x0, y0, x1, y1] = box;
  const side = Math.max(f(Math.max(f(x1 - x0), f(y1 - y0)) * f(scale)), 1);
  const x = f(f(f(x0 + x1) / 2) + f(side * f(shiftX)));
  const y = f(f(f(y0 + y1) / 2) + f(side * f(shiftY)));
  const half = f(side / 2);
  return [f(x - half), f(y - half), f(x + half), f(y + half)];
}

/** The face in a box as a grey crop, Uint8Array [size * size]. */
export function cropFace(image, box, framing, size) {
  const [x0, y0, x1, y1] = square(box, framing);
  const left = Math.floor(x0), top = Math.floor(y0);
  const width = Math.max(Math.ceil(x1), left + 1) - left;
  const height = Math.max(Math.ceil(y1), top + 1) - top;
  const grey = cutGrey(image, left, top, width, height);
  const part = [x0 - left, y0 - top, Math.min(x1 - left, width), Math.min(y1 - top, height)];
  return resize(grey, size, size, part).data;
}

/** Cut out as luma (ITU-R 601); outside the image its edge pixels are repeated. */
function cutGrey({ data, offset, line, width, height, step, bands }, left, top, columns, rows) {
  const out = new Uint8Array(columns * rows);
  let at = 0;
  for (let y = top; y < top + rows; y++) {
    const begin = offset + Math.min(Math.max(y, 0), height - 1) * line;
    for (let x = left; x < left + columns; x++) {
      const i = begin + Math.min(Math.max(x, 0), width - 1) * step;
      out[at++] = bands === 1
        ? data[i]
        : (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;
    }
  }
  return fromBytes(out, columns, rows, 1);
}
