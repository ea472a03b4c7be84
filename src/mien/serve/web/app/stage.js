// Parts of the page that every session fills: frame, notice, results.

import { $, el, icon, say, errorBox } from "./dom.js";
import { count } from "./names.js";

/** Show media in the frame; returns the element that contains it. */
export function frame(media, ...classes) {
  const holder = el("div", { class: ["image", ...classes].join(" ") }, media);
  $("frame").replaceChildren(holder);
  return holder;
}

/** Show a text in the empty frame. */
export function blank(name, text) {
  $("frame").replaceChildren(el("div", { class: "blank" }, icon(name), el("p", {}, text)));
}

export function title(text, ...actions) {
  $("stage-title").textContent = text;
  $("stage-title").title = text;
  $("stage-actions").replaceChildren(...actions);
}

/** Show an error above the frame; null removes it. */
export function notice(error, action = null) {
  $("notice").replaceChildren(...(error ? [errorBox(error, action)] : []));
}

export function results(heading, sum, cards) {
  $("results-title").textContent = heading;
  $("results-sum").textContent = sum;
  const known = $("faces").children;
  if (cards.length !== known.length || cards.some((card, i) => card !== known[i])) {
    $("faces").replaceChildren(...cards);
  }
}

/** A card for an empty list. */
export function nobody(heading, text, action = null) {
  const button = action && el("button", { type: "button", onclick: action.run }, action.name);
  return el("li", { class: "nobody" }, el("b", {}, heading), el("p", {}, text),
    button && el("p", { class: "then" }, button));
}

export function progress(fraction, words, cancel) {
  const box = $("progress");
  if (fraction === null) {
    box.hidden = true;
    box.replaceChildren();
    return;
  }
  if (box.hidden) {
    box.hidden = false;
    box.replaceChildren(el("p"), el("progress", { max: 1, "aria-label": "Progress" }),
      el("button", { type: "button", id: "cancel", onclick: cancel }, "Cancel"));
    say(words);
  }
  box.querySelector("p").textContent = `${words}, ${Math.round(100 * fraction)}%`;
  box.querySelector("progress").value = fraction;
}

export function canSave(yes) {
  for (const kind of ["json", "csv", "png"]) $(`save-${kind}`).disabled = !yes;
}

/** Clear everything a session has filled. */
export function reset() {
  for (const id of ["frame", "notice", "faces", "stage-actions", "strip", "timeline"]) $(id).replaceChildren();
  $("strip").hidden = $("timeline").hidden = true;
  $("results-sum").textContent = "";
  progress(null);
}

/** "3 people", "1 face" */
export const people = (number) => count(number, "person", "people");
export const faces = (number) => count(number, "face");
