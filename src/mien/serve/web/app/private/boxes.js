// Boxes (x0, y0, x1, y1) of 32-bit floats: overlap and non-maximum suppression.

/** Intersection of two boxes over their union, or over the smaller box. */
export function overlap(a, b, over = "union") {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  const one = (a[2] - a[0]) * (a[3] - a[1]), other = (b[2] - b[0]) * (b[3] - b[1]);
  const whole = over === "smaller" ? Math.min(one, other) : one + other - shared;
  return Math.fround(shared / Math.max(whole, 1e-9));
}

/** Non-maximum suppression: indices of the boxes to keep, highest score first. */
export function suppress(boxes, scores, limit, over = "union") {
  let left = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);
  const kept = [];
  while (left.length) {
    const best = left[0];
    kept.push(best);
    left = left.slice(1).filter((i) => overlap(boxes[best], boxes[i], over) <= limit);
  }
  return kept;
}
