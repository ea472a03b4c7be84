"""Levels of detail of a video's page against a plain loop over its frames; bounded memory."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from mien.labels import THREE
from mien.types import TrackedFace
from mien.video.bins import NONE, SCALE
from mien.video.pace import Pace
from mien.video.sinks.lanes import COARSEST_BINS, MAX_BINS, Lanes

RATE = 25
K = len(THREE)


def faces_at(number: int, tracks: int, away: tuple[int, int]) -> tuple[TrackedFace, ...]:
    found = []
    for track in range(1, tracks + 1):
        if track == 2 and away[0] <= number < away[1]:
            continue
        rng = np.random.default_rng((number, track))
        values = rng.dirichlet([1, 2, 3])
        probs = dict(zip(THREE, values.tolist(), strict=True))
        label = THREE[int(values.argmax())] if values.max() > 0.5 else "unsure"
        found.append(TrackedFace(track, (0, 0, 9, 9), "detected", 0.9, probabilities=probs,
                                 label=label, confidence=float(values.max())))  # fmt: skip
    return tuple(found)


def collected(frames: int, tracks: int = 2, away: tuple[int, int] = (0, 0)) -> Lanes:
    lanes, pace = Lanes(THREE), Pace[tuple[TrackedFace, ...]]()
    for number in range(frames):
        for standing in pace.add(number / RATE, faces_at(number, tracks, away)):
            lanes.add(standing)
    for standing in pace.finish(frames / RATE):
        lanes.add(standing)
    return lanes


def bins_of(found: dict[str, Any], level: int, track: int) -> tuple[int, Any, Any]:
    """First bin, probabilities [bins, k, 3], codes [bins], as the page's script reads them."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(found["data"])), np.uint8)
    first, count, offset = found["levels"][level]["tracks"][str(track)]
    probs = data[offset : offset + 3 * K * count].reshape(count, K, 3)
    return first, probs, data[offset + 3 * K * count :][:count]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_bins_are_those_of_their_frames(level: int) -> None:
    frames, away = 25 * 60, (200, 420)
    found = collected(frames, 2, away).levels(frames / RATE)
    assert len(found["levels"]) == 4  # 1,500 bins, 750, 375, 188
    assert found["levels"][level]["width"] == pytest.approx(2**level / RATE)
    first, probs, codes = bins_of(found, level, 2)
    assert first == 0
    assert len(codes) == -(-frames // 2**level)
    for place in range(len(codes)):
        numbers = range(place * 2**level, min((place + 1) * 2**level, frames))
        rows = [face for n in numbers for face in faces_at(n, 2, away) if face.track == 2]
        if not rows:
            assert codes[place] == NONE
            assert not probs[place].any()
            continue
        values = np.array([list((face.probabilities or {}).values()) for face in rows])
        wanted = np.stack([values.mean(axis=0), values.min(axis=0), values.max(axis=0)], axis=1)
        # A face counts up to half a second longer where it is lost, at the edge of a gap.
        if len(rows) == len(numbers):
            assert np.abs(probs[place] / SCALE - wanted).max() <= 0.5 / SCALE + 1e-5
            names = [*THREE, "unsure"]
            labels = [face.label for face in rows]
            assert labels.count(names[codes[place]]) == max(map(labels.count, labels))


def test_bins_of_long_videos_are_bounded() -> None:
    hours = 0.3
    frames = round(hours * 3600 * RATE)
    lanes = collected(frames, 2)
    found = lanes.levels(frames / RATE)
    counts = [place[1] for place in found["levels"][0]["tracks"].values()]
    assert sum(counts) <= MAX_BINS
    assert lanes.width_s == pytest.approx(4 / RATE)
    assert COARSEST_BINS / 2 < found["levels"][-1]["tracks"]["1"][1] <= COARSEST_BINS + 1
    first, probs, codes = bins_of(found, 0, 1)
    numbers = range(400, 404)
    values = [list((faces_at(n, 1, (0, 0))[0].probabilities or {}).values()) for n in numbers]
    assert np.abs(probs[100 - first, :, 0] / SCALE - np.mean(values, axis=0)).max() <= 0.003
    assert NONE not in codes[: frames // 4 - 1]


def test_tracks_have_their_own_time() -> None:
    lanes, pace = Lanes(THREE), Pace[tuple[TrackedFace, ...]]()
    unread = TrackedFace(7, (0, 0, 9, 9), "detected", 0.9, quality="small")
    for number in range(100):
        shown = (unread,) if 40 <= number < 60 else ()
        for standing in pace.add(number / RATE, shown):
            lanes.add(standing)
    for standing in pace.finish(4.0):
        lanes.add(standing)
    (track,) = lanes.tracks().values()
    assert (track["first_s"], track["last_s"], track["seen_s"]) == (1.6, 2.36, 0.8)
    assert track["fractions"] == {**dict.fromkeys((*THREE, "unsure"), 0.0), "unread": 1.0}
    first, probs, codes = bins_of(lanes.levels(4.0), 0, 7)
    assert set(codes[codes != NONE]) == {K + 1}
    assert not probs.any()
    assert (first + np.flatnonzero(codes != NONE)).tolist() == list(range(40, 60))


def test_a_video_without_a_face_has_no_bins() -> None:
    found = Lanes(THREE).levels(10.0)
    assert all(level["tracks"] == {} for level in found["levels"])
