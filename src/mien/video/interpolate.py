"""Where the faces of tracks are in the frames between two detections."""

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
    waiting: Sequence[FrameJob], newest: FrameJob, tracks: Sequence[Track], crop: Crop
) -> None:
    """Place the faces of tracks in the frames between two detections.

    A face that was detected at both ends moves on a line from one to the other. A face that was
    detected at one end only came or went somewhere between: it is placed in the frames, from that
    end on, whose pixels look more like that end than like the other. So a face has rows up to
    a cut, and none after it. A frame that was not decoded gets a row only where one further from
    that end has the face too; cuts are seldom beside it, because encoders end a scene with a
    reference frame, which is always decoded.

    Args:
        waiting: the frames since the last detection, that one first.
        newest: the frame of the newest detection.
        tracks: as they are after that detection.
        crop: returns the grey crop of a box in a frame, uint8 [size, size].
    """
    between = waiting[1:]
    start_s, end_s = waiting[0].frame.time_s, newest.frame.time_s
    if not between:
        return
    for track in tracks:
        before, after = track.previous, track.detection
        if before is not None and after is not None:
            for job in between:
                fraction = (job.frame.time_s - start_s) / max(end_s - start_s, 1e-9)
                box = before.box_xyxy + np.float32(fraction) * (after.box_xyxy - before.box_xyxy)
                nearest = before if fraction <= 0.5 else after
                job.faces.append(FaceInFrame(track, box, BETWEEN, nearest))
            continue
        detection = after if before is None else before
        if detection is None:
            continue
        ordered = list(between) if after is None else list(reversed(between))
        here, there = (waiting[0], newest) if after is None else (newest, waiting[0])
        for job in ordered[: _count_visible(track, here, there, ordered, crop)]:
            box = track.box(job.frame.time_s)
            job.faces.append(FaceInFrame(track, box, PREDICTED, detection))


def _count_visible(
    track: Track, here: FrameJob, there: FrameJob, ordered: Sequence[FrameJob], crop: Crop
) -> int:
    """Return in how many of the frames from `here` to `there` a face is still visible.

    Args:
        track: detected in `here` and not in `there`.
        here: a frame that the detector ran on.
        there: another, after or before it.
        ordered: the frames between, from `here` on.
        crop: see `place_between`.
    """
    start_s, end_s = here.frame.time_s, there.frame.time_s

    def crop_at(job: FrameJob) -> NDArray[np.int16]:
        # Signed: differences of uint8 would wrap around.
        return crop(job.frame, track.box(job.frame.time_s)).astype(np.int16)

    with_face, without_face = crop_at(here), crop_at(there)
    visible = 0
    for count, job in enumerate(ordered, start=1):
        if not job.frame.decoded:
            continue
        pixels = crop_at(job)
        to_face = int(np.abs(pixels - with_face).sum())
        difference = to_face - int(np.abs(pixels - without_face).sum())
        # Where both ends are equally like it, the one nearer in time decides.
        late = abs(job.frame.time_s - start_s) > 0.5 * abs(end_s - start_s)
        if difference > 0 or (difference == 0 and late):
            break
        visible = count
    return visible
