from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mien.types import Faces
from mien.video.assign import assign
from mien.video.track import Tracker

RATE = 30
STEP = 6


def faces(*centres: tuple[float, float], score: float = 0.99, side: float = 60) -> Faces:
    boxes = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centres]
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_assignment_is_as_cheap_as_scipys(n: int, m: int, seed: int) -> None:
    costs = np.random.default_rng(seed).uniform(0, 9, (n, m))
    pairs = assign(costs)
    assert len(pairs) == min(n, m)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    rows, columns = linear_sum_assignment(costs)
    assert sum(costs[p] for p in pairs) == pytest.approx(costs[rows, columns].sum())


def test_assignment_with_impossible_pairs() -> None:
    costs = np.array([[1e6, 1.0], [1e6, 0.5]])
    assert sorted(assign(costs)) == [(0, 0), (1, 1)] or assign(costs) == [(0, 1), (1, 0)]
    assert sum(costs[p] for p in assign(costs)) == pytest.approx(1e6 + 0.5)


def numbers(tracker: Tracker, time_s: float, found: Faces) -> dict[int, float]:
    tracks = tracker.update(found, time_s)
    return {t.number: float(t.detection.box_xyxy[0]) for t in tracks if t.detection and t.number}


def test_crossing_faces_keep_their_numbers() -> None:
    tracker = Tracker()
    for k in range(0, 90, STEP):
        left, right = (100 + 5 * k, 200), (550 - 5 * k, 215)
        now = numbers(tracker, k / RATE, faces(left, right))
        if k >= 2 * STEP:
            assert now == {1: left[0] - 30, 2: right[0] - 30}


def test_crossing_with_one_covered_by_the_other() -> None:
    tracker = Tracker()
    for k in range(0, 90, STEP):
        left, right = (100 + 5 * k, 200), (550 - 5 * k, 205)
        covered = abs(left[0] - right[0]) < 45
        now = numbers(tracker, k / RATE, faces(left) if covered else faces(left, right))
        if k > 2 * STEP and not covered:
            assert now == {1: left[0] - 30, 2: right[0] - 30}, k


def test_a_short_absence_is_bridged_and_a_long_one_is_not() -> None:
    tracker = Tracker(lost_s=1.0)
    for k in range(4):
        numbers(tracker, k * 0.2, faces((100, 100)))
    for k in range(4):
        assert numbers(tracker, 0.8 + k * 0.2, faces()) == {}
    assert set(numbers(tracker, 1.6, faces((104, 100)))) == {1}
    for k in range(8):
        numbers(tracker, 1.8 + k * 0.2, faces())
    numbers(tracker, 3.6, faces((104, 100)))
    assert set(numbers(tracker, 3.8, faces((104, 100)))) == {2}


def test_a_single_false_alarm_gets_no_number() -> None:
    tracker = Tracker()
    for k in range(6):
        found = faces((100, 100), (400, 300)) if k == 2 else faces((100, 100))
        numbers(tracker, k * 0.2, found)
    assert [t.number for t in tracker.tracks] == [1]


def test_weak_detections_continue_tracks_but_start_none() -> None:
    tracker = Tracker(min_score=0.9)
    for k in range(3):
        assert numbers(tracker, k * 0.2, faces((100, 100), score=0.7)) == {}
    for k in range(3, 6):
        numbers(tracker, k * 0.2, faces((100, 100), score=0.95))
    assert set(numbers(tracker, 1.2, faces((100, 100), score=0.7))) == {1}


def test_two_trackers_share_nothing() -> None:
    one, other = Tracker(), Tracker()
    for k in range(3):
        numbers(one, k * 0.2, faces((100, 100), (300, 100)))
    numbers(other, 0.0, faces((50, 50)))
    assert set(numbers(other, 0.2, faces((50, 50)))) == {1}


def test_speed_depends_on_seconds_not_on_frames() -> None:
    """The same motion seen at uneven moments: the prediction between must still be on the path."""
    tracker = Tracker()
    times = [0.0, 0.1, 0.4, 0.5, 0.9, 1.0]
    for time_s in times:
        tracker.update(faces((100 + 200 * time_s, 100)), time_s)
    [track] = tracker.tracks
    box = track.box(1.2)
    assert (box[0] + box[2]) / 2 == pytest.approx(100 + 200 * 1.2, abs=8)


def test_appearance_tells_faces_apart_where_motion_cannot() -> None:
    """Two faces meet, stand still and turn back: only their appearance tells them apart."""
    rng = np.random.default_rng(0)
    appearances = rng.integers(0, 255, (2, 12, 12), dtype=np.uint8)
    tracker = Tracker()
    path = [100, 140, 180, 205, 205, 205, 180, 140, 100]
    for k, x in enumerate(path):
        found = faces((x, 200), (430 - x, 200))
        order = [0, 1]
        crops = appearances[order]
        if 3 <= k <= 5:  # the right one is covered
            found, crops = faces((x, 200)), appearances[[0]]
        tracks = tracker.update(found, k * 0.2, crops)
    ends = {t.number: float(t.detection.box_xyxy[0]) for t in tracks if t.detection}
    assert ends == {1: 70.0, 2: 300.0}
