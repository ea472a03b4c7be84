"""Where people are in the frames between two detected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.video.plan import BETWEEN, PREDICTED, FaceInFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.video.frame import Frame
    from mien.video.plan import FrameJob
    from mien.video.track import Track

    Crop = Callable[[Frame, NDArray[np.float32]], NDArray[np.uint8]]


def place_between(
    waiting: Sequence[FrameJob], now: FrameJob, people: Sequence[Track], crop: Crop
) -> None:
    """Place people in the frames between two detected ones, `waiting[0]` and `now`.

    Who was found in both moves on a line from one to the other. Who was found in one of them only
    came or went somewhere between: they are placed in the frames, from that one on, that look
    where their face should be more like it than like the other one. So a face has its row up to
    a cut, and none after it.

    Args:
        waiting: the frames since the last detected one, that one first.
        now: the newest detected frame.
        people: followed, after `now` was taken in.
        crop: returns the grey crop of a box in a frame, uint8 [size, size].
    """
    between = waiting[1:]
    start_s, end_s = waiting[0].frame.time_s, now.frame.time_s
    if not between:
        return
    for person in people:
        before, after = person.before, person.seen
        if before is not None and after is not None:
            for item in between:
                share = (item.frame.time_s - start_s) / max(end_s - start_s, 1e-9)
                box = before.box_xyxy + np.float32(share) * (after.box_xyxy - before.box_xyxy)
                nearest = before if share <= 0.5 else after
                item.spots.append(FaceInFrame(person, box, BETWEEN, nearest))
            continue
        sighting = after if before is None else before
        if sighting is None:
            continue
        ordered = list(between) if after is None else list(reversed(between))
        here, there = (waiting[0], now) if after is None else (now, waiting[0])
        for item in ordered[: _shown(person, here, there, ordered, crop)]:
            box = person.box(item.frame.time_s)
            item.spots.append(FaceInFrame(person, box, PREDICTED, sighting))


def _shown(
    person: Track, here: FrameJob, there: FrameJob, ordered: Sequence[FrameJob], crop: Crop
) -> int:
    """Return in how many of the frames a face is still seen, which lead from `here` to `there`.

    Args:
        person: found in `here` and not in `there`.
        here: a detected frame.
        there: another, after or before it.
        ordered: the frames between, from `here` on.
        crop: see `place_between`.
    """
    start_s, end_s = here.frame.time_s, there.frame.time_s

    def look(item: FrameJob) -> NDArray[np.int16]:
        return crop(item.frame, person.box(item.frame.time_s)).astype(np.int16)

    own, other = look(here), look(there)
    for count, item in enumerate(ordered):
        found = look(item)
        apart = int(np.abs(found - own).sum()) - int(np.abs(found - other).sum())
        # Where nothing tells them apart, the nearer one decides.
        late = abs(item.frame.time_s - start_s) > 0.5 * abs(end_s - start_s)
        if apart > 0 or (apart == 0 and late):
            return count
    return len(ordered)
