// Layout of panels: beside their face, inside the image, covering as little else as possible.

const MAX_COVER = 0.1; // fraction of a face that a full panel may cover; above, only its title is shown

/**
 * @param {number[]} box (x0, y0, x1, y1) of the face, in the units of `size`.
 * @param {number[]} panel its width and height.
 * @param {number[]} size width and height of the image.
 * @param {number[][]} others boxes and panels that should stay visible.
 * @returns {{left, top, covered}} covered: the largest covered fraction of any box.
 */
export function place(box, [width, height], size, gap, others) {
  const [x0, y0, x1, y1] = box;
  const corners = [
    [x1 + gap, y0], [x0 - gap - width, y0], [x0, y1 + gap], [x0, y0 - gap - height],
    [x0 + gap, y1 - gap - height],
  ];
  let best = null;
  for (const [x, y] of corners) {
    const left = Math.min(Math.max(x, 0), Math.max(0, size[0] - width));
    const top = Math.min(Math.max(y, 0), Math.max(0, size[1] - height));
    const own = [left, top, left + width, top + height];
    const covered = Math.max(...[box, ...others].map((other) => hidden(other, own)));
    if (!best || covered < best.covered - 1e-6) best = { left, top, covered };
  }
  return best;
}

/** Place all panels, one after another; `measure(face, short)` returns the size of one. */
export function placeAll(boxes, size, gap, measure) {
  const taken = [];
  return boxes.map((box, i) => {
    const others = [...boxes.filter((_, j) => j !== i), ...taken];
    let panel = measure(i, false), short = false;
    let spot = place(box, panel, size, gap, others);
    if (spot.covered > MAX_COVER) {
      panel = measure(i, true);
      short = true;
      spot = place(box, panel, size, gap, others);
    }
    taken.push([spot.left, spot.top, spot.left + panel[0], spot.top + panel[1]]);
    return { ...spot, short, width: panel[0], height: panel[1] };
  });
}

function hidden([x0, y0, x1, y1], [left, top, right, bottom]) {
  const width = Math.min(x1, right) - Math.max(x0, left);
  const height = Math.min(y1, bottom) - Math.max(y0, top);
  return width <= 0 || height <= 0 ? 0 : (width * height) / Math.max((x1 - x0) * (y1 - y0), 1);
}
