// The lanes of a video's page, from people.json and its tracks; mien.viewer.lanes makes the same.

const STRIP_FACES = 6;

/** People in their order, then unknown tracks, then those that are no faces. */
export function lanesOf(people, tracks, source, labels) {
  const own = (parts) => parts.filter((part) => part.source === source && tracks[part.track]);
  const found = people.people.map((person) => ({ id: person.id, kind: "person", name: person.name ?? null, parts: own(person.tracks) }));
  for (const kind of ["unknown", "not_a_face"]) {
    for (const part of own(people[kind])) {
      const id = `t${part.track}${part.start_s === undefined ? "" : `@${part.start_s}`}`;
      found.push({ id, kind, name: null, parts: [part] });
    }
  }
  return found.filter((lane) => lane.parts.length).map(({ parts, ...lane }) => ({ ...lane, ...shown(parts, tracks, labels) }));
}

function shown(parts, tracks, labels) {
  const pieces = parts.map(({ track, start_s = null, end_s = null }) => ({
    track, start_s, end_s, first_s: start_s ?? tracks[track].first_s, last_s: end_s ?? tracks[track].last_s,
  })).sort((a, b) => a.first_s - b.first_s);
  const whole = [...new Set(pieces.map((piece) => piece.track))].map((track) => tracks[track]);
  const seen = whole.reduce((sum, track) => sum + track.seen_s, 0);
  const fractions = Object.fromEntries([...labels, "unsure", "unread"].map((label) =>
    [label, whole.reduce((sum, track) => sum + track.fractions[label] * track.seen_s, 0) / (seen || 1)]));
  return {
    // A track that nobody has named or merged has its name of the tables.
    title: parts.length === 1 ? `Track ${parts[0].track}` : null,
    pieces, seen_s: seen, fractions, first_s: Math.min(...pieces.map((piece) => piece.first_s)),
    last_s: Math.max(...pieces.map((piece) => piece.last_s)), faces: faces(pieces),
  };
}

/** The faces of the still timeline, which are in the page already. */
function faces(pieces) {
  const own = (piece) => [...document.querySelectorAll(`.still image[data-track="${piece.track}"]`)]
    .map((image) => ({ src: image.getAttribute("href"), time_s: Number(image.dataset.time) }))
    .filter(({ time_s }) => time_s >= (piece.start_s ?? 0) && time_s < (piece.end_s ?? Infinity));
  const all = pieces.flatMap(own).sort((a, b) => a.time_s - b.time_s);
  const step = Math.max(all.length / STRIP_FACES, 1);
  return Array.from({ length: Math.min(all.length, STRIP_FACES) }, (_, place) => all[Math.floor(place * step)]);
}
