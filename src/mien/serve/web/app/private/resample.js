// Pillow's antialiased resampling of 8-bit pixels, bit for bit, so that a crop made here is the
// crop that Python makes. Method: a triangle filter as wide as the scale, horizontally then
// vertically, with weights of 22 fractional bits; before large reductions, means of whole blocks.
//
// A raster is {data, width, height, step, bands}: `data` holds `step` bytes a pixel, row by row,
// of which the first `bands` count (canvas pixels: step 4, bands 3).

const BITS = 22;

/** Wrap what a canvas gives: RGBA, of which alpha is not looked at. */
export function fromImageData(image) {
  return { data: image.data, width: image.width, height: image.height, step: 4, bands: 3 };
}

/** An empty (black) raster. */
export function raster(width, height, bands) {
  return { data: new Uint8Array(width * height * bands), width, height, step: bands, bands };
}

/**
 * Scale a part of a raster.
 * @param {number[]} box left, top, right, bottom in pixels, within the raster; may be fractions.
 * @param {number} gap from which factor on block means come first (Pillow's reducing_gap); 0 never.
 */
export function resize(source, width, height, box = [0, 0, source.width, source.height], gap = 0) {
  const whole = box[0] === 0 && box[1] === 0 && box[2] === source.width && box[3] === source.height;
  if (whole && width === source.width && height === source.height) return tight(source);
  if (gap) {
    const fx = Math.trunc((box[2] - box[0]) / width / gap) || 1;
    const fy = Math.trunc((box[3] - box[1]) / height / gap) || 1;
    if (fx > 1 || fy > 1) {
      const safe = safeBox(source, width, height, box);
      source = reduce(source, fx, fy, safe);
      box = [(box[0] - safe[0]) / fx, (box[1] - safe[1]) / fy,
        (box[2] - safe[0]) / fx, (box[3] - safe[1]) / fy];
    }
  }
  const [x0, y0, x1, y1] = box.map(Math.fround); // Pillow takes boxes as 32-bit floats
  const rows = weights(source.height, y0, y1, height);
  const columns = weights(source.width, x0, x1, width);
  const wide = width !== source.width || x0 !== 0 || x1 !== width;
  const high = height !== source.height || y0 !== 0 || y1 !== height;
  if (!wide || !high) return wide ? across(source, columns, width) : down(source, rows, height);
  // The order matters by a rounding; since Pillow 13 it is this one.
  const shorter = source.height - height;
  if (shorter > 0 && shorter > 2 * (source.width - width)) {
    return across(down(source, rows, height), columns, width);
  }
  const first = rows.starts[0], last = rows.starts[height - 1] + rows.counts[height - 1];
  return down(across(source, columns, width, first, last), rows, height, first);
}

/** Means of blocks of fx x fy pixels; the last ones of a ragged edge are smaller. */
export function reduce(source, fx, fy, box = [0, 0, source.width, source.height]) {
  const { data, step, bands } = source;
  const [left, top, right, bottom] = box;
  const out = raster(Math.ceil((right - left) / fx), Math.ceil((bottom - top) / fy), bands);
  let at = 0;
  for (let y = top; y < bottom; y += fy) {
    const endY = Math.min(y + fy, bottom);
    for (let x = left; x < right; x += fx) {
      const endX = Math.min(x + fx, right);
      const count = (endX - x) * (endY - y);
      // Pillow multiplies by a 32-bit float's reciprocal, cut to whole numbers.
      const share = Math.trunc(Math.fround(2 ** 32 / (256 * count)));
      for (let band = 0; band < bands; band++) {
        let sum = count >> 1;
        for (let row = y; row < endY; row++) {
          const end = (row * source.width + endX) * step + band;
          for (let i = (row * source.width + x) * step + band; i < end; i += step) sum += data[i];
        }
        out.data[at++] = Math.floor((sum * share) / 2 ** 24);
      }
    }
  }
  return out;
}

/** Cut out whole pixels; black outside. */
export function cut(source, left, top, right, bottom) {
  const { step, bands } = source;
  const out = raster(right - left, bottom - top, bands);
  const from = Math.max(left, 0), to = Math.min(right, source.width);
  for (let y = Math.max(top, 0); y < Math.min(bottom, source.height); y++) {
    let at = ((y - top) * out.width + from - left) * bands;
    for (let i = (y * source.width + from) * step; i < (y * source.width + to) * step; i += step) {
      for (let band = 0; band < bands; band++) out.data[at++] = source.data[i + band];
    }
  }
  return out;
}

function tight(source) {
  return source.step === source.bands ? source : cut(source, 0, 0, source.width, source.height);
}

/** What of the raster the filter may look at for a box. */
function safeBox(source, width, height, box) {
  const marginX = (0.5 * (box[2] - box[0])) / width, marginY = (0.5 * (box[3] - box[1])) / height;
  return [
    Math.max(0, Math.trunc(box[0] - marginX)), Math.max(0, Math.trunc(box[1] - marginY)),
    Math.min(source.width, Math.ceil(box[2] + marginX)),
    Math.min(source.height, Math.ceil(box[3] + marginY)),
  ];
}

/** For each of `size` outputs, which inputs count and how much, in 2^-22. */
function weights(inputs, from, to, size) {
  const scale = Math.fround(to - from) / size;
  const reach = Math.max(scale, 1);
  const most = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(size), counts = new Int32Array(size);
  const fixed = new Int32Array(size * most);
  const share = new Float64Array(most);
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const count = Math.min(Math.trunc(centre + reach + 0.5), inputs) - start;
    let total = 0;
    for (let j = 0; j < count; j++) {
      share[j] = Math.max(1 - Math.abs((j + start - centre + 0.5) * (1 / reach)), 0);
      total += share[j];
    }
    for (let j = 0; j < count; j++) {
      const part = total === 0 ? share[j] : share[j] / total;
      fixed[i * most + j] = Math.trunc(0.5 + part * (1 << BITS));
    }
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, fixed, most };
}

function across(source, { starts, counts, fixed, most }, width, first = 0, last = source.height) {
  const { data, step, bands } = source;
  const out = raster(width, last - first, bands);
  let at = 0;
  for (let y = first; y < last; y++) {
    for (let x = 0; x < width; x++) {
      const begin = (y * source.width + starts[x]) * step, count = counts[x], weight = x * most;
      for (let band = 0; band < bands; band++) {
        let sum = 1 << (BITS - 1);
        for (let j = 0, i = begin + band; j < count; j++, i += step) {
          sum = (sum + Math.imul(data[i], fixed[weight + j])) | 0;
        }
        out.data[at++] = Math.min(sum >> BITS, 255);
      }
    }
  }
  return out;
}

function down(source, { starts, counts, fixed, most }, height, first = 0) {
  const { data, step, bands, width } = source;
  const out = raster(width, height, bands);
  const line = width * step;
  let at = 0;
  for (let y = 0; y < height; y++) {
    const begin = (starts[y] - first) * line, count = counts[y], weight = y * most;
    for (let x = 0; x < width; x++) {
      for (let band = 0; band < bands; band++) {
        let sum = 1 << (BITS - 1);
        for (let j = 0, i = begin + x * step + band; j < count; j++, i += line) {
          sum = (sum + Math.imul(data[i], fixed[weight + j])) | 0;
        }
        out.data[at++] = Math.min(sum >> BITS, 255);
      }
    }
  }
  return out;
}
