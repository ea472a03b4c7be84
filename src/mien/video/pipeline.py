"""Frames to people and their expressions over time: read `follow` first.

The detector runs on every n-th frame (a *detected* frame). Frames between wait for the next
detected one, so that each face's place there is known from both sides; live, where nothing may
wait, it is predicted from the past. Expressions are read on every m-th frame, all faces of the
waiting frames in one batch, and smoothed over each person's own past. Frames into which somebody
new has come wait for one detection more, which confirms them or does not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mien.imaging.crop import crop_faces
from mien.video.classify import ExpressionReader
from mien.video.interpolate import place_between
from mien.video.pace import SamplingInterval
from mien.video.plan import DETECTED, PREDICTED, FaceInFrame
from mien.video.track import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.predict.pipeline import FaceClassifier
    from mien.types import FrameReading
    from mien.video.frame import Frame
    from mien.video.plan import FrameJob, Settings
    from mien.video.track import Track


def follow(
    planned: Iterable[FrameJob],
    framing: Framing,
    classifier: FaceClassifier,
    settings: Settings,
) -> Iterator[tuple[Frame, FrameReading]]:
    """Yield each frame of one source with its reading, in order.

    Memory is bounded: only the frames since the last detection but one wait, and of a person only
    the filters' state is kept, until they are lost.

    Args:
        planned: the frames of one source in order of time, from `Settings.plan` and
            `find.with_faces`.
        framing: of the detector.
        classifier: names the expressions.
        settings: see there.
    """
    people = Tracker(settings.lost_s)
    reader = ExpressionReader(classifier, framing, settings)
    interval = SamplingInterval()
    waiting: list[FrameJob] = []
    held: list[FrameJob] = []  # who is new in them is a person once found again
    crop = partial(_crop, framing, classifier.info.input_size)
    for now in planned:
        frame, faces = now.frame, now.faces
        interval.add(frame.time_s)
        if faces is None:
            if settings.live:
                now.spots = _predict(people.people, frame.time_s)
            waiting.append(now)
        else:
            followed = people.update(
                faces, frame.time_s, now.crops_nhw, settings.detect_interval_s(interval.seconds)
            )
            if settings.live:
                for person in followed:
                    people.confirm(person)
            elif waiting:
                place_between(waiting, now, followed, crop)
                yield from reader.read(held)
                held, waiting = waiting, []
                if all(person.seen is None or person.track for person in followed):
                    yield from reader.read(held)
                    held = []
            frame.perhaps_xyxy = [*faces.boxes_xyxy, *(p.box() for p in followed if not p.seen)]
            now.spots = [
                FaceInFrame(p, p.seen.box_xyxy, DETECTED, p.seen)
                for p in followed
                if p.seen is not None
            ]
            waiting.append(now)
        if settings.live:
            yield from reader.read(waiting)
            waiting = []
    _end(people, waiting)
    yield from reader.read(held)
    yield from reader.read(waiting)


def _end(people: Tracker, waiting: list[FrameJob]) -> None:
    """Decide what waits for a next detection, of which there is none."""
    for person in people.people:
        people.confirm(person)
    for later in waiting[1:]:
        later.spots = _predict(people.people, later.frame.time_s)


def _crop(
    framing: Framing, size: int, frame: Frame, box_xyxy: NDArray[np.float32]
) -> NDArray[np.uint8]:
    return crop_faces(frame.pixels, box_xyxy[None], framing, size).reshape(size, size)


def _predict(people: list[Track], time_s: float) -> list[FaceInFrame]:
    """Place everybody seen in the last detected frame where they should be by now."""
    return [
        FaceInFrame(p, p.box(time_s), PREDICTED, p.seen)
        for p in people
        if p.track and p.seen is not None
    ]
