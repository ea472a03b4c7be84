"""`people.json`: which tracks of a folder of rows belong to which person; read `People` first.

The file lies beside the rows and joins with them by (source, track), so that rows never change
when somebody names, merges or splits people.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError, did_you_mean
from mien.files import JsonKind, read_schema_json, write_json
from mien.video.people.parse import ID, NAME_RULE, composed, is_name, name_key, parse_people
from mien.video.people.parts import Embedding, Person, TrackPart, frames_of, tidy
from mien.video.people.seen import Seen, TrackKey, coded, joint_frame
from mien.video.people.stale import FILE_NAME as FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
UNKNOWN, NOT_A_FACE = "unknown", "not_a_face"
"""What a track is that belongs to nobody: a person that was not recognised; a false alarm."""
_KIND = JsonKind(
    noun="file of people",
    newest=SCHEMA_VERSION,
    required=("embedding", "people", "unknown", "not_a_face"),
    error=DataError,
    if_missing="find the people of a folder of rows first: mien people find DIR",
    if_damaged="restore the file from a copy, or delete it and run: mien people find DIR",
)


@dataclass(frozen=True, slots=True)
class People:
    """The people of a folder of rows; every change returns a new object.

    Attributes:
        embedding: what the tracks were compared by.
        people: the people, by id.
        unknown: tracks whose person is not known.
        not_a_face: tracks that are false alarms of the detector.
        last_id: highest number that an id ever had; ids are never used again.
    """

    embedding: Embedding
    people: tuple[Person, ...] = ()
    unknown: tuple[TrackPart, ...] = ()
    not_a_face: tuple[TrackPart, ...] = ()
    last_id: int = 0
    _places: dict[TrackKey, list[tuple[TrackPart, str]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for part, where in self._parts():
            self._places.setdefault(part.key, []).append((part, where))

    @classmethod
    def load(cls, path: Path) -> People:
        """Return the people in a file, or in the `people.json` of a folder.

        Raises:
            DataError: the file is missing, damaged, of a newer schema, has a track in two places,
                or two people of one name.
        """
        path = path / FILE_NAME if path.is_dir() else path
        values = read_schema_json(path, _KIND)
        return cls(*parse_people(values, path))

    def save(self, path: Path) -> None:
        """Write the people into a file, or into the `people.json` of a folder, atomically.

        Raises:
            WriteError: the file could not be written.
        """
        write_json(path / FILE_NAME if path.is_dir() else path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file, JSON types."""
        return {
            "schema": SCHEMA_VERSION,
            "mien": version("mien"),
            "embedding": {"name": self.embedding.name, "threshold": self.embedding.threshold},
            "last_id": self.last_id,
            "people": [
                {"id": p.id, "name": p.name, "tracks": [t.to_dict() for t in p.tracks]}
                for p in self.people
            ],
            UNKNOWN: [part.to_dict() for part in self.unknown],
            NOT_A_FACE: [part.to_dict() for part in self.not_a_face],
        }

    def find(self, who: str) -> Person:
        """Return the person with an id or a name, whatever case the name is in.

        Raises:
            DataError: there is no such person.
        """
        # A text in the form of an id is no name, and 'p1' is no id.
        key = None if ID.fullmatch(who) else name_key(who)
        for person in self.people:
            if who == person.id or (person.name and name_key(person.name) == key):
                return person
        known = [name for p in self.people for name in (p.id, p.name) if name]
        raise DataError(
            f"no person has the id or name {who!r}",
            hint=did_you_mean(who, known) + f"known: {', '.join(known) or 'nobody'}",
        )

    def place_of(self, source: str, track: int, time_s: float | None = None) -> str:
        """Return the id of the person whom a track shows, UNKNOWN or NOT_A_FACE.

        Args:
            source: of the track, as in the rows.
            track: its number.
            time_s: moment in seconds, which matters where the track was split; None takes its
                first part.
        """
        parts = self._places.get(TrackKey(source, track), [])
        if time_s is None:
            return parts[0][1] if parts else UNKNOWN
        return next((where for part, where in parts if part.holds(time_s)), UNKNOWN)

    def person_of(self, source: str, track: int, time_s: float | None = None) -> Person | None:
        """Return the person whom a track shows, or None; the arguments are those of `place_of`."""
        where = self.place_of(source, track, time_s)
        return None if where in (UNKNOWN, NOT_A_FACE) else self.find(where)

    def places_of_rows(self, table: Any) -> tuple[list[str], NDArray[np.int64]]:
        """Return whom each row of a table shows: (places, int64 [n] index into them).

        Places are ids of people, UNKNOWN and NOT_A_FACE; rows without a face have -1.

        Args:
            table: a pyarrow.Table of rows with the columns source, track and time_s.
        """
        places = [*(person.id for person in self.people), UNKNOWN, NOT_A_FACE]
        index = {place: number for number, place in enumerate(places)}
        columns = coded(table)
        # A number for each track, so that the loop is over tracks and not over rows.
        span = int(columns.track_n.max(initial=0)) + 1
        keys, row_n = np.unique(columns.source_n * span + columns.track_n, return_inverse=True)
        found = np.full(len(keys), -1, np.int64)
        split: list[tuple[int, list[tuple[TrackPart, str]]]] = []
        for number, key in enumerate(keys.tolist()):
            source, track = columns.names[key // span], key % span
            parts = self._places.get(TrackKey(source, track), [])
            if track:
                found[number] = index[self.place_of(source, track)]
            if len(parts) > 1 or (parts and not parts[0][0].is_whole):
                split.append((number, parts))
        place_n = found[row_n]
        for number, parts in split:
            rows = np.flatnonzero(row_n == number)
            times = table["time_s"].take(rows).to_numpy()
            place_n[rows] = index[UNKNOWN]
            for part, where in parts:
                place_n[rows[part.mask(times)]] = index[where]
        return places, place_n

    def labels(self) -> dict[str, str]:
        """Return the name of each person by id; the id where there is no name."""
        return {person.id: person.label for person in self.people}

    # Changes.
    def rename(self, who: str, name: str | None) -> People:
        """Return the people with a person renamed.

        Args:
            who: id or name.
            name: new name; None or '' removes it. Stored in the normalization form NFC.

        Raises:
            DataError: no such person, or the name is too long, an id, or taken, in whatever case.
        """
        person = self.find(who)
        name = composed(name or "").strip() or None
        if name is not None:
            self._check_name(person, name)
        return self._with([replace(person, name=name)])

    def merge(self, who: str, other: str, seen: Mapping[TrackKey, Seen]) -> People:
        """Return the people with `other` joined into `who`, who keeps the id.

        The name of `who` stays; without one it takes that of `other`.

        Args:
            who: id or name.
            other: id or name of the person who is joined.
            seen: frames of the tracks, see `seen_in`.

        Raises:
            DataError: no such person, the same person twice, or one frame shows both.
        """
        first, second = self.find(who), self.find(other)
        if first.id == second.id:
            raise DataError(f"{who} and {other} are one person already", hint="name two people")
        self._check_apart(first, second.tracks, second.label, seen)
        tracks = tidy((*first.tracks, *second.tracks))
        joined = replace(first, name=first.name or second.name, tracks=tracks)
        return self._with([joined], without=second.id)

    def split(
        self, source: str, track: int, time_s: float | None, seen: Mapping[TrackKey, Seen]
    ) -> People:
        """Return the people with a track, or its part from a moment on, as a new person.

        Args:
            source: of the track.
            track: its number.
            time_s: moment in seconds; None takes the whole track out.
            seen: frames of the tracks, see `seen_in`.

        Raises:
            DataError: no such track, or `time_s` is not within it.
        """
        key = TrackKey(source, track)
        frames = _known(key, seen)
        ids = f"P{self.last_id + 1}"
        if time_s is None:
            owner = self.person_of(source, track)
            if owner is not None and all(part.key == key for part in owner.tracks):
                raise DataError(
                    f"{owner.label} has no other track than track {track} of {source}",
                    hint="give the moment at which another person begins, or mark the track",
                )
            moved = [part for part, _ in self._places.get(key, [])]
            return self._move(moved, ids, [TrackPart(source, track)])
        first_s, last_s = float(frames.times_n[0]), float(frames.times_n[-1])
        if not first_s < time_s <= last_s:
            raise DataError(
                f"{time_s:g} s is not within track {track} of {source}, which was seen from "
                f"{first_s:.3f} to {last_s:.3f} s",
                hint="give a moment after its first frame and not after its last",
            )
        places = self._places.get(key) or [(TrackPart(source, track), UNKNOWN)]
        part, where = next((p for p in places if p[0].holds(time_s)), places[0])
        if part.start_s == time_s:
            raise DataError(
                f"track {track} of {source} is split at {time_s:g} s already",
                hint="give another moment, or merge the people first",
            )
        before, after = replace(part, end_s=time_s), replace(part, start_s=time_s)
        return self._move([part], where, [before])._move([after], ids)

    def mark(self, source: str, track: int, place: str, seen: Mapping[TrackKey, Seen]) -> People:
        """Return the people with a whole track moved.

        Args:
            source: of the track.
            track: its number.
            place: UNKNOWN, NOT_A_FACE, or the id or name of a person.
            seen: frames of the tracks, see `seen_in`.

        Raises:
            DataError: no such track or person, or one frame shows the person twice.
        """
        key = TrackKey(source, track)
        _known(key, seen)
        part = TrackPart(source, track)
        if place not in (UNKNOWN, NOT_A_FACE):
            person = self.find(place)
            others = replace(person, tracks=tuple(t for t in person.tracks if t.key != key))
            self._check_apart(others, (part,), f"track {track}", seen)
            place = person.id
        return self._move([t for t, _ in self._places.get(key, [])], place, [part])

    def forget(self, who: str) -> People:
        """Return the people without a person, whose tracks become unknown.

        Raises:
            DataError: no such person.
        """
        person = self.find(who)
        return self._move(person.tracks, UNKNOWN)

    def check_rows(self, seen: Mapping[TrackKey, Seen], path: Path) -> People:
        """Return the people, with tracks of the rows that the file lacks as unknown.

        Args:
            seen: frames of the tracks of the rows.
            path: of the file, for messages.

        Raises:
            DataError: the file has a track that the rows lack.
        """
        for part, _ in self._parts():
            if part.key not in seen:
                raise DataError(
                    f"{path} has track {part.track} of {part.source}, which the rows beside it "
                    "do not have",
                    hint="are rows missing? else delete the file and run: mien people find DIR",
                )
        new = [TrackPart(*key) for key in seen if key not in self._places]
        return replace(self, unknown=tidy((*self.unknown, *new)))

    def parts(self) -> Iterator[TrackPart]:
        """Yield all parts of tracks, whatever they show."""
        return (part for part, _ in self._parts())

    def without(self, parts: Iterable[TrackPart]) -> People:
        """Return the people without some parts of tracks, and without people who have no other."""
        gone = set(parts)
        left = (replace(p, tracks=tuple(t for t in p.tracks if t not in gone)) for p in self.people)
        return replace(
            self,
            people=tuple(person for person in left if person.tracks),
            unknown=tuple(t for t in self.unknown if t not in gone),
            not_a_face=tuple(t for t in self.not_a_face if t not in gone),
        )

    def _parts(self) -> Iterator[tuple[TrackPart, str]]:
        for person in self.people:
            yield from ((part, person.id) for part in person.tracks)
        yield from ((part, UNKNOWN) for part in self.unknown)
        yield from ((part, NOT_A_FACE) for part in self.not_a_face)

    def _with(self, changed: Iterable[Person], without: str = "") -> People:
        """Return the people with some replaced or added by id, and one left out."""
        by_id = {p.id: p for p in self.people if p.id != without}
        by_id.update((person.id, person) for person in changed)
        ordered = sorted(by_id.values(), key=lambda p: int(p.id[1:]))
        last = max([self.last_id, *(int(p.id[1:]) for p in ordered)])
        return replace(self, people=tuple(ordered), last_id=last)

    def _move(
        self, parts: Iterable[TrackPart], place: str, into: Iterable[TrackPart] | None = None
    ) -> People:
        """Return the people with parts of tracks moved, or replaced by `into`, at a place."""
        moved = set(parts)
        added = moved if into is None else set(into)
        people = [replace(p, tracks=tuple(t for t in p.tracks if t not in moved))
                  for p in self.people]  # fmt: skip
        if place not in (UNKNOWN, NOT_A_FACE):
            target = next((p for p in people if p.id == place), Person(place, None, ()))
            people = [p for p in people if p.id != place]
            people.append(replace(target, tracks=tidy((*target.tracks, *added))))
        unknown, not_a_face = (
            tidy((*(t for t in old if t not in moved), *(added if name == place else ())))
            for name, old in ((UNKNOWN, self.unknown), (NOT_A_FACE, self.not_a_face))
        )
        # A person without a track is nobody; the id stays used.
        left = replace(self, people=(), unknown=unknown, not_a_face=not_a_face)
        return left._with(p for p in people if p.tracks)

    def _check_name(self, person: Person, name: str) -> None:
        others = [p for p in self.people if p.name and p.id != person.id]
        taken = next((p for p in others if name_key(p.name or "") == name_key(name)), None)
        if taken is not None:
            raise DataError(
                f"{taken.id} has the name {taken.name!r} already",
                hint=f"choose another name, or merge {person.id} into {taken.id}",
            )
        if not is_name(name):
            raise DataError(
                f"{name[:40]!r} cannot be a name: a name is {NAME_RULE}", hint="choose another name"
            )

    def _check_apart(
        self, person: Person, parts: Iterable[TrackPart], label: str, seen: Mapping[TrackKey, Seen]
    ) -> None:
        """Raise a DataError where one frame shows a person and other tracks."""
        both = joint_frame(frames_of(person.tracks, seen), frames_of(parts, seen))
        if both is None:
            return
        source, frame, one, other = both
        time_s = seen[TrackKey(source, one)].time_of(frame)
        raise DataError(
            f"{person.label} and {label} cannot be one person: frame {frame} of {source} "
            f"({time_s:.3f} s) shows both, as tracks {one} and {other}",
            hint="split a track that changes from one person to another first",
        )


def _known(key: TrackKey, seen: Mapping[TrackKey, Seen]) -> Seen:
    if key in seen:
        return seen[key]
    sources = list(dict.fromkeys(known.source for known in seen))
    if key.source not in sources:
        hint = did_you_mean(key.source, sources) + f"sources: {', '.join(sources[:8])}"
    else:
        hint = f"tracks: {', '.join(str(k.track) for k in seen if k.source == key.source)}"
    raise DataError(f"the rows have no track {key.track} of {key.source}", hint=hint)
