"""Every tracker goes through the same checks; there is one so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.types import Faces
from mien.video.track import Tracker

TRACKERS: dict[str, Callable[[], Tracker]] = {"kalman": Tracker}
every_tracker = pytest.mark.parametrize("make", TRACKERS.values(), ids=TRACKERS)


def scene(seed: int, steps: int = 20) -> list[tuple[float, Faces, np.ndarray]]:
    """Return moments with up to four faces that wander, vanish and return, and their crops."""
    rng = np.random.default_rng(seed)
    centres, looks = rng.uniform(100, 500, (4, 2)), rng.integers(0, 255, (4, 12, 12), np.uint8)
    moments = []
    for step in range(steps):
        centres = centres + rng.normal(0, 12, centres.shape)
        shown = np.flatnonzero(rng.random(4) < 0.8)
        boxes = np.hstack([centres[shown] - 30, centres[shown] + 30]).astype(np.float32)
        scores = rng.uniform(0.6, 1, len(shown)).astype(np.float32)
        moments.append((0.2 * step, Faces(boxes, scores), looks[shown]))
    return moments


@every_tracker
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_each_detection_continues_one_track_at_most(make: Callable[[], Tracker], seed: int) -> None:
    tracker, ever, last = make(), set[int](), 0
    for time_s, faces, crops in scene(seed):
        tracks = tracker.update(faces, time_s, crops)
        rows = [track.detection.row for track in tracks if track.detection]
        assert len(rows) == len(set(rows))
        assert all(row < len(faces) for row in rows)
        numbers = [track.number for track in tracks if track.number]
        assert len(numbers) == len(set(numbers))
        new = set(numbers) - ever
        assert all(number > last for number in new), "numbers rise and never come back"
        ever |= set(numbers)
        last = max([last, *numbers])
        assert ever == set(range(1, last + 1)), "no number is left out"
        assert all(np.isfinite(track.box()).all() for track in tracks)


@every_tracker
def test_it_changes_none_of_its_arguments(make: Callable[[], Tracker]) -> None:
    tracker = make()
    for time_s, faces, crops in scene(0):
        before = faces.boxes_xyxy.copy(), faces.scores_n.copy(), crops.copy()
        tracker.update(faces, time_s, crops)
        after = faces.boxes_xyxy, faces.scores_n, crops
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@every_tracker
def test_the_same_detections_give_the_same_tracks(make: Callable[[], Tracker]) -> None:
    def run() -> list[list[tuple[int, list[float]]]]:
        tracker = make()
        return [
            [(t.number, t.box().tolist()) for t in tracker.update(faces, time_s, crops)]
            for time_s, faces, crops in scene(3)
        ]

    assert run() == run()


@every_tracker
def test_without_detections_tracks_end(make: Callable[[], Tracker]) -> None:
    tracker = make()
    for time_s, faces, crops in scene(1):
        tracker.update(faces, time_s, crops)
    assert tracker.update(Faces.none(), 4.1) != []
    assert all(track.detection is None for track in tracker.tracks)
    assert tracker.update(Faces.none(), 60.0) == []
