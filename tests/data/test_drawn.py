from __future__ import annotations

import numpy as np
import pytest

from mien.data.drawn import draw_dataset, draw_face, draw_faces
from mien.errors import ConfigError


def test_drawing_is_seeded() -> None:
    first, second = draw_faces(24, seed=1), draw_faces(24, seed=1)
    assert np.array_equal(first.images_nhw, second.images_nhw)
    assert not np.array_equal(first.images_nhw, draw_faces(24, seed=2).images_nhw)


def test_all_labels_and_people_occur() -> None:
    collection = draw_faces(60)
    assert np.bincount(collection.labels_n).tolist() == [20, 20, 20]
    assert len(set(collection.subjects_n.tolist())) == 10
    assert collection.name == "drawn"
    assert all(source.startswith("drawn#") for source in collection.sources_n)


def test_people_are_held_out_whole() -> None:
    dataset = draw_dataset(120)
    train = set(dataset.split("train").subjects_n.tolist())
    assert not train & set(dataset.split("validation").subjects_n.tolist())
    assert 10 <= len(dataset.split("validation")) <= 40


def test_faces_are_images_with_contrast(rng: np.random.Generator) -> None:
    face = draw_face("sad", rng, 96)
    assert face.shape == (96, 96, 3)
    assert face.dtype == np.uint8
    assert face.std() > 10


def test_mistakes(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="label: unknown value 'angry'"):
        draw_face("angry", rng)
    with pytest.raises(ConfigError, match="count: 3 is out of range, must be at least 12"):
        draw_faces(3)
