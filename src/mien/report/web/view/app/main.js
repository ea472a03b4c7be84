// The viewer's page: loads the state, connects video, timeline, marks and keys.

import { $, el, errorBox, icon, say } from "/assets/app/dom.js";
import { CAVEAT, EXPORT, canExport, exportChanges, getJson, post, Refused } from "./api.js";
import { addCorrection, addEvent, addExclusion, assign, openLane, setUp } from "./dialogs.js";
import { setUpKeys } from "./keys.js";
import { forget } from "./levels.js";
import { listMarks } from "./marks.js";
import { forgetMoments, wantMoments } from "./moments.js";
import { forgetPreviews, loadPreviews } from "./previews.js";
import { buildNow, showNow } from "./now.js";
import { drawBoxes, isPlaying, mount, pause, seek, toggle } from "./player.js";
import { announce, chosenLane, clamp, lanes, laneName, moment, on, source, spokenTime, store } from "./store.js";
import * as timeline from "./timeline.js";

const PAGE_S = 10;

/** Go to a moment and stay there; the window follows if asked. */
function goTo(time, follow = true) {
  const playing = isPlaying();
  if (playing) pause();
  store.hover = null;
  store.head = clamp(time, 0, source().end_s);
  if (follow) timeline.reveal(store.head);
  seek(store.head, !follow);
  wantMoments(store.head);
  announce("time");
}

/** Show the moment under the pointer; null shows the chosen one again. */
function hover(time) {
  if (isPlaying() || time === store.hover) return;
  store.hover = time;
  seek(moment(), true);
  wantMoments(moment());
  announce("time");
}

/** Send an edit; the answer is the new state. */
async function change(edit) {
  const { versions } = store.data;
  take(await post("/v1/edits", { ...edit, versions }));
  say("Saved");
}

/** The same from a button without a form: a refusal is shown above the page. */
async function tryChange(edit) {
  try {
    await change(edit);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    show(error);
  }
}

function show(error) {
  const action = error.status === 409 && { name: "Load again", run: reload };
  $("notice").replaceChildren(errorBox(error, action || null));
  $("notice").scrollIntoView({ block: "nearest" });
}

async function reload() {
  try {
    take(await getJson("/v1/view"));
    $("notice").replaceChildren();
    notes();
  } catch (error) {
    show(error);
  }
}

/** Show a new state; bins are fetched again where the lanes have changed. */
function take(data) {
  const before = store.data && JSON.stringify(lanes().map(({ id, pieces }) => [id, pieces]));
  store.data = data;
  store.number = Math.min(store.number, data.sources.length - 1);
  if (before !== JSON.stringify(lanes().map(({ id, pieces }) => [id, pieces]))) {
    forget();
    forgetMoments();
    wantMoments(moment());
  }
  refresh();
}

/** Everything but the video, from the state. */
function refresh() {
  $("undo").disabled = !store.data.undo;
  $("export").disabled = !canExport(store.data);
  timeline.build({ openLane, goTo });
  timeline.listOthers((lane) => tryChange(assign(lane.pieces[0], "new")));
  listMarks(goTo, (kind, index) => tryChange({ action: "remove", kind, index }));
  buildNow();
  showNow();
  drawBoxes();
}

/** Show another source. */
function open(number) {
  store.number = number;
  Object.assign(store, { head: 0, hover: null, range: null, lane: null });
  forget();
  forgetMoments();
  forgetPreviews();
  timeline.show(0, source().end_s);
  mount();
  refresh();
  wantMoments(0, true);
}

function notes() {
  for (const note of store.data.notes) $("notice").append(el("p", { class: "remark" }, note));
}

/** Names of sources, without what all of their paths share. */
function titles(names) {
  const parts = names.map((name) => name.split(/[\\/]/));
  const last = parts.map((part) => part.at(-1));
  return names.map((name, i) => (last.indexOf(last[i]) === last.lastIndexOf(last[i]) ? last[i] : name));
}

function setRange(which) {
  const [from, to] = store.range ?? [null, null], time = moment();
  if (which === "start") store.range = [time, to !== null && to > time ? to : null];
  else store.range = [from !== null && from < time ? from : 0, time];
  announce("range");
}

function chooseLane(step) {
  const all = lanes(), at = all.indexOf(chosenLane());
  if (!all.length) return;
  store.lane = all[clamp(at + step, 0, all.length - 1)].id;
  announce("lane");
  say(laneName(chosenLane()));
}

async function exportCorrections() {
  $("export").disabled = true;
  try {
    const { words: said, code } = await exportChanges();
    const words = el("p", { class: "remark" }, said, el("code", {}, code));
    $("notice").replaceChildren(words);
    words.scrollIntoView({ block: "nearest" });
  } catch (error) {
    show(error);
  }
  $("export").disabled = false;
}

function step(frames) {
  const { step_s } = source();
  // From the middle of a frame: rounding must not skip one or stay on it.
  goTo((Math.round(store.head / step_s) + frames) * step_s);
}

function keys() {
  const key = (names, shown, words, work) => ({ keys: names, shown, words, work });
  setUpKeys([
    key([" ", "k"], ["Space"], "Play or pause", toggle),
    key(["ArrowLeft"], ["←"], "One frame back", () => step(-1)),
    key(["ArrowRight"], ["→"], "One frame on", () => step(1)),
    key(["Shift+ArrowLeft", "Shift+ArrowRight"], ["Shift", "← →"], "One second", (event) => goTo(store.head + (event.key === "ArrowLeft" ? -1 : 1))),
    key(["PageUp", "PageDown"], ["Page ↑", "Page ↓"], "Ten seconds", (event) => goTo(store.head + (event.key === "PageUp" ? -PAGE_S : PAGE_S))),
    key(["Home", "End"], ["Home", "End"], "Start or end of the video", (event) => goTo(event.key === "Home" ? 0 : source().end_s - source().step_s)),
    key(["ArrowUp", "ArrowDown"], ["↑", "↓"], "Choose a row", (event) => chooseLane(event.key === "ArrowUp" ? -1 : 1)),
    key(["["], ["["], "The range starts here", () => setRange("start")),
    key(["]"], ["]"], "The range ends here", () => setRange("end")),
    key(["Escape"], ["Esc"], "No range", () => { store.range = null; announce("range"); }),
    key(["+", "="], ["+"], "Zoom in", () => timeline.zoom(0.5)),
    key(["-"], ["−"], "Zoom out", () => timeline.zoom(2)),
    key(["0"], ["0"], "The whole video", () => timeline.show(0, source().end_s)),
    key(["e"], ["E"], "Add an event", addEvent),
    key(["x"], ["X"], "Exclude the range", addExclusion),
    key(["c"], ["C"], "Correct the label of the chosen row", addCorrection),
    key(["n"], ["N"], "Name, merge or split the chosen row", () => openLane()),
    key(["u"], ["U"], "Undo the last change", () => store.data.undo && tryChange({ action: "undo" })),
    key(["?"], ["?"], "This list", () => $("help").showModal()),
  ]);
}

function buttons() {
  const click = (id, work) => $(id).addEventListener("click", work);
  click("play", toggle);
  click("zoom-in", () => timeline.zoom(0.5));
  click("zoom-out", () => timeline.zoom(2));
  click("fit", () => timeline.show(0, source().end_s));
  click("range-start", () => setRange("start"));
  click("range-end", () => setRange("end"));
  click("add-event", addEvent);
  click("add-exclusion", addExclusion);
  click("add-correction", addCorrection);
  click("undo", () => tryChange({ action: "undo" }));
  click("export", exportCorrections);
  click("help-open", () => $("help").showModal());
  for (const node of document.querySelectorAll("[data-close]")) node.addEventListener("click", () => node.closest("dialog").close());
  for (const input of document.querySelectorAll("[name=style]")) {
    input.addEventListener("change", () => { store.style = input.value; timeline.redraw(); });
  }
  $("source").addEventListener("change", () => open(Number($("source").value)));
}

function showPlaying() {
  const playing = isPlaying();
  $("play-icon").replaceChildren(icon(playing ? "pause" : "play"));
  $("play-name").textContent = playing ? "Pause" : "Play";
}

async function start() {
  setUp(change);
  buttons();
  keys();
  on("time", () => { timeline.moveCursor(); showNow(); drawBoxes(); if (isPlaying()) timeline.reveal(store.head); });
  on("moments", () => { showNow(); drawBoxes(); });
  on("levels", showNow);
  on("drawn", loadPreviews);
  on("playing", showPlaying);
  on("failed", () => show(new Refused("The timeline could not be loaded", "Is mien view still running in its terminal?")));
  timeline.listen({ goTo, hover });
  showPlaying();
  try {
    store.data = await getJson("/v1/view");
  } catch (error) {
    show(error);
    document.body.dataset.ready = "failed";
    return;
  }
  const names = store.data.sources.map((one) => one.name);
  // Nothing to choose from.
  $("source").hidden = names.length < 2;
  $("only").hidden = names.length > 1;
  $("only").textContent = titles(names)[0];
  $("source").replaceChildren(...titles(names).map((title, i) => el("option", { value: i }, title)));
  $("title").textContent = document.title = store.data.title;
  $("caveat").textContent = CAVEAT;
  $("export").textContent = EXPORT;
  notes();
  open(0);
  document.body.dataset.ready = "";
}

start();
