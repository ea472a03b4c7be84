from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.drawn import draw_face
from mien.data.duplicates import find_duplicates, group_members, perceptual_hashes, pixel_hashes
from mien.labels import THREE


def portraits(examples: Path) -> list[np.ndarray]:
    """48x48 grey crops of real faces that are in the public domain, and of drawn ones."""
    boxes = {"astronaut.jpg": (170, 60, 280, 170), "grace_hopper.jpg": (150, 110, 370, 330)}
    crops = []
    for name, box in boxes.items():
        with Image.open(examples / name) as image:
            crops.append(np.asarray(image.convert("L").resize((48, 48), box=box)))
    rng = np.random.default_rng(0)
    for i in range(60):
        face = Image.fromarray(draw_face(THREE[i % 3], rng, 48)).convert("L")
        crops.append(np.asarray(face))
    return crops


def cropped(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((48, 48), box=(2.4, 1.0, 48, 46.6)))


def encoded(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda image: image,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cropped by 5%": cropped,
    "re-encoded": encoded,
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "brighter": lambda image: np.clip(image * 1.1 + 20, 0, 255).astype(np.uint8),
    "mirrored and cropped": lambda image: cropped(np.ascontiguousarray(image[:, ::-1])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_duplicate_is_found_and_nothing_else(examples: Path, change: str) -> None:
    faces = portraits(examples)
    images = np.stack([*faces, *(CHANGES[change](face) for face in faces[:2])])
    groups = find_duplicates(images).groups_n
    n = len(faces)
    assert groups[n] == groups[0]
    assert groups[n + 1] == groups[1]
    assert len(np.unique(groups)) == n


def test_exact_duplicates_are_counted_and_near_ones_scored(examples: Path) -> None:
    faces = portraits(examples)
    images = np.stack([faces[0], faces[0], faces[1], encoded(faces[1])])
    found = find_duplicates(images)
    assert found.exact_groups == 1
    assert found.near_pairs.tolist() == [[2, 3]]
    assert 0.8 <= found.near_scores[0] <= 1
    assert {k: v.tolist() for k, v in group_members(found.groups_n).items()} == {
        0: [0, 1],
        2: [2, 3],
    }


def test_blank_images_are_no_near_duplicates_of_anything() -> None:
    rng = np.random.default_rng(0)
    blank = np.clip(128 + rng.normal(0, 1, (6, 48, 48)), 0, 255).astype(np.uint8)
    assert len(np.unique(find_duplicates(blank).groups_n)) == 6


def test_nothing_and_one() -> None:
    assert find_duplicates(np.zeros((0, 48, 48), np.uint8)).groups_n.shape == (0,)
    assert find_duplicates(np.zeros((1, 48, 48), np.uint8)).groups_n.tolist() == [0]


def test_other_sizes_are_compared_too(examples: Path) -> None:
    faces = [np.asarray(Image.fromarray(f).resize((64, 64))) for f in portraits(examples)[:8]]
    images = np.stack([*faces, faces[0][:, ::-1]])
    assert find_duplicates(images).groups_n[8] == 0


def test_hashes(examples: Path) -> None:
    images = np.stack(portraits(examples)[:2])
    assert len(set(pixel_hashes(images).tolist())) == 2
    first, darker = perceptual_hashes(np.stack([images[0], (images[0] * 0.8).astype(np.uint8)]))
    assert len(first) == 16
    assert (int(first, 16) ^ int(darker, 16)).bit_count() <= 4


@pytest.mark.real_data
def test_fer2013_exact_duplicates_are_all_found(fer2013: Path) -> None:
    with np.load(fer2013) as file:
        images = file["images"]
    _, counts = np.unique(pixel_hashes(images), return_counts=True)
    assert ((counts > 1).sum(), counts[counts > 1].sum()) == (1270, 2789)
