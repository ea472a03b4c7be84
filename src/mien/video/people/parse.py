"""From the JSON of `people.json` to `People`, with an error for whatever does not fit."""

from __future__ import annotations

import math
import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from mien.errors import DataError
from mien.video.people.parts import Embedding, Person, TrackPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

ID = re.compile(r"P[1-9][0-9]{0,8}")
NAME_RULE = "up to 200 printable characters, and no id such as P1"
RESERVED = ("unknown", "not_a_face")
HINT = "correct the file, restore it from a copy, or delete it and run: mien people find DIR"


class Content(NamedTuple):
    """What a file holds, in the order of the fields of `People`."""

    embedding: Embedding
    people: tuple[Person, ...]
    unknown: tuple[TrackPart, ...]
    not_a_face: tuple[TrackPart, ...]
    last_id: int


def parse_people(values: dict[str, Any], path: Path) -> Content:
    """Return what a file describes.

    Args:
        values: of the file; its schema version was checked.
        path: of the file, for messages.

    Raises:
        DataError: a value does not fit, a track is in two places, or an id or name is there twice.
    """
    reader = _Parser(path)
    embedding = reader.embedding(values["embedding"])
    people = tuple(reader.person(one, n) for n, one in enumerate(reader.list_of(values, "people")))
    unknown, others = (
        tuple(reader.part(one, f"{key}[{n}]") for n, one in enumerate(reader.list_of(values, key)))
        for key in ("unknown", "not_a_face")
    )
    reader.check_once((p.id for p in people), "the id")
    reader.check_once((p.name for p in people if p.name is not None), "the name", name_key)
    reader.check_parts([*(t for p in people for t in p.tracks), *unknown, *others])
    last = values.get("last_id", 0)
    if not isinstance(last, int) or isinstance(last, bool) or last < 0:
        raise reader.wrong("last_id", "a whole number, 0 or more", last)
    people = tuple(sorted(people, key=lambda p: int(p.id[1:])))
    last = max([last, *(int(p.id[1:]) for p in people)])
    return Content(embedding, people, unknown, others, last)


class _Parser:
    """Reads the values of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, where: str, expected: str, found: Any) -> DataError:
        return DataError(
            f"{self.path}: {where} must be {expected}, found {str(found)[:60]!r}", hint=HINT
        )

    def list_of(self, values: dict[str, Any], key: str) -> list[Any]:
        found = values[key]
        if not isinstance(found, list):
            raise self.wrong(key, "a list", found)
        return found

    def embedding(self, value: Any) -> Embedding:
        name = value.get("name") if isinstance(value, dict) else None
        threshold = value.get("threshold") if isinstance(value, dict) else None
        if not isinstance(name, str) or threshold is None or not _is_number(threshold):
            raise self.wrong("embedding", "an object with a name and a threshold", value)
        return Embedding(name, float(threshold))

    def person(self, value: Any, number: int) -> Person:
        where = f"people[{number}]"
        if not isinstance(value, dict):
            raise self.wrong(where, "an object", value)
        ids, name, tracks = value.get("id"), value.get("name"), value.get("tracks")
        if not isinstance(ids, str) or not ID.fullmatch(ids):
            raise self.wrong(f"{where}.id", "P and a number, such as P1", ids)
        if name is not None and not (isinstance(name, str) and is_name(name)):
            raise self.wrong(f"{where}.name", f"null or {NAME_RULE}", name)
        if not isinstance(tracks, list) or not tracks:
            raise self.wrong(f"{where}.tracks", "a list of tracks", tracks)
        parts = tuple(self.part(one, f"{where}.tracks[{n}]") for n, one in enumerate(tracks))
        return Person(ids, None if name is None else composed(name), parts)

    def part(self, value: Any, where: str) -> TrackPart:
        if not isinstance(value, dict):
            raise self.wrong(where, "an object", value)
        source, track = value.get("source"), value.get("track")
        if not isinstance(source, str):
            raise self.wrong(f"{where}.source", "text", source)
        if not isinstance(track, int) or isinstance(track, bool) or track < 1:
            raise self.wrong(f"{where}.track", "a whole number, 1 or more", track)
        times = [value.get(name) for name in ("start_s", "end_s")]
        for name, time in zip(("start_s", "end_s"), times, strict=True):
            if time is not None and not _is_number(time):
                raise self.wrong(f"{where}.{name}", "seconds", time)
        start_s, end_s = (None if time is None else float(time) for time in times)
        if start_s is not None and end_s is not None and start_s >= end_s:
            raise self.wrong(f"{where}.end_s", f"after start_s, {start_s:g}", end_s)
        return TrackPart(source, track, start_s, end_s)

    def check_once(self, values: Iterable[str], what: str, key: Callable[[str], str] = str) -> None:
        found: dict[str, str] = {}
        for value in values:
            other = found.get(key(value))
            if other is not None:
                same = "" if other == value else f", which differs from {other!r} in case only"
                raise DataError(f"{self.path}: two people have {what} {value!r}{same}", hint=HINT)
            found[key(value)] = value

    def check_parts(self, parts: list[TrackPart]) -> None:
        for one, next_one in pairwise(sorted(parts, key=TrackPart.order)):
            if one.key != next_one.key:
                continue
            start = -math.inf if next_one.start_s is None else next_one.start_s
            if one.end_s is None or start < one.end_s:
                raise DataError(
                    f"{self.path}: track {one.track} of {one.source} is there twice", hint=HINT
                )


def composed(name: str) -> str:
    """Return a name with each letter as one character (NFC), as most keyboards type it.

    Names of files and text on macOS have 'ö' as two: 'o' and a combining diaeresis.
    """
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return what names are compared by: 'Jörg' and 'jörg' are one, however 'ö' is encoded."""
    return composed(composed(name).casefold())


def is_name(text: str) -> bool:
    """Return whether a text can be a person's name: see NAME_RULE."""
    return (
        0 < len(text) <= 200
        and text == text.strip()
        and text.isprintable()
        and text not in RESERVED
        and not ID.fullmatch(text)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
