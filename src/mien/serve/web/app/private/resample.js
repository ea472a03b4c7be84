// Pillow's antialiased resampling of 8-bit pixels, bit for bit, so that a crop made here is the
// crop that Python makes. Method: a triangle filter as wide as the scale, horizontally then
// vertically, with weights of 22 fractional bits; before large reductions, means of whole blocks.
//
// A raster is {data, offset, line, step, bands, width, height}: row by row from `offset` on, `line`
// bytes a row and `step` a pixel, of which the first `bands` count (canvas pixels: step 4, bands 3).
// Loops are written out for three bands: a detection spends half of its time here.

const BITS = 22, HALF = 1 << (BITS - 1);

/** Wrap a canvas's pixels: RGBA, alpha ignored. */
export function fromImageData({ data, width, height }) {
  return fromBytes(data, width, height, 4, 3);
}

/** Wrap contiguous bytes. */
export function fromBytes(data, width, height, step, bands = step) {
  return { data, offset: 0, line: width * step, step, bands, width, height };
}

const empty = (width, height, bands) =>
  fromBytes(new Uint8Array(width * height * bands), width, height, bands);

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
  const [left, top, right, bottom] = box;
  const out = empty(Math.ceil((right - left) / fx), Math.ceil((bottom - top) / fy), source.bands);
  const mean = source.bands === 3 ? meanOfThree : meanOfOne;
  let at = 0;
  for (let y = top; y < bottom; y += fy) {
    const rows = Math.min(fy, bottom - y);
    for (let x = left; x < right; x += fx, at += source.bands) {
      mean(source, x, y, Math.min(fx, right - x), rows, out.data, at);
    }
  }
  return out;
}

/** Pillow multiplies by the reciprocal as a 32-bit float, cut to whole numbers. */
const reciprocal = (count) => Math.trunc(Math.fround(2 ** 32 / (256 * count))) / 2 ** 24;

function meanOfThree({ data, offset, line, step }, x, y, columns, rows, out, at) {
  const count = columns * rows;
  let red = count >> 1, green = red, blue = red;
  let begin = offset + y * line + x * step;
  for (let row = 0; row < rows; row++, begin += line) {
    for (let i = begin, end = begin + columns * step; i < end; i += step) {
      red += data[i];
      green += data[i + 1];
      blue += data[i + 2];
    }
  }
  const fraction = reciprocal(count);
  out[at] = red * fraction;
  out[at + 1] = green * fraction;
  out[at + 2] = blue * fraction;
}

function meanOfOne({ data, offset, line, step }, x, y, columns, rows, out, at) {
  const count = columns * rows;
  let sum = count >> 1;
  let begin = offset + y * line + x * step;
  for (let row = 0; row < rows; row++, begin += line) {
    for (let i = begin, end = begin + columns * step; i < end; i += step) sum += data[i];
  }
  out[at] = sum * reciprocal(count);
}

/** Cut out whole pixels; black outside. Inside of the source nothing is copied. */
export function cut(source, left, top, right, bottom) {
  const { data, offset, line, step, bands } = source;
  const width = right - left, height = bottom - top;
  if (left >= 0 && top >= 0 && right <= source.width && bottom <= source.height) {
    return { data, offset: offset + top * line + left * step, line, step, bands, width, height };
  }
  const out = empty(width, height, bands);
  const from = Math.max(left, 0), to = Math.min(right, source.width);
  for (let y = Math.max(top, 0); y < Math.min(bottom, source.height); y++) {
    let at = ((y - top) * width + from - left) * bands;
    const end = offset + y * line + to * step;
    for (let i = offset + y * line + from * step; i < end; i += step) {
      for (let band = 0; band < bands; band++) out.data[at++] = data[i + band];
    }
  }
  return out;
}

function tight(source) {
  const { step, bands, line, width, height } = source;
  if (step === bands && line === width * bands && source.offset === 0) return source;
  const out = empty(width, height, bands);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = source.offset + y * line + x * step;
      for (let band = 0; band < bands; band++) out.data[at++] = source.data[i + band];
    }
  }
  return out;
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
  const maxTaps = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(size), counts = new Int32Array(size);
  const fixed = new Int32Array(size * maxTaps);
  const fraction = new Float64Array(maxTaps);
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const count = Math.min(Math.trunc(centre + reach + 0.5), inputs) - start;
    let total = 0;
    for (let j = 0; j < count; j++) {
      fraction[j] = Math.max(1 - Math.abs((j + start - centre + 0.5) * (1 / reach)), 0);
      total += fraction[j];
    }
    for (let j = 0; j < count; j++) {
      const part = total === 0 ? fraction[j] : fraction[j] / total;
      fixed[i * maxTaps + j] = Math.trunc(0.5 + part * (1 << BITS));
    }
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, fixed, maxTaps };
}

function across(source, { starts, counts, fixed, maxTaps }, width, first = 0, last = source.height) {
  const { data, offset, line, step, bands } = source;
  const out = empty(width, last - first, bands);
  let at = 0;
  for (let y = first; y < last; y++) {
    for (let x = 0; x < width; x++) {
      const count = counts[x], weight = x * maxTaps;
      let i = offset + y * line + starts[x] * step;
      if (bands === 3) {
        let red = HALF, green = HALF, blue = HALF;
        for (let j = 0; j < count; j++, i += step) {
          const fraction = fixed[weight + j];
          red = (red + Math.imul(data[i], fraction)) | 0;
          green = (green + Math.imul(data[i + 1], fraction)) | 0;
          blue = (blue + Math.imul(data[i + 2], fraction)) | 0;
        }
        out.data[at++] = clipped(red);
        out.data[at++] = clipped(green);
        out.data[at++] = clipped(blue);
      } else {
        let sum = HALF;
        for (let j = 0; j < count; j++, i += step) {
          sum = (sum + Math.imul(data[i], fixed[weight + j])) | 0;
        }
        out.data[at++] = clipped(sum);
      }
    }
  }
  return out;
}

/** Row by row, so that memory is walked through in its order. */
function down(source, { starts, counts, fixed, maxTaps }, height, first = 0) {
  const { data, offset, line, width, bands } = tight(source);
  const out = empty(width, height, bands);
  const bytes = width * bands, sums = new Int32Array(bytes);
  let at = 0;
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let j = 0; j < counts[y]; j++) {
      const fraction = fixed[y * maxTaps + j], begin = offset + (starts[y] - first + j) * line;
      for (let i = 0; i < bytes; i++) sums[i] += Math.imul(data[begin + i], fraction);
    }
    for (let i = 0; i < bytes; i++) out.data[at++] = clipped(sums[i]);
  }
  return out;
}

function clipped(sum) {
  const value = sum >> BITS;
  return value > 255 ? 255 : value;
}
