// In place of api.js on the page of a video, which is a file: levels of detail from the page itself,
// changes in the browser's storage, files to download. It has the same exports.

import { $ } from "/assets/app/dom.js";
import { apply } from "./changes.js";
import { lanesOf } from "./lanes.js";
import { inToml } from "./toml.js";

export class Refused extends Error {
  constructor(message, hint = "", status = 422) {
    super(message);
    Object.assign(this, { hint, status });
  }
}

export const CAVEAT = "The labels describe how a face looks in an image, not what someone feels. This page is a file and sends nothing to other computers.";
export const EXPORT = "Save changes";
const HINT = "Run mien view with the folder of the results, which reads every row and saves beside them";
const NOTE = "This page is a file: what you add stays in this browser until Save changes downloads it as study.toml or people.json. To save beside the results, split a person or export corrections, run mien view.";
const NONE = 255, ROUNDING = 1e-6, KEY = `mien-page ${location.pathname}`;

const page = JSON.parse($("state").textContent);
const empty = () => ({ people: structuredClone(page.people), study: { events: [], exclusions: [], corrections: [] } });
let now = empty(), history = [], stored = true;

// Of the people in the page; its count of rewrites also tells a name that was removed again.
const PEOPLE = JSON.stringify([page.rewrites ?? 0, page.people]);

try {
  const kept = JSON.parse(localStorage.getItem(KEY));
  if (kept && kept.people !== PEOPLE) {
    // The folder's people were changed since: theirs are shown, and the marks stay. Stored at once, and not
    // with the next change: a name that was forgotten must not stay in the browser.
    kept.now.people = empty().people;
    Object.assign(kept, { people: PEOPLE, history: [] });
    localStorage.setItem(KEY, JSON.stringify(kept));
  }
  // Of the same rows only: a page that was written again may have other tracks.
  if (kept?.data === page.data.length) [now, history] = [kept.now, kept.history];
} catch {
  stored = false;
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ data: page.data.length, people: PEOPLE, now, history }));
    stored = true;
  } catch {
    stored = false;
  }
}

/** What the server answers to /v1/view. */
function state() {
  const { title, labels, source, tracks } = page;
  return {
    title, labels, notes: stored ? [NOTE] : [NOTE, "This browser keeps nothing for files: save before you close the page."],
    sources: [{ ...source, lanes: lanesOf(now.people, tracks, source.name, labels) }],
    people: now.people.people.map(({ id, name }) => ({ id, name })),
    ...now.study, versions: {}, undo: history.length,
  };
}

export async function getJson(path) {
  if (path === "/v1/view") return state();
  throw new Refused("The page has no rows of single frames", HINT);
}

let bytes = null;

/** The levels of detail, unpacked once. */
function unpacked() {
  bytes ??= (async () => {
    const packed = Uint8Array.from(atob(page.data), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  })();
  return bytes;
}

/** What the server answers to /v1/sources/0/levels: the coarsest level with a bin for each column. */
export async function getBytes(path) {
  const data = await unpacked(), wish = new URL(path, "http://page").searchParams;
  const [start, end, columns] = ["start_s", "end_s", "columns"].map((name) => Number(wish.get(name)));
  const ids = wish.get("lanes").split(","), lanes = state().sources[0].lanes, k = page.labels.length;
  const finest = Math.max(end - start, 0) / page.levels[0].width;
  const depth = Math.max(0, Math.floor(Math.log2(Math.max(finest / columns, 1)) + ROUNDING));
  const { width, tracks } = page.levels[Math.min(depth, page.levels.length - 1)];
  const first = Math.max(0, Math.floor(start / width)), last = Math.floor(Math.min(end, page.source.end_s) / width) + 1;
  const bins = Math.max(last - first, 0), size = bins * (3 * k + 1);
  const out = new Uint8Array(24 + ids.length * size), head = new DataView(out.buffer);
  head.setFloat64(0, width, true);
  head.setFloat64(8, first * width, true);
  head.setUint32(16, bins, true);
  head.setUint32(20, ids.length, true);
  ids.forEach((id, place) => {
    const at = 24 + place * size, codes = at + bins * 3 * k;
    out.fill(NONE, codes, codes + bins);
    for (const piece of lanes.find((lane) => lane.id === id)?.pieces ?? []) {
      const [own, count, offset] = tracks[piece.track];
      const from = Math.max(first, own, Math.floor((piece.start_s ?? 0) / width));
      const to = Math.min(last, own + count, Math.ceil((piece.end_s ?? Infinity) / width));
      for (let bin = from; bin < to; bin += 1) {
        const code = data[offset + count * 3 * k + bin - own];
        if (code === NONE) continue;
        out[codes + bin - first] = code;
        const probs = offset + (bin - own) * 3 * k;
        out.set(data.subarray(probs, probs + 3 * k), at + (bin - first) * 3 * k);
      }
    }
  });
  return out.buffer;
}

/** Whether two sets of tracks are seen at one time: [seconds] of the first such bin, or null. */
async function together(first, second) {
  const data = await unpacked(), { width, tracks } = page.levels[0], k = page.labels.length;
  const seen = (part) => {
    const [own, count, offset] = tracks[part.track], found = [];
    for (let bin = 0; bin < count; bin += 1) if (data[offset + count * 3 * k + bin] !== NONE) found.push(own + bin);
    return found;
  };
  const here = (parts) => parts.filter((part) => part.source === page.source.name);
  const taken = new Set(here(first).flatMap(seen));
  // Tracks that follow one another may share the bin between them.
  const both = here(second).flatMap(seen).filter((bin) => taken.has(bin)).sort((a, b) => a - b);
  return both.length > 1 ? both[0] * width : null;
}

export async function post(path, change) {
  const [before, work] = [JSON.stringify(now), structuredClone(now)];
  if (change.action === "undo") {
    now = history.length ? JSON.parse(history.pop()) : now;
  } else {
    const problem = await apply(work, change, page, together);
    if (problem) throw new Refused(problem, HINT);
    history = [...history, before].slice(-50);
    now = work;
  }
  keep();
  return state();
}

export async function getSheet() {
  return null;
}

/** The browser cannot play the video: there is no server that would decode frames of it. */
export const frameAddress = () => null;
export const missing = () => `The video ${decodeURIComponent(page.source.video)} is not beside this page, or this browser cannot play it: the timeline is shown alone. Put the file there, or use mien view.`;

export const canExport = () => history.length > 0 || Object.values(now.study).some((list) => list.length > 0);

/** Download what was changed; return what to say. */
export async function exportChanges() {
  const saved = [];
  if (Object.values(now.study).some((list) => list.length)) saved.push(["study.toml", inToml(now.study)]);
  // Marks name people by ids: without people.json nobody else knows who 'P2' is.
  const named = [...now.study.events, ...now.study.exclusions].some((one) => one.person);
  if (JSON.stringify(now.people) !== JSON.stringify(page.people) || (named && !page.rewrites)) saved.push(["people.json", `${JSON.stringify(now.people, null, 2)}\n`]);
  for (const [name, text] of saved) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text])), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const names = saved.map(([name]) => name).join(" and ");
  return { words: names ? `Saved ${names} among your downloads. Put it beside the results; where there is one already, add its entries. Then: ` : "Nothing was changed. ", code: "mien view RESULTS" };
}
