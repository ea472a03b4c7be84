// What the page shows, and who wants to know when it changes.

export const store = {
  /** The server's state: sources, lanes, events, exclusions, corrections, versions. */
  data: null,
  /** Number of the source. */
  number: 0,
  /** The moment that was chosen, and the one under the pointer (null: none), in seconds. */
  head: 0,
  hover: null,
  /** The visible part of the timeline, in seconds. */
  window: [0, 1],
  /** The chosen range, or null; its end is null until it is chosen. */
  range: null,
  /** The id of the chosen lane. */
  lane: null,
  style: "areas",
};

const listeners = new Map();

/** Call `work` whenever `name` is announced. */
export function on(name, work) {
  listeners.set(name, [...(listeners.get(name) ?? []), work]);
}

/** Announce "data", "source", "window", "time", "range", "lane" or "levels". */
export function announce(name) {
  for (const work of listeners.get(name) ?? []) work();
}

/** The source that is shown. */
export const source = () => store.data.sources[store.number];

/** The moment that is shown: under the pointer, or else the chosen one. */
export const moment = () => store.hover ?? store.head;

/** Lanes with a row of their own; faces that are none are listed below. */
export const lanes = () => source().lanes.filter((lane) => lane.kind !== "not_a_face");

export const chosenLane = () => lanes().find((lane) => lane.id === store.lane) ?? lanes()[0] ?? null;

/** "Anna", "Person 1", "Track 9". */
export function laneName(lane) {
  if (lane.kind === "person") return lane.name ?? lane.title ?? `Person ${lane.id.replace(/^P/, "")}`;
  return `Track ${lane.pieces[0].track}`;
}

/** Whether a mark (an event, exclusion or correction) is of the source that is shown. */
export const isShown = (mark) => (mark.video ?? mark.source) === source().name;

/** Whether a mark is of a lane: marks without a person are of all. */
export function concerns(mark, lane) {
  return !mark.person || mark.person === lane.id || mark.person === lane.name;
}

/** Corrections of a lane: of its tracks, in its parts. */
export function correctionsOf(lane) {
  return store.data.corrections.filter((one) => isShown(one) && lane.pieces.some((piece) =>
    piece.track === one.track && one.start_s < (piece.end_s ?? Infinity) && one.end_s > (piece.start_s ?? 0)));
}

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** A moment as text: 0:04.2, 1:05:07.0. */
export function stamp(seconds, digits = 1) {
  const unit = 10 ** digits, all = Math.round(seconds * unit) / unit;
  const hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
  const rest = (all % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** The same for screen readers. */
export function spokenTime(seconds) {
  const whole = Math.floor(seconds), parts = [];
  if (whole >= 3600) parts.push(`${Math.floor(whole / 3600)} h`);
  if (whole >= 60) parts.push(`${Math.floor(whole / 60) % 60} min`);
  return [...parts, `${(seconds % 60).toFixed(1)} s`].join(" ");
}
