"""Frames to people and their expressions over time: read `follow` first.

The detector runs on every n-th frame (a *detected* frame). Frames between wait for the next
detected one, so that each face's place there is known from both sides; live, where nothing may
wait, it is predicted from the past. Expressions are read on every m-th frame, all faces of the
waiting frames in one batch, and smoothed over each person's own past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.predict.video.placed import BETWEEN, DETECTED, PREDICTED, Spot
from mien.predict.video.reading import ExpressionReader
from mien.predict.video.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.predict.pipeline import FaceClassifier
    from mien.predict.video.frame import Frame
    from mien.predict.video.placed import Placed, Settings
    from mien.predict.video.tracker import Person
    from mien.types import FrameReading
    from mien.vision.align import Framing


def follow(  # noqa: C901  (reads as the flow)
    planned: Iterable[Placed],
    framing: Framing,
    classifier: FaceClassifier,
    settings: Settings,
) -> Iterator[tuple[Frame, FrameReading]]:
    """Yield each frame of one source with its reading, in order.

    Memory is bounded: only the frames since the last detection wait, and of a person only the
    filters' state is kept, until they are lost.

    Args:
        planned: the frames of one source in order of time, from `Settings.plan` and
            `find.with_faces`.
        framing: of the detector.
        classifier: names the expressions.
        settings: see there.
    """
    people = Tracker(settings.lost_s)
    reader = ExpressionReader(classifier, framing, settings)
    waiting: list[Placed] = []
    for now in planned:
        frame = now.frame
        faces = now.faces
        if faces is None:
            if settings.live:
                now.spots = _predict(people.people, frame.time_s)
            waiting.append(now)
        else:
            followed = people.update(faces, frame.time_s, now.crops_nhw)
            if settings.live:
                for person in followed:
                    people.confirm(person)
            elif waiting:
                _place_between(waiting, frame.time_s, followed)
                yield from reader.read(waiting)
                waiting = []
            frame.perhaps_xyxy = [*faces.boxes_xyxy, *(p.box() for p in followed if not p.seen)]
            now.spots = [
                Spot(p, p.seen.box_xyxy, DETECTED, p.seen) for p in followed if p.seen is not None
            ]
            waiting.append(now)
        if settings.live:
            yield from reader.read(waiting)
            waiting = []
    for person in people.people:
        people.confirm(person)  # the last detected frame has no next one to confirm it
    if waiting:
        for later in waiting[1:]:
            later.spots = _predict(people.people, later.frame.time_s)
        yield from reader.read(waiting)


def _predict(people: list[Person], time_s: float) -> list[Spot]:
    """Place everybody seen in the last detected frame where they should be by now."""
    return [
        Spot(p, p.box(time_s), PREDICTED, p.seen) for p in people if p.track and p.seen is not None
    ]


def _place_between(waiting: list[Placed], end_s: float, people: list[Person]) -> None:
    """Place people in the frames between two detected ones, of which `waiting[0]` is the first.

    Who was found in both moves on a line from one to the other. Who was found in one of them only
    came or went at a moment not known: they are placed in the frames nearer to that one.
    """
    start_s = waiting[0].frame.time_s
    for item in waiting[1:]:
        time_s = item.frame.time_s
        share = (time_s - start_s) / max(end_s - start_s, 1e-9)
        for person in people:
            before, after = person.before, person.seen
            if before is not None and after is not None:
                box = before.box_xyxy + np.float32(share) * (after.box_xyxy - before.box_xyxy)
                nearest = before if share <= 0.5 else after
                item.spots.append(Spot(person, box, BETWEEN, nearest))
            elif before is not None and share <= 0.5:
                item.spots.append(Spot(person, person.box(time_s), PREDICTED, before))
            elif after is not None and share > 0.5:
                item.spots.append(Spot(person, person.box(time_s), PREDICTED, after))
