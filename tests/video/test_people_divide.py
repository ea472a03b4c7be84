"""A track is divided where its chips show another person, and not for less evidence than that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.cli.people import print_found
from mien.types import TrackedFace
from mien.video.people.alike import judge
from mien.video.people.collect import FaceCollector
from mien.video.people.file import People
from mien.video.people.find import Found, find_people
from mien.video.people.parts import Embedding, TrackPart
from mien.video.people.seen import Seen
from mien.video.people.stretches import Chip, Stretch, TrackFace, divide, mean_face, stretches_of

TRACK = TrackPart("a.mp4", 1)


@dataclass(frozen=True)
class Circle:
    """A chip's first pixel is an angle in degrees, which is its descriptor."""

    name: str = "circle"
    threshold: float = 0.9
    margin: float = 0.02
    same_track: float = 0.94

    def embed(self, chips_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        angles = np.radians(chips_nhwc[:, 0, 0, 0].astype(np.float64))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


CIRCLE = Circle()


def chips(*degrees: int, start_s: float = 0.0, worth: float = 0.8) -> list[Chip]:
    return [
        Chip(worth, 40.0, np.full((1, 1, 3), angle, np.uint8), start_s + 0.4 * n)
        for n, angle in enumerate(degrees)
    ]


def stretches(*runs: tuple[float | None, tuple[int, ...]]) -> list[Stretch]:
    """Return the stretches of runs of chips, each with the time from which on it may differ."""
    found = []
    for after_s, angles in runs:
        found += stretches_of(chips(*angles, start_s=after_s or 0.0), CIRCLE, after_s)
    return found


def angle(face: TrackFace) -> float:
    return float(np.degrees(np.arctan2(face.vector_d[1], face.vector_d[0])))


def test_a_track_is_divided_where_another_person_is_seen() -> None:
    faces = divide(TRACK, stretches((None, (5, 8, 6)), (1.5, (60, 63)), (3.0, (5, 7))), CIRCLE)
    assert [(p.start_s, p.end_s) for p in faces] == [(None, 1.5), (1.5, 3.0), (3.0, None)]
    assert [round(angle(face)) for face in faces.values()] == [6, 62, 6]


def test_a_face_that_only_moves_does_not_divide_its_track() -> None:
    """Its pixels changed at once, three times; its descriptor is that of the same person."""
    runs = ((None, (5, 8)), (0.9, (20,)), (1.3, (18, 6, 9)), (2.5, (11, 24)))
    faces = divide(TRACK, stretches(*runs), CIRCLE)
    assert list(faces) == [TRACK]
    assert faces[TRACK].chips == 8


@pytest.mark.parametrize("runs", [
    ((None, (5, 8)), (0.9, (80,)), (1.3, (6, 9))),
    ((None, (80,)), (0.3, (6, 9))),
    ((None, (6, 9)), (0.9, (80,))),
    ((None, (6, 80, 9, 7)),),
])  # fmt: skip
def test_one_odd_chip_is_not_another_person(
    runs: tuple[tuple[float | None, tuple[int, ...]], ...],
) -> None:
    """Something in front of a face, for a moment: it neither divides the track nor counts."""
    faces = divide(TRACK, stretches(*runs), CIRCLE)
    assert list(faces) == [TRACK]
    assert angle(faces[TRACK]) < 12


def test_a_slow_change_divides_between_the_two_chips() -> None:
    """As in rows whose videos are read again: only the best chips are known."""
    faces = divide(TRACK, stretches_of(chips(5, 6, 60, 61), CIRCLE), CIRCLE)
    before, after = faces
    assert before.end_s == after.start_s == pytest.approx(0.6)


def test_better_chips_count_more_and_poor_ones_do_not_lower_the_agreement() -> None:
    vectors = CIRCLE.embed(np.array([0, 0, 30], np.uint8)[:, None, None, None])
    face = mean_face(Stretch(None, vectors, np.array([0.8, 0.8, 0.1]), 40.0))
    assert angle(face) < 3 and face.agreement > 0.99 and face.worth == 0.8
    even = mean_face(Stretch(None, vectors, np.array([0.8, 0.8, 0.8]), 40.0))
    assert angle(even) > 8 and even.agreement < 0.9


def frame(time_s: float, degrees: int, pattern: int, quality: str) -> Any:
    """Return a frame of one face; its corner is its descriptor, the rest what its pixels are."""
    rng = np.random.default_rng(pattern)
    pixels = rng.integers(0, 255, (12, 12, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    pixels[:80, :80] = degrees
    face = TrackedFace(
        track=1, box=(60.0, 60.0, 130.0, 130.0), origin="detected", score=0.9, quality=quality
    )
    reading = SimpleNamespace(faces=(face,), time_s=time_s)
    return SimpleNamespace(reading=reading, frame=SimpleNamespace(pixels=pixels))


def collected(*shots: tuple[float, int, int, str]) -> dict[TrackPart, TrackFace]:
    """Return the faces of a track with a face every 0.2 s, for shots of (seconds, ...)."""
    collector = FaceCollector("a.mp4", CIRCLE)
    number = 0
    for seconds, degrees, pattern, quality in shots:
        for _ in range(round(seconds * 5)):
            collector.write(frame(number / 5, degrees, pattern, quality))
            number += 1
    collector.close(None)  # type: ignore[arg-type]
    return collector.faces


def test_a_track_is_divided_at_a_cut() -> None:
    faces = collected((2, 5, 0, "good"), (2, 60, 1, "good"), (2, 6, 0, "good"))
    assert [part.start_s for part in faces] == [None, pytest.approx(1.9), pytest.approx(3.9)]
    assert [round(angle(face)) for face in faces.values()] == [5, 60, 6]


def test_a_track_is_not_divided_where_only_pixels_change() -> None:
    """A drawn face that is drawn again, or a flash of light."""
    assert list(collected((2, 5, 0, "good"), (2, 8, 1, "good"), (2, 6, 2, "good"))) == [TRACK]


def test_a_turned_face_also_shows_where_somebody_else_is() -> None:
    faces = collected((2, 5, 0, "good"), (2, 60, 1, "turned"), (2, 6, 0, "good"))
    assert [part.start_s for part in faces] == [None, pytest.approx(1.9), pytest.approx(3.9)]
    first, second, _ = faces.values()
    assert second.worth < first.worth / 2


def test_a_covered_face_shows_nobody() -> None:
    """Whoever is in front would count as the person behind."""
    assert list(collected((2, 5, 0, "good"), (1, 60, 1, "covered"), (2, 6, 0, "good"))) == [TRACK]


def similarity(*degrees: float) -> NDArray[np.float64]:
    angles = np.radians(degrees)
    return np.cos(angles[:, None] - angles[None])


def apart(n: int, *pairs: tuple[int, int]) -> NDArray[np.bool_]:
    found = np.zeros((n, n), bool)
    for one, other in pairs:
        found[one, other] = found[other, one] = True
    return found


def test_faces_that_differ_keep_the_descriptors_threshold() -> None:
    degrees = (0, 2, 4, 60, 62, 64)
    together = apart(6, *((a, b) for a in range(3) for b in range(3, 6)))
    assert judge(similarity(*degrees), together, CIRCLE) == (CIRCLE.threshold, False)


def test_alike_faces_of_one_frame_raise_the_threshold() -> None:
    """Two drawn people, 12 degrees apart (similarity 0.98), are often in one frame."""
    degrees = (0, 1, 2, 12, 13, 14)
    together = apart(6, *((a, b) for a in range(3) for b in range(3, 6)))
    found = judge(similarity(*degrees), together, CIRCLE)
    assert found.too_alike
    assert np.cos(np.radians(12)) < found.threshold < np.cos(np.radians(2))


def test_faces_that_are_all_a_bit_alike_raise_the_threshold() -> None:
    """No frame shows two of them: pairs that are neither one person nor two say it."""
    degrees = (0, 22, 44, 66, 88)
    found = judge(similarity(*degrees), apart(5), CIRCLE)
    assert found.too_alike and found.threshold == pytest.approx(0.98)


def test_tracks_of_alike_faces_are_unknown_rather_than_guessed() -> None:
    parts = [TrackPart("a.mp4", n) for n in range(1, 7)]
    degrees = (0, 1, 22, 44, 66, 88)
    faces = {
        part: mean_face(Stretch(None, CIRCLE.embed(np.full((1, 1, 1, 1), d, np.uint8)),
                                np.array([0.8]), 40.0))
        for part, d in zip(parts, degrees, strict=True)
    }  # fmt: skip
    seen = {p.key: Seen(np.arange(20) + 50 * p.track, np.arange(20) / 10) for p in parts}
    found = find_people(seen, faces, CIRCLE)
    assert found.too_alike
    assert [person.tracks for person in found.people.people] == [tuple(parts[:2])]
    assert found.people.unknown == tuple(parts[2:])
    assert found.people.embedding.threshold == pytest.approx(0.98)


def test_an_alike_track_whose_chips_differ_is_unknown() -> None:
    """Its mean is near one person's, though it may show two."""
    parts = [TrackPart("a.mp4", n) for n in range(1, 8)]
    runs = ((0,), (1,), (22,), (44,), (66,), (88,), (0, 0, 0, 24))
    faces = {
        part: mean_face(Stretch(None, CIRCLE.embed(np.array(d, np.uint8)[:, None, None, None]),
                                np.full(len(d), 0.8), 40.0))
        for part, d in zip(parts, runs, strict=True)
    }  # fmt: skip
    seen = {p.key: Seen(np.arange(20) + 50 * p.track, np.arange(20) / 10) for p in parts}
    found = find_people(seen, faces, CIRCLE)
    assert found.too_alike
    assert found.people.person_of("a.mp4", 1) is not None
    assert parts[6] in found.people.unknown


def test_the_command_says_that_faces_are_too_alike(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    people = People(Embedding("circle", 0.98))
    for too_alike in (False, True):
        print_found(Found(people, {}, too_alike=too_alike), tmp_path)
        assert ("too alike" in capsys.readouterr().err) == too_alike
