// Forms: a person, an event, an excluded range, a corrected label.

import { $, el, errorBox } from "/assets/app/dom.js";
import { Refused } from "./api.js";
import { stretchAt } from "./levels.js";
import { chosenLane, correctionsOf, lanes, laneName, moment, source, stamp, store } from "./store.js";

const EVENT_S = 5, BY = "mien-view-by";
let change = null;

/** Who corrected last in this browser, if it keeps that. */
function initials() {
  try {
    return localStorage.getItem(BY) ?? "";
  } catch {
    return "";
  }
}

function remember(by) {
  try {
    localStorage.setItem(BY, by);
  } catch {
    // Asked for again the next time.
  }
}

/** `onChange(edit)` sends an edit and resolves once it is saved. */
export function setUp(onChange) {
  change = onChange;
}

/** Show a form; `read()` returns the edit when it is submitted. */
function open(title, nodes, verb, read) {
  const problem = el("div");
  const close = el("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => $("dialog").close() }, "✕");
  const submit = verb && el("div", { class: "actions end" }, el("button", { type: "submit", class: "primary" }, verb));
  const form = $("dialog-form");
  form.replaceChildren(el("header", {}, el("h2", { id: "dialog-title" }, title), close), ...nodes, problem, submit ?? "");
  form.onsubmit = (event) => {
    event.preventDefault();
    if (read) send(read(), problem);
  };
  $("dialog").showModal();
  form.querySelector("input, select")?.focus();
  return (edit) => send(edit, problem);
}

async function send(edit, problem) {
  try {
    await change(edit);
    $("dialog").close();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    problem.replaceChildren(errorBox(error));
  }
}

const field = (label, input) => el("label", {}, label, input);
const text = (more) => el("input", { type: "text", autocomplete: "off", maxlength: 200, ...more });
const seconds = (value) => el("input", {
  type: "number", min: 0, step: "any", required: true, value: String(Math.round(value * 1000) / 1000),
});
const choose = (options, value) => {
  const select = el("select", {}, ...options.map(([key, name]) => el("option", { value: key }, name)));
  if (value !== undefined) select.value = value;
  return select;
};
const people = () => [["", "Everyone"], ...lanes().filter((lane) => lane.kind === "person").map((lane) => [lane.id, laneName(lane)])];
const pair = (...nodes) => el("div", { class: "pair" }, ...nodes);

export function addEvent() {
  const names = [...new Set(store.data.events.map((one) => one.name))];
  const name = text({ required: true, list: "event-names", placeholder: "stimulus starts" }), time = seconds(moment()), person = choose(people());
  open("Add an event", [field("Name", name), el("datalist", { id: "event-names" }, ...names.map((one) => el("option", { value: one }))),
    pair(field("Time in seconds", time), field("Whose", person))], "Add event",
  () => ({ action: "event", source: source().name, name: name.value, time_s: Number(time.value), person: person.value || null }));
}

/** The chosen range; one without an end ends at the moment. */
function chosenRange() {
  if (!store.range) return null;
  const [from, to] = store.range;
  return to !== null ? [from, to] : moment() > from ? [from, moment()] : null;
}

export function addExclusion() {
  const [from, to] = chosenRange() ?? [moment(), Math.min(moment() + EVENT_S, source().end_s)];
  const start = seconds(from), end = seconds(to), reason = text({ placeholder: "hand before the face", required: true }), person = choose(people());
  open("Exclude a range", [el("p", {}, "Tables and statistics of the study leave this range out. The rows stay as they are."),
    pair(field("From, in seconds", start), field("To, in seconds", end)), field("Reason", reason), field("Whose", person)], "Exclude",
  () => ({ action: "exclusion", source: source().name, start_s: Number(start.value), end_s: Number(end.value), reason: reason.value, person: person.value || null }));
}

export function addCorrection() {
  const lane = chosenLane();
  if (!lane) return;
  const ranged = chosenRange();
  const [from, to] = ranged ?? stretchAt(lane, moment()) ?? [moment(), Math.min(moment() + 1, source().end_s)];
  const start = seconds(from), end = seconds(to), label = choose(store.data.labels.map((one) => [one, one]));
  const by = text({ value: initials(), required: true, placeholder: "your initials" });
  open(`Correct the label of ${laneName(lane)}`, [
    el("p", {}, ranged ? "The model's label stays; yours is kept beside it." : "This is the stretch with one label around the moment. The model's label stays; yours is kept beside it."),
    field("What the face shows", label), pair(field("From, in seconds", start), field("To, in seconds", end)), field("Corrected by", by)], "Correct",
  () => {
    remember(by.value);
    return { action: "correction", source: source().name, lane: lane.id, start_s: Number(start.value), end_s: Number(end.value), label: label.value, by: by.value };
  });
}

/** A person as its row names it; one of another video has no row here. */
function nameOf(person) {
  const lane = lanes().find((one) => one.id === person.id);
  return lane ? laneName(lane) : person.name ?? `Person ${person.id.slice(1)}`;
}

/** Everything that can be changed about a person, or a track of nobody. */
export function openLane(lane = chosenLane()) {
  if (!lane) return;
  if (lane.kind !== "person") return openTrack(lane);
  const name = text({ value: lane.name ?? "", placeholder: laneName(lane) });
  const others = store.data.people.filter((one) => one.id !== lane.id);
  const other = choose(others.map((one) => [one.id, nameOf(one)]));
  const send = open(laneName(lane), [
    el("div", { class: "line" }, field("Name", name), el("button", { type: "submit" }, "Rename")),
    others.length && el("div", { class: "line" }, field("The same person as", other),
      el("button", { type: "button", onclick: () => send({ action: "merge", into: lane.id, other: other.value }) }, "Merge")),
    el("h3", {}, "Split"),
    el("p", {}, `From ${stamp(moment())} on, the moment shown, it is somebody else.`),
    el("div", { class: "actions end" }, el("button", { type: "button", onclick: () => send({ action: "split", person: lane.id, source: source().name, at_s: moment() }) }, `Split at ${stamp(moment())}`)),
    el("h3", {}, lane.pieces.length === 1 ? "1 track" : `${lane.pieces.length} tracks`),
    el("ul", { class: "pieces" }, ...lane.pieces.map((piece) => pieceItem(piece, lane, (edit) => send(edit)))),
  ].filter(Boolean), null, () => ({ action: "rename", person: lane.id, name: name.value.trim() || null }));
}

function openTrack(lane) {
  const to = choose(store.data.people.map((one) => [one.id, nameOf(one)]));
  const send = open(laneName(lane), [
    el("p", {}, "Nobody was recognised in this track."),
    store.data.people.length && el("div", { class: "line" }, field("It is", to),
      el("button", { type: "button", onclick: () => send(assign(lane.pieces[0], to.value)) }, "Add to person")),
    el("ul", { class: "pieces" }, pieceItem(lane.pieces[0], lane, (edit) => send(edit))),
  ].filter(Boolean), null, null);
}

export const assign = (piece, to) => ({ action: "assign", source: source().name, track: piece.track, start_s: piece.start_s, to });

function pieceItem(piece, lane, send) {
  const button = (name, to) => el("button", { type: "button", onclick: () => send(assign(piece, to)) }, name);
  return el("li", {}, el("span", { class: "what" }, `Track ${piece.track}: ${stamp(piece.first_s)} to ${stamp(piece.last_s)}`),
    lane.kind !== "person" || lane.pieces.length > 1 ? button("Own person", "new") : "",
    lane.kind === "person" ? button("Unknown", "unknown") : "", button("Not a face", "not_a_face"));
}

/** Whether a lane has a correction: the page says so beside its name. */
export const isCorrected = (lane) => correctionsOf(lane).length > 0;
