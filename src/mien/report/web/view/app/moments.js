// Exact rows of short stretches around the shown moment: boxes, and probabilities of each frame.

import { getJson } from "./api.js";
import { announce, source, store } from "./store.js";

const CHUNK_S = 10, KEPT = 24, REST_MS = 70;
let chunks = new Map(), timer = 0, asked = new Set();

/** Forget all rows: other lanes, or another source. */
export function forgetMoments() {
  chunks = new Map();
  asked = new Set();
}

/** The faces at a moment, or null where the rows are not here yet. */
export function facesAt(time) {
  const chunk = chunks.get(Math.floor(time / CHUNK_S));
  if (!chunk) return null;
  const faces = new Map(), reach = Math.max(source().step_s * 1.5, 0.02);
  for (let row = upTo(chunk.time_s, time); row >= 0 && time - chunk.time_s[row] < reach; row -= 1) {
    const { lane, track, box, label, probs } = chunk.rows[row];
    if (!faces.has(lane)) faces.set(lane, { lane, track, box, label, probs });
  }
  return [...faces.values()];
}

/** Index of the last row at or before a time. */
function upTo(times, time) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time + 1e-4) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Fetch the rows around a moment once it rests there for a moment; at once if `now`. */
export function wantMoments(time, now = false) {
  clearTimeout(timer);
  const need = [Math.floor(time / CHUNK_S), Math.floor((time + 2) / CHUNK_S)];
  const missing = need.filter((number) => !chunks.has(number) && !asked.has(number));
  if (!missing.length) return;
  const work = () => new Set(missing).forEach(load);
  if (now) work();
  else timer = setTimeout(work, REST_MS);
}

async function load(number) {
  if (asked.has(number)) return;
  const [own, wanted] = [chunks, asked];
  wanted.add(number);
  const start = number * CHUNK_S;
  try {
    const path = `/v1/sources/${store.number}/moments?start_s=${start}&end_s=${start + CHUNK_S}`;
    const found = await getJson(path);
    const rows = found.time_s.map((time, i) => ({
      time, lane: found.lane[i], track: found.track[i], box: found.box[i], label: found.label[i], probs: found.probs[i],
    })).sort((a, b) => a.time - b.time);
    own.set(number, { rows, time_s: rows.map((row) => row.time) });
    if (own.size > KEPT) own.delete(own.keys().next().value);
    if (own === chunks) announce("moments");
  } catch {
    // The bins are shown meanwhile; the next request reports a viewer that is gone.
  } finally {
    wanted.delete(number);
  }
}
