// The list of events, excluded ranges and corrections of the source.

import { $, el } from "/assets/app/dom.js";
import { hue } from "/assets/app/names.js";
import { isShown, lanes, laneName, stamp, store } from "./store.js";

/** Show the list. `goTo(time)`, `remove(kind, index)`. */
export function listMarks(goTo, remove) {
  const of = (name) => store.data[name].map((mark, index) => ({ ...mark, index })).filter(isShown);
  const whose = (person) => {
    const lane = lanes().find((one) => one.id === person || one.name === person);
    return person ? `, ${lane ? laneName(lane) : person}` : "";
  };
  const found = [
    ...of("events").map((one) => ({ kind: "event", index: one.index, time: one.time_s, title: one.name, when: stamp(one.time_s), more: whose(one.person) })),
    ...of("exclusions").map((one) => ({ kind: "exclusion", index: one.index, time: one.start_s, title: one.reason || "excluded", when: `${stamp(one.start_s)} to ${stamp(one.end_s)}`, more: whose(one.person) })),
    ...of("corrections").map((one) => ({ kind: "correction", index: one.index, time: one.start_s, title: `${one.label}, by ${one.by || "somebody"}`, when: `${stamp(one.start_s)} to ${stamp(one.end_s)}`, label: one.label,
      more: `, ${nameOf(one)}` })),
  ].sort((a, b) => a.time - b.time);
  $("marks").replaceChildren(...found.map((one) => item(one, goTo, remove)));
  if (!found.length) $("marks").append(el("li", { class: "empty" }, "None yet. Choose a moment or a range below, then add one."));
}

function nameOf(correction) {
  const lane = lanes().find((one) => one.pieces.some((piece) => piece.track === correction.track &&
    correction.start_s < (piece.end_s ?? Infinity) && correction.end_s > (piece.start_s ?? 0)));
  return lane ? laneName(lane) : `track ${correction.track}`;
}

function item({ kind, index, time, title, when, more, label }, goTo, remove) {
  const sign = el("i", { class: `sign ${kind}` });
  if (label) sign.style.setProperty("--hue", hue(label));
  return el("li", {}, sign,
    el("button", { type: "button", class: "go", onclick: () => goTo(time) }, el("span", {}, title, " ", el("small", {}, when + more))),
    el("button", { type: "button", class: "plain remove", "aria-label": `Remove the ${kind} ${title} at ${when}`, onclick: () => remove(kind, index) }, "✕"));
}
