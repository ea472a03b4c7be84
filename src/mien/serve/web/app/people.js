// What a camera or video showed of each person: added up from frames, as mien.predict's summary.
// A frame stands until the next one, as mien.video.pace says: for half a second at most, or
// two and a half usual steps between frames.

import { named } from "./names.js";

const GAP_S = 0.5, GAP_STEPS = 2.5, NEAR = 4;

/** Seconds from a frame to the next, as a rule: the median of the nine steps around. */
export function usualStep(frames, index) {
  const before = index === frames.length - 1 ? 2 * NEAR : NEAR; // the last has no step of its own
  const steps = [];
  for (let k = Math.max(index - before, 0); k <= index + NEAR && k + 1 < frames.length; k++) {
    steps.push(frames[k + 1].time_s - frames[k].time_s);
  }
  steps.sort((a, b) => a - b);
  return steps.length ? steps[(steps.length - 1) >> 1] : 0;
}

/** For how many seconds a frame stands; `end` is where the video ends, null where nobody knows. */
export function standsFor(frames, index, end = null) {
  const usual = usualStep(frames, index), most = Math.max(GAP_S, GAP_STEPS * usual);
  const { time_s: time } = frames[index];
  if (index + 1 < frames.length) return Math.min(Math.max(frames[index + 1].time_s - time, 0), most);
  if (end === null) return usual;
  return Math.max(0, usual ? Math.min(end - time, most) : end - time);
}

/**
 * @param {object[]} frames {time_s, faces} in order of time.
 * @param {number | null} end where the video ends, in seconds; null where nobody knows.
 * @returns {object[]} by number: {track, first_s, last_s, seen_s, shares: {label: 0..1}, now}; `now`
 *   is the face in the last frame, or null.
 */
export function summarise(frames, threshold, end = null) {
  const people = new Map();
  frames.forEach(({ time_s: time, faces }, index) => {
    const step = standsFor(frames, index, end);
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
  if (!low) return null;
  const most = Math.max(GAP_S, GAP_STEPS * usualStep(frames, low - 1));
  return time - frames[low - 1].time_s <= most ? frames[low - 1] : null;
}
