// How shares and labels are put into words and colours, everywhere alike.

export const UNSURE = "unsure", UNREAD = "unread";
const HUES = ["happy", "neutral", "sad", "angry", "surprise", "fear", "disgust", "contempt", UNSURE];
const WHY = {
  small: "too small to be read", blurred: "too blurred to be read", turned: "turned away",
  cut: "cut off by the edge", covered: "covered by another face",
};

/** A share as people should read it: never a certainty. */
export function percent(share) {
  return share > 0.99 ? ">99%" : share < 0.01 ? "<1%" : `${Math.round(share * 100)}%`;
}

/** The same, for ears. */
export function spoken(share) {
  return share > 0.99 ? "over 99 percent" : share < 0.01 ? "under 1 percent"
    : `${Math.round(share * 100)} percent`;
}

/**
 * What a face is called under a threshold.
 * @returns {{label, confidence, best, unsure, why}} label "unsure" or "unread" where none is given.
 */
export function named({ probabilities, quality = "good" }, threshold) {
  if (!probabilities) {
    return { label: UNREAD, confidence: null, best: null, unsure: true, why: WHY[quality] ?? "not read yet" };
  }
  const [best, confidence] = Object.entries(probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  const unsure = confidence < threshold;
  return {
    label: unsure ? UNSURE : best, confidence, best, unsure,
    why: unsure ? `Nothing reaches ${percent(threshold)}; nearest is ${best}` : "",
  };
}

/** What stands over a face: its name and share; where it is unsure the bars say why. */
export function titled({ label, confidence }, track = null) {
  const title = label === UNREAD ? "not read" : label === UNSURE ? UNSURE : `${label} ${percent(confidence)}`;
  return track ? `${track}  ${title}` : title;
}

/** The colour of a label, as a CSS value. */
export function hue(label) {
  return `var(--${HUES.includes(label) ? label : label === UNREAD ? UNSURE : "other"})`;
}

/** The same as a colour that a canvas understands, as the page looks now. */
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

/** Seconds as people read them: 4.2 s, 1:05. */
export function clock(seconds) {
  if (seconds < 60) return seconds % 1 ? `${seconds.toFixed(1)} s` : `${seconds} s`;
  return minutes(seconds);
}

/** Seconds as a player shows them: 0:04, 1:05. */
export function minutes(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
