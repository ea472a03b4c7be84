// Drawing on canvases: areas or lines of probabilities, labels, marks, the ruler.

import { UNSURE, paint } from "/assets/app/names.js";
import { NONE } from "./levels.js";
import { stamp, store } from "./store.js";

export const STRIP = 8, FLAG = 14;
let colours = null;

/** Read the colours of the current scheme again. */
export function refreshColours() {
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  colours = {
    labels: [...store.data.labels, UNSURE].map(paint),
    ink: ink("--ink"), soft: ink("--soft"), line: ink("--line"), well: ink("--well"), card: ink("--card"),
  };
}

export const colourOf = (label) => {
  const at = store.data.labels.indexOf(label);
  return at < 0 ? colours.labels.at(-1) : colours.labels[at];
};

/** A canvas's pen in pixels of the page, its size set. */
export function pen(canvas) {
  const dense = Math.min(devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  const [across, down] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Draw a lane: probabilities, model's labels below them, corrections, exclusions, events. */
export function drawLane(canvas, tile, id, marks) {
  const { context, width, height } = pen(canvas);
  if (!width) return;
  const [begin, end] = store.window;
  const x = (time) => ((time - begin) / (end - begin)) * width;
  const top = 5, bottom = height - STRIP - 5;
  context.fillStyle = colours.well;
  context.fillRect(0, top, width, bottom - top);
  const own = tile?.lanes.get(id);
  if (own) {
    const from = Math.max(0, Math.floor((begin - tile.start) / tile.width) - 1);
    const to = Math.min(tile.bins, Math.ceil((end - tile.start) / tile.width) + 1);
    const edge = (bin) => x(tile.start + bin * tile.width);
    const place = { context, own, from, to, edge, top, bottom };
    if (store.style === "lines") lines(place);
    else areas(place);
    labels(place, bottom + 2);
  }
  for (const mark of marks.exclusions) exclusion(context, x(mark.start_s), x(mark.end_s), top, height);
  for (const mark of marks.corrections) correction(context, mark, x(mark.start_s), x(mark.end_s), bottom, height);
  context.fillStyle = colours.ink;
  for (const mark of marks.events) context.fillRect(Math.round(x(mark.time_s)) - 0.5, 0, 1, height);
}

/** Stacked areas of the means, bin by bin: a bin without a face stays empty. */
function areas({ context, own, from, to, edge, top, bottom }) {
  const count = store.data.labels.length, height = bottom - top;
  const low = new Float32Array(Math.max(to - from, 0));
  for (let label = 0; label < count; label += 1) {
    context.fillStyle = colours.labels[label];
    context.beginPath();
    for (let bin = from; bin < to; bin += 1) {
      const value = own.probs[(bin * count + label) * 3] / 255;
      if (!value) continue;
      const left = edge(bin), base = low[bin - from];
      context.rect(left, bottom - (base + value) * height, edge(bin + 1) - left + 0.35, value * height);
      low[bin - from] = base + value;
    }
    context.fill();
  }
}

/** The mean of each probability as a line, and behind it from its minimum to its maximum. */
function lines({ context, own, from, to, edge, top, bottom }) {
  const count = store.data.labels.length, height = bottom - top;
  for (let label = 0; label < count; label += 1) {
    context.fillStyle = context.strokeStyle = colours.labels[label];
    context.globalAlpha = 0.22;
    context.beginPath();
    for (let bin = from; bin < to; bin += 1) {
      const at = (bin * count + label) * 3;
      if (own.code[bin] === NONE || !own.probs[at + 2]) continue;
      const high = bottom - (own.probs[at + 2] / 255) * height, least = bottom - (own.probs[at + 1] / 255) * height;
      context.rect(edge(bin), high, edge(bin + 1) - edge(bin) + 0.35, Math.max(least - high, 0.5));
    }
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.beginPath();
    let open = false;
    for (let bin = from; bin < to; bin += 1) {
      const at = (bin * count + label) * 3;
      const read = own.code[bin] !== NONE && own.code[bin] <= count;
      const y = bottom - (own.probs[at] / 255) * height, middle = (edge(bin) + edge(bin + 1)) / 2;
      if (read && open) context.lineTo(middle, y);
      else if (read) context.moveTo(middle, y);
      open = read;
    }
    context.stroke();
  }
}

/** The model's label of each bin, stretches of one label as one rectangle. */
function labels({ context, own, from, to, edge }, y) {
  const count = store.data.labels.length;
  let start = from;
  for (let bin = from; bin < to; bin += 1) {
    if (bin + 1 < to && own.code[bin + 1] === own.code[bin]) continue;
    const code = own.code[bin];
    if (code !== NONE) {
      context.globalAlpha = code > count ? 0.35 : 1;
      context.fillStyle = colours.labels[Math.min(code, count)];
      context.fillRect(edge(start), y, Math.max(edge(bin + 1) - edge(start), 1), STRIP);
      context.globalAlpha = 1;
    }
    start = bin + 1;
  }
}

function exclusion(context, left, right, top, height) {
  context.save();
  context.beginPath();
  context.rect(left, top, Math.max(right - left, 2), height - top - 2);
  context.clip();
  context.fillStyle = colours.card;
  context.globalAlpha = 0.72;
  context.fillRect(left, top, right - left, height);
  context.globalAlpha = 1;
  context.strokeStyle = colours.soft;
  context.lineWidth = 1;
  context.beginPath();
  const visible = [Math.max(left, 0) - height, Math.min(right, context.canvas.clientWidth)];
  for (let at = visible[0] - (visible[0] - left) % 7; at < visible[1]; at += 7) {
    context.moveTo(at, height);
    context.lineTo(at + height, 0);
  }
  context.stroke();
  context.strokeRect(left, top, right - left, height - top - 2);
  context.restore();
}

/** A correction above the model's label, which stays visible. */
function correction(context, mark, left, right, bottom, height) {
  const colour = colourOf(mark.label), tall = 17, top = bottom - tall;
  const width = Math.max(right - left, 3);
  context.fillStyle = colours.card;
  context.fillRect(left, top, width, tall);
  context.lineWidth = 2;
  context.strokeStyle = colours.ink;
  context.strokeRect(left + 1, top, Math.max(width - 2, 1), height - top - 4);
  context.fillStyle = colour;
  context.fillRect(left + 2, top + 1, Math.min(5, width - 2), tall - 2);
  context.save();
  context.beginPath();
  context.rect(left, top, width - 3, tall);
  context.clip();
  context.fillStyle = colours.ink;
  context.font = "600 12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillText(mark.label, Math.max(left, 0) + 11, top + tall / 2 + 0.5);
  context.restore();
}

const STEPS = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600];

/** The ruler: times, and a flag with the name of each event. */
export function drawRuler(canvas, events) {
  const { context, width, height } = pen(canvas);
  if (!width) return;
  const [begin, end] = store.window, x = (time) => ((time - begin) / (end - begin)) * width;
  const step = STEPS.find((one) => (one / (end - begin)) * width >= 76) ?? 7200;
  context.font = "12px system-ui, sans-serif";
  for (let n = Math.ceil(begin / step); n * step <= end; n += 1) {
    const time = n * step, at = x(time);
    context.fillStyle = colours.line;
    context.fillRect(at, height - 6, 1, 6);
    context.fillStyle = colours.soft;
    context.textAlign = at < 20 ? "left" : at > width - 24 ? "right" : "center";
    context.fillText(stamp(time, step < 1 ? 2 : 0), clampText(at, width), height - 9);
  }
  context.textAlign = "left";
  context.font = "600 11px system-ui, sans-serif";
  let free = -Infinity;
  for (const mark of events) {
    const at = x(mark.time_s);
    if (at < -4 || at > width + 4) continue;
    context.fillStyle = colours.ink;
    context.fillRect(at - 0.5, 0, 1.5, height);
    context.beginPath();
    context.moveTo(at, 4);
    context.lineTo(at + 8, 8);
    context.lineTo(at, 12);
    context.fill();
    const wide = context.measureText(mark.name).width;
    if (at < free || at + wide + 12 > width) continue;
    context.fillText(mark.name, at + 10, 13);
    free = at + wide + 16;
  }
}

const clampText = (at, width) => Math.min(Math.max(at, 2), width - 2);
