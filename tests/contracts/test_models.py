"""Every shipped model, with every label set it has, goes through the same checks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.imaging.crop import ALIGNMENT_ID
from mien.model.classifier import Classifier, softmax
from mien.model.resolve import shipped_models


@pytest.fixture(scope="module", params=shipped_models())
def model(request: pytest.FixtureRequest) -> Classifier:
    return Classifier.load(str(request.param), threads=1)


@pytest.fixture
def crops(model: Classifier) -> NDArray[np.uint8]:
    shape = (5, model.input_size, model.input_size)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_crops_to_logits(model: Classifier, crops: NDArray[np.uint8]) -> None:
    before = crops.copy()
    logits = model.logits(crops)
    assert np.array_equal(crops, before)
    assert logits.shape == (5, len(model.labels))
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1, atol=1e-5)


def test_no_crops_give_no_logits(model: Classifier, crops: NDArray[np.uint8]) -> None:
    assert model.logits(crops[:0]).shape == (0, len(model.labels))


def test_it_is_deterministic(model: Classifier, crops: NDArray[np.uint8]) -> None:
    assert np.array_equal(model.logits(crops), model.logits(crops))


def test_a_face_does_not_depend_on_its_batch(model: Classifier, crops: NDArray[np.uint8]) -> None:
    # Sums are taken in another order for other batches.
    alone = np.concatenate([model.logits(crops[i : i + 1]) for i in range(len(crops))])
    np.testing.assert_allclose(alone, model.logits(crops), atol=1e-3)


@pytest.mark.parametrize("kind", ["dtype", "size", "colour"])
def test_other_crops_are_refused(model: Classifier, crops: NDArray[np.uint8], kind: str) -> None:
    wrong: dict[str, NDArray[Any]] = {
        "dtype": crops.astype(np.float32),
        "size": crops[:, :-1],
        "colour": np.repeat(crops[..., None], 3, axis=3),
    }
    size = model.input_size
    with pytest.raises(ValueError, match=rf"crops must be uint8 \[n, {size}, {size}\], got "):
        model.logits(wrong[kind])


def test_pickled_it_gives_the_same(model: Classifier, crops: NDArray[np.uint8]) -> None:
    other = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert other.info == model.info
    assert np.array_equal(other.logits(crops), model.logits(crops))


def test_every_label_set_of_it_can_be_predicted(
    model: Classifier, crops: NDArray[np.uint8]
) -> None:
    for head in model.info.heads:
        other = model.select_labels(head.labels)
        assert other.labels == head.labels
        assert other.logits(crops).shape == (5, len(head.labels))


def test_it_describes_itself(model: Classifier) -> None:
    info = model.info
    assert info.alignment == ALIGNMENT_ID
    assert len(set(info.labels)) == len(info.labels) >= 2
    assert 0 <= info.unsure_below <= 1
    assert info.temperature > 0
    assert info.licence
    assert info.parameters > 0
