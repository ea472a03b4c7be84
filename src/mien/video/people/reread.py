"""The faces of tracks whose rows exist already, from the videos that the rows are of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import SourceError
from mien.video.people.chips import place, worth
from mien.video.people.collect import Chip, TrackChips, cut, faces_of
from mien.video.people.parts import TrackPart
from mien.video.people.seen import TrackKey, coded
from mien.video.plan import DETECTED
from mien.video.quality import GOOD
from mien.video.select import Selection
from mien.video.sources import list_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mien.model.descriptor import FaceDescriptor
    from mien.video.people.chips import Placement
    from mien.video.people.collect import TrackFace

NEAR_S = 3.0
"""Frames less than this apart are decoded in one pass: a jump to a frame decodes about as much."""
SAME_S = 2e-4
"""Seconds by which the times of a frame may differ: rows have microseconds."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A face to cut out of a frame."""

    track: int
    time_s: float
    worth: float
    placement: Placement


def reread_faces(
    table: Any,
    keys: Collection[TrackKey],
    descriptor: FaceDescriptor,
    folder: Path,
    say: Callable[[str], None],
) -> dict[TrackPart, TrackFace]:
    """Return the faces of tracks, from the best few of their rows; absent where there are none.

    Args:
        table: a pyarrow.Table of rows.
        keys: the tracks.
        descriptor: embeds the faces.
        folder: of the rows; videos are also searched there.
        say: called with one line for each video that cannot be read.
    """
    faces: dict[TrackPart, TrackFace] = {}
    for name, wanted in _wanted(table, set(keys)).items():
        path = next((p for p in (Path(name), folder / name, folder / Path(name).name)
                     if p.is_file()), None)  # fmt: skip
        if path is None:
            say(f"no file {name}: its {len({w.track for w in wanted})} tracks stay unknown; "
                "run the command where the video is")  # fmt: skip
            continue
        try:
            found = _chips(path, wanted)
        except SourceError as error:
            say(f"unreadable: {error.message}; {error.hint}")
            continue
        for track, chips in found.items():
            faces |= faces_of(TrackPart(name, track), chips, descriptor)
    return faces


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
    for part in _parts(wanted):
        start_s, end_s = part[0].time_s, part[-1].time_s
        (source,) = list_sources([path])
        waiting = list(part)
        for frame in source.frames(Selection(max(start_s - SAME_S, 0.0), end_s + SAME_S)):
            while waiting and waiting[0].time_s <= frame.time_s + SAME_S:
                one = waiting.pop(0)
                # A frame that is not there any more: another video of the same name.
                if abs(one.time_s - frame.time_s) <= SAME_S:
                    chip = cut(frame.pixels, one.placement, one.worth, one.time_s)
                    chips.setdefault(one.track, []).append(chip)
    return chips


def _parts(wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
    """Yield the faces in parts of the video that are decoded in one pass."""
    part: list[_Wanted] = []
    for one in wanted:
        if part and one.time_s - part[-1].time_s > NEAR_S:
            yield part
            part = []
        part.append(one)
    if part:
        yield part
