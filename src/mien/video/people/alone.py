"""People before anybody was recognised: each track is a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.video.people.file import People
from mien.video.people.parts import Embedding, Person, TrackPart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mien.video.people.seen import TrackKey

BY_HAND = Embedding("none", 1.0)
"""Of people that nobody has compared: each track is a person until somebody merges them."""


def each_alone(tracks: Iterable[TrackKey]) -> People:
    """Return people of one track each, in the tracks' order."""
    people = [Person(f"P{n}", None, (TrackPart(*key),)) for n, key in enumerate(tracks, 1)]
    return People(BY_HAND, tuple(people), last_id=len(people))
