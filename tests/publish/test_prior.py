from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.conftest import tiny_info, tiny_model

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.labels import FERPLUS_VOTES, THREE
from mien.model.classifier import Classifier
from mien.publish.prior import class_prior, write_training_prior


def test_a_prior_by_hand() -> None:
    y_true = np.array([0, 0, 1, 2, -1, -1, 0, 1])
    assert class_prior(y_true, THREE) == {
        "happy": 0.5, "neutral": pytest.approx(1 / 3, abs=1e-6),
        "sad": pytest.approx(1 / 6, abs=1e-6),
    }  # fmt: skip
    assert class_prior(np.array([0, 0, 1, -1]), THREE) is None  # nothing divides by zero


@pytest.fixture
def model(tmp_path: Path, drawn: Dataset) -> Path:
    path = tmp_path / "m.onnx"
    data = f"{drawn.name}, train split, fingerprint {drawn.fingerprint}"
    path.write_bytes(tiny_model(tiny_info(data=data).to_metadata()))
    return path


def test_the_prior_is_written_and_nothing_else_changes(model: Path, drawn: Dataset) -> None:
    before, old = onnx.load(model), Classifier.load(model)
    write_training_prior(model, drawn)
    after, new = onnx.load(model), Classifier.load(model)
    assert new.info.training_prior is not None
    train = drawn.split("train")
    expected = np.bincount(train.labels_n, minlength=3) / len(train)
    assert list(new.info.training_prior.values()) == pytest.approx(list(expected), abs=1e-6)
    assert replace(new.info, training_prior=None) == old.info
    assert after.graph.SerializeToString() == before.graph.SerializeToString()
    (stored,) = (json.loads(p.value) for p in after.metadata_props if p.key == "mien")
    assert stored["training_prior"] == new.info.training_prior
    crops = drawn.images_nhw[:5]
    assert np.array_equal(new.logits(crops), old.logits(crops))


def test_votes_count_where_there_are_any(model: Path, drawn: Dataset, tmp_path: Path) -> None:
    votes = np.zeros((len(drawn), len(FERPLUS_VOTES)), np.float32)
    y_true = np.arange(len(drawn)) % 3
    votes[np.arange(len(drawn)), [FERPLUS_VOTES.index(THREE[k]) for k in y_true]] = 10
    voted = replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)
    info = write_training_prior(model, voted, tmp_path / "other.onnx")
    assert info.training_prior is not None
    counts = np.bincount(y_true[drawn.splits_n == "train"], minlength=3)
    assert list(info.training_prior.values()) == pytest.approx(counts / counts.sum(), abs=1e-6)
    assert Classifier.load(model).info.training_prior is None


def test_only_of_the_data_that_it_was_trained_on(model: Path, drawn: Dataset) -> None:
    other = replace(drawn, fingerprint="0" * 16)
    with pytest.raises(DataError, match="has the fingerprint 0000"):
        write_training_prior(model, other)
