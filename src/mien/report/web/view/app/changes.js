// Changes of a video's page, on copies of people.json and study.toml; mien.viewer.editor does the same
// beside the results. Each returns what is wrong, or nothing.

const MAX_TEXT = 200;

const round = (value) => Math.round(Number(value) * 1000) / 1000;
const isText = (value) => typeof value === "string" && value.trim() && value.trim().length <= MAX_TEXT;
const wrongText = (name) => `${name}: give a text of 1 to ${MAX_TEXT} characters`;

/** Change `work` ({ people, study }); `together(parts, parts)` says when both are seen, or null. */
export async function apply(work, change, page, together) {
  const own = { event, exclusion, correction, remove, rename, merge, assign }[change.action];
  if (!own) return "A person cannot be split on this page: its bins are wider than a frame";
  return own(work, change, page, together);
}

const outside = (time, page) => !(time >= 0 && time <= page.source.end_s + page.source.step_s)
  && `${time} s is outside of the video, 0 to ${page.source.end_s.toFixed(2)} s`;

function wrongRange({ start_s, end_s }, page) {
  return outside(start_s, page) || outside(end_s, page) || (end_s <= start_s && `The end, ${end_s} s, does not come after the start, ${start_s} s`);
}

function event({ study }, change, page) {
  const entry = { name: change.name?.trim(), time_s: round(change.time_s), video: change.source, person: change.person || null };
  if (!isText(entry.name)) return wrongText("name");
  if (outside(entry.time_s, page)) return outside(entry.time_s, page);
  study.events.push(entry);
}

function exclusion({ study }, change, page) {
  const entry = { start_s: round(change.start_s), end_s: round(change.end_s), reason: change.reason?.trim(), video: change.source, person: change.person || null };
  if (!isText(entry.reason)) return wrongText("reason");
  if (wrongRange(entry, page)) return wrongRange(entry, page);
  study.exclusions.push(entry);
}

/** One correction for each track of the lane in the range. */
function correction({ people, study }, change, page) {
  const range = { start_s: round(change.start_s), end_s: round(change.end_s) };
  if (!isText(change.by)) return wrongText("by");
  if (wrongRange(range, page)) return wrongRange(range, page);
  const found = partsOf(people, change.lane).filter((part) => part.source === change.source).map((part) => {
    const { first_s, last_s } = page.tracks[part.track];
    const start_s = Math.max(range.start_s, part.start_s ?? 0, first_s);
    const end_s = Math.min(range.end_s, part.end_s ?? Infinity, last_s + page.source.step_s);
    return { source: change.source, track: part.track, start_s: round(start_s), end_s: round(end_s), label: change.label, by: change.by.trim() };
  }).filter((one) => one.end_s > one.start_s);
  if (!found.length) return `It is not seen from ${range.start_s} s to ${range.end_s} s`;
  study.corrections.push(...found);
}

function remove({ study }, { kind, index }) {
  study[`${kind}s`].splice(index, 1);
}

function partsOf(people, lane) {
  const person = people.people.find((one) => one.id === lane);
  if (person) return person.tracks;
  return [...people.unknown, ...people.not_a_face].filter((part) => lane === `t${part.track}${part.start_s === undefined ? "" : `@${part.start_s}`}`);
}

/** What names are compared by, as mien.video.people.parse does; upper case first: 'ß' is 'ss'. */
const nameKey = (name) => name?.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");

function rename({ people }, { person, name }) {
  const taken = people.people.find((one) => name && one.id !== person && (nameKey(one.name) === nameKey(name) || one.id === name));
  if (taken) return `${taken.id} has the name ${taken.name ?? name} already`;
  if (name && !isText(name)) return wrongText("name");
  people.people.find((one) => one.id === person).name = name?.normalize("NFC") || null;
}

async function merge({ people }, { into, other }, page, together) {
  const [kept, gone] = [into, other].map((id) => people.people.find((one) => one.id === id));
  const time = await together(kept.tracks, gone.tracks);
  if (time !== null) return `Both are seen at ${time.toFixed(1)} s, so they are two people`;
  kept.tracks.push(...gone.tracks);
  people.people = people.people.filter((one) => one !== gone);
}

async function assign({ people }, { source, track, start_s, to }, page, together) {
  const isIt = (part) => part.source === source && part.track === track && (part.start_s ?? null) === (start_s ?? null);
  const lists = [...people.people.map((one) => one.tracks), people.unknown, people.not_a_face];
  const part = lists.flat().find(isIt), person = people.people.find((one) => one.id === to);
  if (person) {
    const time = await together(person.tracks.filter((one) => !isIt(one)), [part]);
    if (time !== null) return `Both are seen at ${time.toFixed(1)} s, so they are two people`;
  }
  for (const list of lists) list.splice(0, list.length, ...list.filter((one) => !isIt(one)));
  if (to === "new") people.people.push({ id: `P${(people.last_id += 1)}`, name: null, tracks: [part] });
  else (person?.tracks ?? people[to]).push(part);
  people.people = people.people.filter((one) => one.tracks.length);
}
