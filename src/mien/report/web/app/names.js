// Text and colours of labels and probabilities, the same everywhere on the page.

import { QUALITY_REASONS, UNSURE } from "./constants.js";

export { UNSURE };
export const UNREAD = "unread";
const HUES = ["happy", "neutral", "sad", "angry", "surprise", "fear", "disgust", "contempt", UNSURE];
const WHY = Object.fromEntries(QUALITY_REASONS.map((reason) => [reason, {
  small: "too small", blurred: "too blurred", turned: "turned away",
  cut: "cut off by the edge", covered: "covered by another face",
}[reason]]));

/** A probability as text; never 0% or 100%, which would read as certainty. */
export function percent(fraction) {
  return fraction > 0.99 ? ">99%" : fraction < 0.01 ? "<1%" : `${Math.round(fraction * 100)}%`;
}

/** The same for screen readers. */
export function spoken(fraction) {
  return fraction > 0.99 ? "over 99 percent" : fraction < 0.01 ? "under 1 percent"
    : `${Math.round(fraction * 100)} percent`;
}

/**
 * Apply the threshold to a face.
 * @returns {{label, confidence, best, unsure, why}} label is "unsure" below the threshold, "unread"
 *   for a face that was not classified.
 */
export function named({ probabilities, quality = "good" }, threshold) {
  if (!probabilities) {
    return { label: UNREAD, confidence: null, best: null, unsure: true, why: WHY[quality] ?? "not processed yet" };
  }
  const [best, confidence] = Object.entries(probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  const unsure = confidence < threshold;
  return {
    label: unsure ? UNSURE : best, confidence, best, unsure,
    why: unsure ? `No expression reaches ${percent(threshold)}; the highest is ${best}` : "",
  };
}

/** Title of a face's panel: label and probability; for unsure faces the bars show why. */
export function titled({ label, confidence }, track = null) {
  const title = label === UNREAD ? "skipped" : label === UNSURE ? UNSURE : `${label} ${percent(confidence)}`;
  return track ? `${track}  ${title}` : title;
}

/** The colour of a label, as a CSS value. */
export function hue(label) {
  return `var(--${HUES.includes(label) ? label : label === UNREAD ? UNSURE : "other"})`;
}

/** The same as a colour for a canvas, in the current colour scheme. */
export function paint(label) {
  const name = hue(label).slice(4, -1);
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "a, b or c" */
export function list(words, joint = "or") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${joint} ${words.at(-1)}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A duration: 4.2 s, 1:05. */
export function clock(seconds) {
  if (seconds < 60) return seconds % 1 ? `${seconds.toFixed(1)} s` : `${seconds} s`;
  return minutes(seconds);
}

/** A time as in a video player: 0:04, 1:05. */
export function minutes(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
