// DOM helpers in place of a framework.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Make an element: el("p", {class: "soft", onclick: f}, "text", child). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

const SHAPES = {
  warning: "M8 2.500 14.500 13.500h-13zM8 6.500v3.500M8 12v.01",
  person: "M8 8.500a2.750 2.750 0 1 0 0-5.500 2.750 2.750 0 0 0 0 5.500zM2.500 14c.5-3 2.750-4 5.500-4s5 1 5.500 4",
  stop: "M4.500 4.500h7v7h-7z",
  play: "M5.500 3.500v9l7-4.500z",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  sound: "M3 6.500v3h2l3 2.500v-8l-3 2.500zM10.500 6c1 1 1 3 0 4M12.250 4.250c2 2 2 5.500 0 7.500",
  silent: "M3 6.500v3h2l3 2.500v-8l-3 2.500zM10.750 6.500l3 3M13.750 6.500l-3 3",
  swap: "M3 6h9l-2.500-2.500M13 10H4l2.500 2.500",
  none: "M2.500 5V2.500H5M11 2.500h2.500V5M2.500 11v2.500H5M11 13.500h2.500V11M5.500 8h5",
};

/** A line icon, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

let silence = 0;

/** Announce text to screen readers; a nonzero `pause` skips it within so many seconds of the last. */
export function say(text, pause = 0) {
  const now = performance.now();
  if (pause && now < silence) return;
  silence = now + pause * 1000;
  $("announcer").textContent = text;
}

/** An error box: what went wrong, what to do, and a button. */
export function errorBox({ message, hint }, action = null) {
  const button = action && el("button", { type: "button", onclick: action.run }, action.name);
  const words = el("p", {}, el("b", {}, sentence(message)), " ", hint ? sentence(hint) : "");
  return el("div", { class: "error-box", role: "alert" }, icon("warning"), words, button);
}

/** An error's text as a sentence. */
export function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** Throttle: call `work` at most once every `seconds`, and always after the last call. */
export function throttled(seconds, work) {
  let timer = 0, last = -Infinity;
  return () => {
    if (timer) return;
    const wait = Math.max(0, last + seconds * 1000 - performance.now());
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      work();
    }, wait);
  };
}
