"""Tracks are joined into people by descriptors, under constraints; and what stays unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import DataError
from mien.video.people.chips import CHIP, MEAN_FACE_52, cut_chip, place, worth
from mien.video.people.cluster import cluster
from mien.video.people.collect import CHIPS, TrackChips
from mien.video.people.file import NOT_A_FACE, UNKNOWN, People
from mien.video.people.find import find_people
from mien.video.people.gallery import FILE_NAME, Gallery
from mien.video.people.parts import Embedding, Person, TrackPart
from mien.video.people.seen import Seen
from mien.video.people.stretches import Chip, TrackFace

RATE = 10


@dataclass(frozen=True)
class Fake:
    """Descriptors are vectors on a circle: their similarity is the cosine of an angle."""

    name: str = "fake"
    threshold: float = 0.9
    margin: float = 0.02
    same_track: float = 0.92

    def embed(self, chips_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise AssertionError("not needed here")


def face(degrees: float, *, eyes_px: float = 40.0, agreement: float = 0.99) -> TrackFace:
    angle = np.radians(degrees)
    vector = np.array([np.cos(angle), np.sin(angle)], np.float32)
    return TrackFace(vector, 5, 0.8, agreement, eyes_px)


def seen(start: int, end: int) -> Seen:
    frames = np.arange(start, end)
    return Seen(frames, frames / RATE)


A1, A2, A3, B1, B2 = (TrackPart(f"{n[0]}.mp4", int(n[1])) for n in ("a1", "a2", "a3", "b1", "b2"))
SEEN = {
    A1.key: seen(0, 30), A2.key: seen(20, 50), A3.key: seen(60, 90), B1.key: seen(0, 40),
    B2.key: seen(50, 60),
}  # fmt: skip
FACES = {A1: face(0), A2: face(60), A3: face(3), B1: face(58), B2: face(2)}


def tracks(people: People) -> list[set[TrackPart]]:
    return [set(person.tracks) for person in people.people]


def test_tracks_are_joined_over_gaps_and_files() -> None:
    found = find_people(SEEN, FACES, Fake())
    assert tracks(found.people) == [{A1, A3, B2}, {A2, B1}]
    assert [p.id for p in found.people.people] == ["P1", "P2"]
    assert found.people.embedding == Embedding("fake", 0.9)
    assert not found.reasons


def test_two_faces_of_one_frame_are_two_people_however_similar() -> None:
    found = find_people(SEEN, {**FACES, A2: face(0)}, Fake())
    one, other = (found.people.place_of("a.mp4", n) for n in (1, 2))
    assert one != other


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({A3: None}, "no face of good quality"),
        ({A3: face(3, eyes_px=9)}, "too small or turned too far"),
        ({A3: face(3, agreement=0.7)}, "changes as if it showed two people"),
        ({A3: face(27.5)}, "could be one of two people"),
    ],
)
def test_a_track_that_is_not_clear_stays_unknown(
    changed: dict[TrackPart, TrackFace | None], reason: str
) -> None:
    faces = {k: f for k, f in {**FACES, **changed}.items() if f is not None}
    found = find_people(SEEN, faces, Fake())
    assert found.people.unknown == (A3,)
    assert found.reasons == {reason: 1}


def test_a_track_of_a_moment_stays_unknown() -> None:
    found = find_people({**SEEN, B2.key: seen(50, 52)}, FACES, Fake())
    assert found.people.place_of("b.mp4", 2) == UNKNOWN


def test_parts_of_a_track_are_joined_by_themselves() -> None:
    """A track that shows another person from a cut on is divided between the two."""
    before, after = replace(A3, end_s=7.0), replace(A3, start_s=7.0)
    faces = {k: f for k, f in FACES.items() if k != A3}
    found = find_people(SEEN, {**faces, before: face(3), after: face(59)}, Fake())
    assert tracks(found.people) == [{A1, before, B2}, {A2, after, B1}]
    # Parts of one person become the whole track again.
    same = find_people(SEEN, {**faces, before: face(3), after: face(4)}, Fake())
    assert tracks(same.people) == [{A1, A3, B2}, {A2, B1}]


def test_earlier_people_stay_and_new_tracks_join_them() -> None:
    earlier = People(
        Embedding("fake", 0.9), (Person("P4", "Anna", (A1,)),), not_a_face=(A2,), last_id=6
    )
    people = find_people(SEEN, FACES, Fake(), earlier).people
    assert people.find("Anna").tracks == (A1, A3, B2)
    assert people.place_of("a.mp4", 2) == NOT_A_FACE
    assert people.place_of("b.mp4", 1) == "P7"


def test_people_that_a_user_has_split_are_not_joined_again() -> None:
    earlier = People(
        Embedding("fake", 0.9), (Person("P1", None, (A1,)), Person("P2", None, (A3,))), last_id=2
    )
    people = find_people(SEEN, FACES, Fake(), earlier).people
    assert people.place_of("a.mp4", 1) != people.place_of("a.mp4", 3)


def test_no_tracks_are_no_people() -> None:
    assert find_people({}, {}, Fake()).people.people == ()


def test_clusters_are_those_of_scipy_without_constraints(rng: np.random.Generator) -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    vectors = rng.normal(size=(60, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    for threshold in (0.2, 0.6, 0.9):
        ours = cluster(similarity, np.zeros((60, 60), bool), threshold)
        pairs = (1 - similarity)[np.triu_indices(60, 1)]
        theirs = fcluster(linkage(pairs, "average"), 1 - threshold, "distance")
        assert (ours[:, None] == ours).tolist() == (theirs[:, None] == theirs).tolist()


def test_no_cluster_holds_two_items_that_must_stay_apart(rng: np.random.Generator) -> None:
    similarity = rng.uniform(0.5, 1, (40, 40))
    similarity = (similarity + similarity.T) / 2
    apart = rng.random((40, 40)) < 0.1
    apart |= apart.T
    np.fill_diagonal(apart, False)
    numbers = cluster(similarity, apart, 0.0)
    assert not (apart & (numbers[:, None] == numbers)).any()
    # Merged until nothing else may be: some pair of any two clusters must stay apart.
    for one in range(numbers.max() + 1):
        for other in range(one):
            assert apart[np.ix_(numbers == one, numbers == other)].any()


def test_a_chip_shows_the_landmarks_where_dlib_expects_them() -> None:
    """White dots at the landmarks of a turned, larger face lie at dlib's places in the chip."""
    turn = 2.5 * np.exp(1j * np.radians(20))
    points = (MEAN_FACE_52 @ np.array([1, 1j])) * turn + complex(200, 90)
    marks = np.stack([points.real, points.imag], axis=1).astype(np.float32)
    image = np.zeros((700, 700, 3), np.uint8)
    for x, y in marks:
        image[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5] = 255
    placement = place(np.zeros(4, np.float32), marks)
    assert placement.scale == pytest.approx(turn, abs=1e-3)
    chip = cut_chip(image, placement)
    assert chip.shape == (CHIP, CHIP, 3)
    for x, y in MEAN_FACE_52:
        assert chip[round(y), round(x)].min() > 200
    assert (chip > 128).mean() < 0.02
    small = cut_chip(image, placement, 30)
    assert small.shape == (30, 30, 3)
    assert abs(int(small.mean()) - int(chip.mean())) <= 2


def test_a_chip_at_the_edge_of_the_image_is_black_outside() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    chip = cut_chip(image, place(np.array([-60, -60, 60, 60], np.float32), None))
    assert chip[0, 0].max() == 0 and chip[-1, -1].min() == 200


def test_a_large_frontal_face_is_worth_more() -> None:
    box, frontal = np.zeros(4, np.float32), MEAN_FACE_52.astype(np.float32)
    turned = frontal.copy()
    turned[2, 0] += 14
    large, small = (place(box, frontal * scale) for scale in (1.0, 0.4))
    assert worth(large, 0.9, frontal) > worth(small, 0.9, frontal)
    assert worth(large, 0.9, frontal) > worth(large, 0.9, turned)


def test_the_best_chips_are_spread_over_a_track() -> None:
    held: TrackChips[Chip] = TrackChips(10.0)
    rng = np.random.default_rng(0)
    pixels = np.zeros((1, 1, 3), np.uint8)
    kept = 0
    for n in range(3000):
        time_s, value = 10 + n / 5, float(rng.uniform(0.2, 0.8))
        if held.wants(time_s, value):
            held.add(time_s, Chip(value, 40, pixels, time_s))
            kept += 1
    best = held.best()
    times = [chip.time_s for chip in best]
    assert len(best) == CHIPS and times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) < 300
    assert min(chip.worth for chip in best) > 0.7
    assert kept < 300


def test_embeddings_are_kept_and_removed(tmp_path: Path) -> None:
    part = replace(A1, start_s=1.5)
    Gallery("fake", {part: face(3), B1: face(60)}).save(tmp_path)
    loaded = Gallery.load(tmp_path)
    assert loaded is not None and loaded.name == "fake"
    assert list(loaded.faces) == [part, B1]
    np.testing.assert_array_equal(loaded.faces[B1].vector_d, face(60).vector_d)
    assert loaded.faces[part].eyes_px == 40.0
    left = loaded.without([A1.key])
    assert list(left.faces) == [B1]
    left.without([B1.key]).save(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    assert Gallery.load(tmp_path) is None


@pytest.mark.parametrize("damage", ["cut", "text", "pickle", "other"])
def test_damaged_embeddings_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE_NAME
    Gallery("fake", {B1: face(60)}).save(tmp_path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "text":
        path.write_text("no archive", encoding="utf-8")
    elif damage == "pickle":
        np.savez(path, schema=np.array([{}], dtype=object))
    else:
        np.savez(path, schema=np.int64(1))
    with pytest.raises(DataError, match=r"people\.npz is damaged"):
        Gallery.load(tmp_path)
