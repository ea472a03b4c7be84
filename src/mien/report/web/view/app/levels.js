// Levels of detail: bins of the visible range, from the server, never all rows.

import { getBytes } from "./api.js";
import { announce, lanes, source, store } from "./store.js";

export const NONE = 255;
const MARGIN = 0.75, PAUSE_MS = 40, KEPT = 6;

/** Bins of all lanes over a range: { start, width, bins, lanes: Map(id → {probs, code}) }. */
let tiles = [], whole = null, waiting = null, timer = 0, key = "";

/** Forget all bins: other lanes, or another source. */
export function forget() {
  tiles = [];
  whole = null;
  waiting?.abort();
  waiting = null;
}

/** The finest bins that cover the visible range, or else those of the whole source. */
export function tile() {
  const [begin, end] = store.window;
  const covering = tiles.filter((one) => one.from <= begin && one.to >= end);
  return covering.reduce((best, one) => (best && best.width <= one.width ? best : one), null) ?? whole;
}

/** Ask for what the visible range needs, `columns` pixels wide; "levels" is announced then. */
export function want(columns) {
  clearTimeout(timer);
  if (!lanes().length || !columns) return;
  const [begin, end] = store.window;
  if (!whole) return void load(0, source().end_s, columns, true);
  const found = tile();
  const fine = Math.max((end - begin) / columns, source().step_s);
  if (found && found.width <= fine * 1.01) return;
  timer = setTimeout(() => {
    const more = (end - begin) * MARGIN;
    const from = Math.max(0, begin - more), to = Math.min(source().end_s, end + more);
    // As many bins as the visible columns need, also beyond the edges.
    load(from, to, Math.ceil((columns * (to - from)) / (end - begin)), false);
  }, PAUSE_MS);
}

async function load(from, to, bins, isWhole) {
  const ids = lanes().map((lane) => lane.id);
  const path = `/v1/sources/${store.number}/levels?lanes=${encodeURIComponent(ids.join(","))}` +
    `&start_s=${from}&end_s=${to}&columns=${Math.min(Math.max(bins, 1), 8192)}`;
  if (waiting && path === key) return;
  waiting?.abort();
  const own = (waiting = new AbortController());
  key = path;
  try {
    const found = decode(await getBytes(path, own.signal), ids, store.data.labels.length);
    if (own !== waiting) return;
    Object.assign(found, { from, to });
    if (isWhole) whole = found;
    else tiles = [found, ...tiles].slice(0, KEPT);
    announce("levels");
  } catch (error) {
    if (error.name !== "AbortError" && own === waiting) announce("failed");
  } finally {
    if (own === waiting) waiting = null;
  }
}

function decode(buffer, ids, count) {
  const view = new DataView(buffer);
  const bins = view.getUint32(16, true);
  const found = {
    width: view.getFloat64(0, true), start: view.getFloat64(8, true), bins, lanes: new Map(),
  };
  let at = 24;
  for (const id of ids) {
    const probs = new Uint8Array(buffer, at, bins * count * 3);
    at += probs.length;
    const code = new Uint8Array(buffer, at, bins);
    at += bins;
    found.lanes.set(id, { probs, code });
  }
  return found;
}

/** Mean probabilities and label of a lane at a moment, from the bins that are there. */
export function binAt(lane, time) {
  const found = tile(), own = found?.lanes.get(lane.id);
  if (!own) return null;
  const bin = Math.floor((time - found.start) / found.width), count = store.data.labels.length;
  if (bin < 0 || bin >= found.bins || own.code[bin] === NONE) return null;
  const at = bin * count * 3;
  return {
    label: [...store.data.labels, "unsure", "unread"][own.code[bin]],
    probs: store.data.labels.map((_, i) => own.probs[at + 3 * i] / 255),
  };
}

/** The stretch of one label around a moment, [start, end] in seconds, or null. */
export function stretchAt(lane, time) {
  const found = tile(), own = found?.lanes.get(lane.id);
  if (!own) return null;
  const bin = Math.floor((time - found.start) / found.width);
  if (bin < 0 || bin >= found.bins || own.code[bin] === NONE) return null;
  let first = bin, last = bin;
  while (first > 0 && own.code[first - 1] === own.code[bin]) first -= 1;
  while (last + 1 < found.bins && own.code[last + 1] === own.code[bin]) last += 1;
  return [Math.max(0, found.start + first * found.width), Math.min(source().end_s, found.start + (last + 1) * found.width)];
}
