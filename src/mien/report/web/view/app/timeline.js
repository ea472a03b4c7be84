// The timeline: a ruler, a row for each person, the moment, the range; pointers and zoom.

import { $, el, icon } from "/assets/app/dom.js";
import { hue, UNSURE } from "/assets/app/names.js";
import { drawLane, drawRuler, refreshColours } from "./draw.js";
import { tile, want } from "./levels.js";
import { announce, chosenLane, clamp, concerns, correctionsOf, isShown, lanes, laneName, moment, on,
  source, spokenTime, stamp, store } from "./store.js";

const MAX_ROWS = 12, DRAG_PX = 5, MIN_BINS = 12;
let canvases = new Map(), all = false, drag = null, due = false;

/** Make the rows of the source's lanes. `actions`: openLane(lane), goTo(time). */
export function build(actions) {
  refreshColours();
  canvases = new Map();
  const shown = all ? lanes() : lanes().slice(0, MAX_ROWS);
  $("rows").replaceChildren(...shown.map((lane) => row(lane, actions)));
  if (shown.length < lanes().length) {
    const more = el("button", { type: "button", class: "row-more", onclick: () => { all = true; build(actions); } },
      `Show all ${lanes().length} rows`);
    $("rows").append(el("li", {}, more));
  }
  if (!shown.length) $("rows").append(el("li", { class: "nobody" }, el("b", {}, "No face in this video"), "No track of a face is in its rows."));
  $("lanes-count").textContent = lanes().length === 1 ? "1 row" : `${lanes().length} rows`;
  $("end").textContent = stamp(source().end_s, 0);
  $("legend").replaceChildren(...[...store.data.labels, UNSURE].map((label) => {
    const dot = el("i", { class: "dot" });
    dot.style.setProperty("--hue", hue(label));
    return el("li", { class: "key" }, dot, label);
  }));
  mark();
  redraw();
}

function row(lane, actions) {
  const name = laneName(lane), kind = lane.kind === "person" ? "" : "unknown";
  const choose = () => { store.lane = lane.id; announce("lane"); };
  const strip = el("div", { class: "contact" }, ...lane.faces.map((face) => el("button", {
    type: "button", "aria-label": `${name} at ${spokenTime(face.time_s)}`, title: stamp(face.time_s),
    onclick: () => { choose(); actions.goTo(face.time_s); },
  }, el("img", { src: face.src, alt: "", loading: "lazy", width: 34, height: 34 }))));
  const title = el("button", { type: "button", class: "name", onclick: choose, "data-lane": lane.id },
    el("span", {}, name), el("small", {}, kind ? `${kind} · ${stamp(lane.seen_s, 0)}` : stamp(lane.seen_s, 0)));
  const more = el("button", { type: "button", class: "plain more", "aria-label": `Change ${name}: rename, merge, split`, onclick: () => { choose(); actions.openLane(lane); } }, "•••");
  const words = Object.entries(lane.fractions).filter(([, part]) => part >= 0.005).map(([label, part]) => `${label} ${Math.round(part * 100)}%`);
  const canvas = el("canvas", { role: "img", "aria-label": `${name}: ${words.join(", ") || "no rows"}`, "data-lane": lane.id });
  canvases.set(lane.id, { canvas, lane });
  return el("li", { class: `lane ${kind ? "nobody-lane" : ""}`, "data-lane": lane.id }, el("div", { class: "head" }, title, more, strip), canvas);
}

/** Draw everything once more in the next frame. */
export function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

function draw() {
  if (!store.data) return; // the observer below sees the empty page, too
  const found = tile(), data = store.data;
  const events = data.events.filter(isShown), exclusions = data.exclusions.filter(isShown);
  drawRuler($("scrubber"), events);
  for (const { canvas, lane } of canvases.values()) {
    drawLane(canvas, found, lane.id, {
      events: events.filter((one) => concerns(one, lane)),
      exclusions: exclusions.filter((one) => concerns(one, lane)),
      corrections: correctionsOf(lane),
    });
  }
  moveCursor();
  showRange();
  want($("scrubber").clientWidth);
  if (!found) return;
  // When the timeline was first there; bench/viewer.py reads it.
  if (!document.body.dataset.drawn) performance.mark("drawn");
  document.body.dataset.drawn = String(found.width);
  announce("drawn");
}

/** Left edge and width of the canvases, in pixels of the lanes' box. */
function place() {
  const canvas = $("scrubber");
  return [canvas.offsetLeft, canvas.clientWidth];
}

const at = (time) => {
  const [left, width] = place(), [begin, end] = store.window;
  return left + ((time - begin) / (end - begin)) * width;
};

/** Move the line to the moment; nothing else is drawn again. */
export function moveCursor() {
  const time = moment(), [begin, end] = store.window, cursor = $("cursor");
  cursor.hidden = time < begin || time > end;
  cursor.classList.toggle("hover", store.hover !== null);
  cursor.style.transform = `translateX(${at(time)}px)`;
  const slider = $("scrubber");
  for (const [name, value] of [["valuemin", 0], ["valuemax", source().end_s.toFixed(1)], ["valuenow", time.toFixed(1)],
    ["valuetext", spokenTime(time)]]) slider.setAttribute(`aria-${name}`, value);
}

/** Show the chosen range. */
export function showRange() {
  const { range } = store, box = $("range");
  const [left, width] = place();
  box.hidden = !range;
  if (range) {
    const from = clamp(at(range[0]), left, left + width), to = clamp(at(range[1] ?? range[0]), left, left + width);
    box.style.transform = `translateX(${from}px)`;
    box.style.width = `${Math.max(to - from, 2)}px`;
  }
  $("range-text").textContent = !range ? "No range"
    : range[1] === null ? `From ${stamp(range[0], 2)}` : `${stamp(range[0], 2)} to ${stamp(range[1], 2)}`;
}

/** Show which lane is chosen. */
export function mark() {
  const chosen = chosenLane()?.id;
  for (const node of $("rows").querySelectorAll(".lane")) node.setAttribute("aria-current", node.dataset.lane === chosen);
}

/** Show a part of the source. */
export function show(begin, end) {
  const whole = Math.max(source().end_s, source().step_s);
  const span = clamp(end - begin, Math.min(MIN_BINS * source().step_s, whole), whole);
  const from = clamp(begin, 0, whole - span);
  store.window = [from, from + span];
  const pan = $("pan"), room = whole - span;
  $("pan-label").hidden = room < 1e-9;
  pan.value = room ? (from / room) * 1000 : 0;
  redraw();
}

/** Zoom about a moment. */
export function zoom(factor, about = moment()) {
  const [begin, end] = store.window, within = clamp(about, begin, end);
  show(within - (within - begin) * factor, within + (end - within) * factor);
}

/** Move the window so that a moment is visible. */
export function reveal(time) {
  const [begin, end] = store.window;
  if (time < begin || time > end) show(time - (end - begin) / 2, time + (end - begin) / 2);
}

/** Listen to pointers, wheel and the scroll bar. `actions`: goTo(time), hover(time or null). */
export function listen(actions) {
  const box = $("lanes");
  const time = (event) => {
    const { left, width } = $("scrubber").getBoundingClientRect(), [begin, end] = store.window;
    return clamp(begin + ((event.clientX - left) / width) * (end - begin), 0, source().end_s);
  };
  const isOn = (event) => event.target.tagName === "CANVAS";
  box.addEventListener("pointermove", (event) => {
    if (!drag) return void (isOn(event) && event.pointerType === "mouse" && actions.hover(time(event)));
    if (Math.abs(event.clientX - drag.x) < DRAG_PX && !drag.moved) return;
    drag.moved = true;
    actions.hover(null);
    if (drag.touch) return actions.goTo(time(event), false);
    const ends = [drag.time, time(event)].sort((a, b) => a - b);
    store.range = ends;
    announce("range");
    actions.goTo(time(event), false);
  });
  box.addEventListener("pointerleave", () => !drag && actions.hover(null));
  box.addEventListener("pointerdown", (event) => {
    if (!isOn(event) || event.button) return;
    if (event.target.dataset.lane) { store.lane = event.target.dataset.lane; announce("lane"); }
    drag = { x: event.clientX, time: time(event), moved: false, touch: event.pointerType !== "mouse" || event.target === $("scrubber") };
    event.target.setPointerCapture(event.pointerId);
    if (drag.touch) actions.goTo(drag.time, false);
  });
  const release = (event) => {
    if (drag && !drag.moved) actions.goTo(time(event), false);
    drag = null;
  };
  box.addEventListener("pointerup", release);
  box.addEventListener("pointercancel", () => (drag = null));
  box.addEventListener("wheel", (event) => {
    if (!isOn(event)) return;
    const [begin, end] = store.window, across = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 300), time(event));
    else if (across) show(begin + (across / 1000) * (end - begin), end + (across / 1000) * (end - begin));
    else return;
    event.preventDefault();
  }, { passive: false });
  $("pan").addEventListener("input", () => {
    const span = store.window[1] - store.window[0], from = ($("pan").value / 1000) * (source().end_s - span);
    show(from, from + span);
  });
  new ResizeObserver(redraw).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { refreshColours(); redraw(); });
  on("levels", redraw);
  on("range", showRange);
  on("lane", mark);
}

/** The faces that were marked as none, with a button that brings each back. */
export function listOthers(onRestore) {
  const others = source().lanes.filter((lane) => lane.kind === "not_a_face");
  $("others").hidden = !others.length;
  $("others").querySelector("summary").textContent = `Not a face: ${others.length === 1 ? "1 track" : `${others.length} tracks`}`;
  $("other-rows").replaceChildren(...others.map((lane) => el("li", {},
    lane.faces[0] ? el("img", { src: lane.faces[0].src, alt: "", loading: "lazy", width: 34, height: 34 }) : icon("none"),
    el("span", { class: "what" }, `Track ${lane.pieces[0].track}, ${stamp(lane.first_s ?? 0)} to ${stamp(lane.last_s ?? 0)}`),
    el("button", { type: "button", onclick: () => onRestore(lane) }, "It is a face"))));
}
