// Summary per person of a camera or video, as mien.video.summary. As in mien.video.pace, a frame
// lasts until the next one, but at most half a second or 2.5 usual steps.

import { GAP_INTERVALS, GAP_S, NEAR_STEPS } from "./constants.js";
import { named } from "./names.js";



/** The usual step between frames, in seconds: the median of the nine steps around `index`. */
export function usualStep(frames, index) {
  const before = index === frames.length - 1 ? 2 * NEAR_STEPS : NEAR_STEPS; // the last has no step of its own
  const steps = [];
  for (let k = Math.max(index - before, 0); k <= index + NEAR_STEPS && k + 1 < frames.length; k++) {
    steps.push(frames[k + 1].time_s - frames[k].time_s);
  }
  steps.sort((a, b) => a - b);
  return steps.length ? steps[(steps.length - 1) >> 1] : 0;
}

/** How long a frame lasts, in seconds; `end` is the end of the video, null if unknown. */
export function durationOf(frames, index, end = null) {
  const usual = usualStep(frames, index), max = Math.max(GAP_S, GAP_INTERVALS * usual);
  const { time_s: time } = frames[index];
  if (index + 1 < frames.length) return Math.min(Math.max(frames[index + 1].time_s - time, 0), max);
  if (end === null) return usual;
  return Math.max(0, usual ? Math.min(end - time, max) : end - time);
}

/**
 * @param {object[]} frames {time_s, faces} in order of time.
 * @param {number | null} end of the video, in seconds; null if unknown.
 * @returns {object[]} by number: {track, first_s, last_s, seen_s, fractions: {label: 0..1}, now}; `now`
 *   is the face in the last frame, or null.
 */
export function summarise(frames, threshold, end = null) {
  const people = new Map();
  frames.forEach(({ time_s: time, faces }, index) => {
    const step = durationOf(frames, index, end);
    for (const face of faces) {
      const { label } = named(face, threshold);
      const person = people.get(face.track) ??
        { track: face.track, first_s: time, last_s: time, seen_s: 0, shown: {}, now: null };
      people.set(face.track, person);
      person.last_s = time + step;
      person.seen_s += step;
      person.shown[label] = (person.shown[label] ?? 0) + step;
    }
  });
  for (const face of frames.at(-1)?.faces ?? []) people.get(face.track).now = face;
  return [...people.values()].sort((a, b) => a.track - b.track).map(({ shown, ...person }) => {
    const total = Math.max(person.seen_s, 1e-9);
    const fractions = Object.entries(shown).sort((a, b) => b[1] - a[1])
      .map(([label, seconds]) => [label, person.seen_s ? seconds / total : 1]);
    return { ...person, fractions: Object.fromEntries(fractions) };
  });
}

/** The frame displayed at a time; null if there is none, or the last one is too old. */
export function frameAt(frames, time) {
  let low = 0, high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle].time_s <= time + 1e-3) low = middle + 1;
    else high = middle;
  }
  if (!low) return null;
  const max = Math.max(GAP_S, GAP_INTERVALS * usualStep(frames, low - 1));
  return time - frames[low - 1].time_s <= max ? frames[low - 1] : null;
}
