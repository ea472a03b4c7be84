// What a camera or video showed of each person: added up from frames, as mien.predict's summary.
// A frame counts for the time to the one before it, at most half a second.

import { named } from "./names.js";

const GAP_S = 0.5;

/**
 * @param {object[]} frames {time_s, faces} in order of time.
 * @returns {object[]} by number: {track, first_s, last_s, seen_s, shares: {label: 0..1}, now}; `now`
 *   is the face in the last frame, or null.
 */
export function summarise(frames, threshold) {
  const people = new Map();
  let before = null;
  for (const { time_s: time, faces } of frames) {
    const step = before === null ? 0 : Math.min(Math.max(time - before, 0), GAP_S);
    before = time;
    for (const face of faces) {
      const { label } = named(face, threshold);
      const person = people.get(face.track) ??
        { track: face.track, first_s: time, last_s: time, seen_s: 0, shown: {}, now: null };
      people.set(face.track, person);
      person.last_s = time;
      person.seen_s += step;
      person.shown[label] = (person.shown[label] ?? 0) + step;
    }
  }
  for (const face of frames.at(-1)?.faces ?? []) people.get(face.track).now = face;
  return [...people.values()].sort((a, b) => a.track - b.track).map(({ shown, ...person }) => {
    const total = Math.max(person.seen_s, 1e-9);
    const shares = Object.entries(shown).sort((a, b) => b[1] - a[1])
      .map(([label, seconds]) => [label, person.seen_s ? seconds / total : 1]);
    return { ...person, shares: Object.fromEntries(shares) };
  });
}

/** The frame that was on at a moment, and not long before it; null where there is none. */
export function frameAt(frames, time) {
  let low = 0, high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle].time_s <= time + 1e-3) low = middle + 1;
    else high = middle;
  }
  const frame = frames[low - 1];
  return frame && time - frame.time_s <= GAP_S ? frame : null;
}
