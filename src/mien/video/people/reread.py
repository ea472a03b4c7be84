"""The faces of tracks whose rows exist already, from the videos that the rows are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import SourceError, counted
from mien.video.locate import frames_at, locate_video
from mien.video.people.chips import place, worth
from mien.video.people.collect import TrackChips, cut
from mien.video.people.parts import TrackPart
from mien.video.people.seen import TrackKey, coded
from mien.video.people.stretches import divide, stretches_of
from mien.video.plan import DETECTED
from mien.video.quality import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from mien.model.descriptor import FaceDescriptor
    from mien.video.people.chips import Placement
    from mien.video.people.stretches import Chip, TrackFace


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A face to cut out of a frame."""

    track: int
    time_s: float
    worth: float
    placement: Placement


@dataclass(frozen=True, slots=True)
class Reread:
    """What `reread_faces` returns.

    Attributes:
        faces: of the tracks, from the best few of their rows; absent where there are none.
        unread: sources whose video is missing or cannot be read.
    """

    faces: dict[TrackPart, TrackFace] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)


def reread_faces(
    table: Any,
    keys: Collection[TrackKey],
    descriptor: FaceDescriptor,
    folder: Path,
    say: Callable[[str], None],
) -> Reread:
    """Return the faces of tracks from the videos of their rows.

    Args:
        table: a pyarrow.Table of rows.
        keys: the tracks.
        descriptor: embeds the faces.
        folder: of the rows; videos are also searched there.
        say: called with one line for each video that cannot be read.
    """
    reread = Reread()
    for name, wanted in _wanted(table, set(keys)).items():
        located = locate_video(name, folder)
        if located.path is None:
            tracks = counted(len({w.track for w in wanted}), "track")
            say(f"{located.note}: {tracks} not compared; find people again where the video is")
            reread.unread.add(name)
            continue
        try:
            found = _chips(located.path, wanted)
        except SourceError as error:
            say(f"unreadable: {error.message}; {error.hint}")
            reread.unread.add(name)
            continue
        for track, chips in found.items():
            stretches = stretches_of(chips, descriptor)
            reread.faces.update(divide(TrackPart(name, track), stretches, descriptor))
    return reread


def _wanted(table: Any, keys: set[TrackKey]) -> dict[str, list[_Wanted]]:
    """Return the best few rows of each track, by source, in order of time."""
    columns = coded(table)
    tracks: dict[TrackKey, TrackChips[_Wanted]] = {}
    names = ("x0", "y0", "x1", "y1")
    boxes = np.stack([table[name].to_numpy() for name in names], axis=1)
    times, scores = table["time_s"].to_numpy(), table["score"].to_numpy()
    good = _equals(table["quality"], GOOD) & _equals(table["origin"], DETECTED)
    for row in np.flatnonzero(good).tolist():
        key = TrackKey(columns.names[columns.source_n[row]], int(columns.track_n[row]))
        if key not in keys:
            continue
        numbers = table["landmarks"][row].as_py()
        marks = None if not numbers else np.array(numbers, np.float32).reshape(5, 2)
        placement = place(boxes[row].astype(np.float32), marks)
        value = worth(placement, float(scores[row]), marks)
        time_s = float(times[row])
        track = tracks.setdefault(key, TrackChips(time_s))
        if track.wants(time_s, value):
            track.add(time_s, _Wanted(key.track, time_s, value, placement))
    found: dict[str, list[_Wanted]] = {}
    for key, track in tracks.items():
        found.setdefault(key.source, []).extend(track.best())
    return {name: sorted(some, key=lambda w: w.time_s) for name, some in found.items()}


def _equals(column: Any, value: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(column, value).fill_null(False).to_numpy()


def _chips(path: Path, wanted: list[_Wanted]) -> dict[int, list[Chip]]:
    """Return the chips of each track of one video."""
    chips: dict[int, list[Chip]] = {}
    for number, pixels in frames_at(path, [one.time_s for one in wanted]):
        one = wanted[number]
        chip = cut(pixels, one.placement, one.worth, one.time_s)
        chips.setdefault(one.track, []).append(chip)
    return chips
