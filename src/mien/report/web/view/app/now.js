// What each person shows at the moment: exact rows where they are here, else the bin's means.

import { $, el } from "/assets/app/dom.js";
import { UNSURE, hue, percent } from "/assets/app/names.js";
import { binAt } from "./levels.js";
import { facesAt } from "./moments.js";
import { lanes, laneName, moment, stamp, store } from "./store.js";

const MAX_SHOWN = 6;
let cells = new Map(), nobody = null;

/** Make the readout of the lanes; later calls of `showNow` only change its texts. */
export function buildNow() {
  cells = new Map();
  nobody = el("li", { class: "empty" }, "No face in this frame.");
  $("now").replaceChildren(nobody, ...lanes().map((lane) => {
    const label = el("b"), bars = store.data.labels.map((name) => {
      const fill = el("i"), text = el("dd", { class: "fraction" });
      fill.style.setProperty("--hue", hue(name));
      return { fill, text, nodes: [el("dt", {}, name), el("dd", { class: "track" }, fill), text] };
    });
    const dot = el("i", { class: "dot" });
    const node = el("li", { hidden: true }, el("p", { class: "who" }, dot, el("span", {}, laneName(lane)), label),
      el("dl", { class: "bars" }, ...bars.flatMap((bar) => bar.nodes)));
    cells.set(lane.id, { node, label, bars, dot });
    return node;
  }));
}

/** Show the moment. */
export function showNow() {
  const time = moment(), exact = facesAt(time);
  $("now-time").textContent = $("time").textContent = stamp(time);
  let shown = 0;
  for (const lane of lanes()) {
    const cell = cells.get(lane.id);
    if (!cell) continue;
    const found = exact ? exact.find((face) => face.lane === lane.id) : binAt(lane, time);
    cell.node.hidden = !found || shown >= MAX_SHOWN;
    if (cell.node.hidden) continue;
    shown += 1;
    const unread = !found.probs || found.label === "unread";
    cell.label.textContent = unread ? "not classified" : found.label === UNSURE ? UNSURE : `${found.label} ${percent(Math.max(...found.probs))}`;
    cell.dot.style.setProperty("--hue", hue(found.label));
    cell.bars.forEach(({ fill, text }, i) => {
      const value = unread ? 0 : found.probs[i];
      fill.style.width = `${value * 100}%`;
      text.textContent = unread ? "–" : percent(value);
    });
  }
  nobody.hidden = shown > 0;
}
