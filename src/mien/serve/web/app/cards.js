// Cards of the results list: one per face of an image, or per person of a video.

import { el } from "./dom.js";
import { capital, clock, hue, named, percent, UNREAD } from "./names.js";

const THUMB = 128;

/** A card for a face of an image; its thumbnail is cropped from `source`, if not null. */
export function faceCard(face, number, source, threshold) {
  const name = named(face, threshold);
  const bars = el("dl", { class: "bars" });
  for (const [label, fraction] of Object.entries(face.probabilities)) {
    const bar = el("i");
    bar.style.setProperty("--hue", hue(label));
    bar.style.width = `${100 * fraction}%`;
    bars.append(el("dt", {}, label), el("dd", { class: "track", "aria-hidden": "true" }, bar),
      el("dd", { class: "fraction" }, percent(fraction)));
  }
  const body = el("div", { class: "body" }, heading(name), name.why && el("p", { class: "why" }, name.why), bars);
  return el("li", { class: "card", "data-face": number }, thumb(source, face.box), body);
}

/** A card for a tracked person, updated while frames arrive. */
export class PersonCard {
  constructor(person) {
    this.crop = el("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
    this.head = el("p", { class: "name" });
    this.why = el("p", { class: "why" });
    this.stack = el("div", { class: "stack", "aria-hidden": "true" });
    this.parts = el("ul", { class: "parts", "aria-label": "Fraction of the time in sight" });
    this.node = el("li", { class: "card", "data-face": person.track }, this.crop,
      el("div", { class: "body" }, this.head, this.why, this.stack, this.parts));
    this.cropped = -Infinity;
    this.blank = true;
    drawNobody(this.crop);
  }

  show(person, face, threshold) {
    const name = face ? named(face, threshold) : null;
    this.head.replaceChildren(...heading(name, `Person ${person.track}`).childNodes);
    const time = `${clock(Number(person.seen_s.toFixed(1)))} in sight`;
    this.why.textContent = name?.label === UNREAD ? `${time}; now ${name.why}` : time;
    this.stack.replaceChildren(...Object.entries(person.fractions).map(([label, fraction]) => {
      const part = el("i");
      part.style.setProperty("--hue", hue(label));
      part.style.width = `${100 * fraction}%`;
      return part;
    }));
    this.parts.replaceChildren(...Object.entries(person.fractions).map(([label, fraction]) =>
      el("li", {}, dot(label), `${label} ${percent(fraction)}`)));
  }

  /** Update the thumbnail, at most every 0.7 s. */
  updateCrop(source, box) {
    const now = performance.now();
    if (now - this.cropped < 700) return;
    this.cropped = now;
    this.blank = false;
    drawCrop(this.crop, source, box);
  }
}

function heading(name, who = null) {
  if (!name) return el("p", { class: "name" }, who);
  const text = name.label === UNREAD ? "not read" : name.label;
  const fraction = name.unsure ? null : el("b", {}, percent(name.confidence));
  const words = who ? `${who}: ${text}` : capital(text);
  return el("p", { class: "name" }, dot(name.label), words, fraction);
}

function dot(label) {
  const node = el("i", { class: "dot" });
  node.style.setProperty("--hue", hue(label));
  return node;
}

function thumb(source, box) {
  const canvas = el("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
  if (source) drawCrop(canvas, source, box);
  return canvas;
}

/** Draw a placeholder: head and shoulders. */
function drawNobody(canvas) {
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#85888f66"; // on the card's well, light or dark
  pen.beginPath();
  pen.arc(THUMB / 2, THUMB * 0.4, THUMB * 0.17, 0, 2 * Math.PI);
  pen.fill();
  pen.beginPath();
  pen.ellipse(THUMB / 2, THUMB, THUMB * 0.33, THUMB * 0.34, 0, Math.PI, 2 * Math.PI);
  pen.fill();
}

function drawCrop(canvas, source, [x0, y0, x1, y1]) {
  const side = Math.max(x1 - x0, y1 - y0) * 1.3;
  const left = (x0 + x1 - side) / 2, top = (y0 + y1 - side) / 2;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, THUMB, THUMB);
  pen.drawImage(source, left, top, side, side, 0, 0, THUMB, THUMB);
}
