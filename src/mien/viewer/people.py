"""What the page changes about people, on top of `mien.video.people`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.errors import DataError
from mien.video.people.alone import each_alone
from mien.video.people.file import NOT_A_FACE, UNKNOWN, People
from mien.video.people.parts import Person, TrackPart
from mien.video.people.seen import Seen, TrackKey
from mien.viewer.results import Piece

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mien.viewer.results import Results, SourceRows

NEW = "new"
"""Stands for a person that does not exist yet."""


def seen_of(results: Results) -> dict[TrackKey, Seen]:
    """Return when each track of the results was seen."""
    found = {}
    for rows in results.sources:
        for track in rows.tracks:
            own = rows.rows_of([Piece(track)])
            found[TrackKey(rows.name, track)] = Seen(rows.frame_n[own], rows.time_n[own])
    return found


def load_people(path: Path, seen: Mapping[TrackKey, Seen]) -> tuple[People, list[str]]:
    """Return the people of a file and remarks; where there is no file, each track is a person.

    Args:
        path: people.json.
        seen: tracks of the rows; those that the file lacks are unknown.

    Raises:
        DataError: the file is damaged, which names the line, or has a track that the rows lack.
    """
    if not path.exists():
        return each_alone(seen), []
    loaded = People.load(path)
    people = loaded.check_rows(seen, path)
    new = len(people.unknown) - len(loaded.unknown)
    notes = [f"{path.name} does not name {new} of the tracks; they are shown as unknown"]
    return people, notes if new else []


def split_person(people: People, who: str, rows: SourceRows, at_s: float) -> People:
    """Return the people with a new one: what a person is from a moment of a source on.

    Args:
        people: of the results.
        who: id of the person.
        rows: of the source.
        at_s: moment, in seconds.

    Raises:
        DataError: the person has no row before the moment or none after it.
    """
    person = people.find(who)
    before = [part for part in person.tracks if part.source != rows.name]
    after: list[TrackPart] = []
    for part in person.tracks:
        if part.source == rows.name:
            early, late = _cut(part, rows, at_s)
            before += early
            after += late
    if not before or not after:
        raise DataError(
            f"at_s: {person.label} has no row {'before' if after else 'after'} {at_s:.2f} s in "
            f"{rows.name}",
            hint="choose a moment between its first and its last row",
        )
    number = people.last_id + 1
    others = [replace(one, tracks=tuple(before)) if one is person else one for one in people.people]
    new = Person(f"P{number}", None, tuple(after))
    return replace(people, people=(*others, new), last_id=number)


def _cut(part: TrackPart, rows: SourceRows, at_s: float) -> tuple[list[TrackPart], list[TrackPart]]:
    """Return a track's part before a moment and the one from it on; [] where it has no row."""
    times = rows.time_n[rows.rows_of([Piece(part.track, part.start_s, part.end_s)])]
    late = times[times >= at_s]
    if len(late) == len(times):
        return [], [part]
    if not len(late):
        return [part], []
    # At a row's own time, which every reader compares alike.
    moment = float(late[0])
    return [replace(part, end_s=moment)], [replace(part, start_s=moment)]


def move_part(
    people: People, key: TrackKey, start_s: float | None, to: str, seen: Mapping[TrackKey, Seen]
) -> People:
    """Return the people with a track, or a part of one, moved.

    Args:
        people: of the results.
        key: of the track.
        start_s: where the part starts, in seconds; None for one that starts with the track.
        to: id of a person, NEW, UNKNOWN or NOT_A_FACE.
        seen: frames of the tracks.

    Raises:
        DataError: no such track or person, or the person is seen in the same frame.
    """
    part = _find(people, key, start_s)
    if part.is_whole:
        if to == NEW:
            return people.split(key.source, key.track, None, seen)
        return people.mark(key.source, key.track, to, seen)
    if to not in (NEW, UNKNOWN, NOT_A_FACE):
        person = people.find(to)
        if part in person.tracks:
            return people
        # As a person of its own first: merging checks that no frame shows both.
        alone = move_part(people, key, start_s, NEW, seen)
        return alone.merge(person.id, f"P{alone.last_id}", seen)
    kept = [replace(one, tracks=tuple(t for t in one.tracks if t != part)) for one in people.people]
    last = people.last_id + (to == NEW)
    if to == NEW:
        kept.append(Person(f"P{last}", None, (part,)))
    unknown, other = (
        (*(t for t in old if t != part), *((part,) if to == place else ()))
        for place, old in ((UNKNOWN, people.unknown), (NOT_A_FACE, people.not_a_face))
    )
    found = tuple(one for one in kept if one.tracks)
    return replace(people, people=found, unknown=unknown, not_a_face=other, last_id=last)


def _find(people: People, key: TrackKey, start_s: float | None) -> TrackPart:
    lists = (*(one.tracks for one in people.people), people.unknown, people.not_a_face)
    for part in (part for parts in lists for part in parts):
        if part.key == key and part.start_s == start_s:
            return part
    moment = "" if start_s is None else f" that starts at {start_s:g} s"
    raise DataError(f"track: {key.source} has no track {key.track}{moment}", hint="reload the page")
