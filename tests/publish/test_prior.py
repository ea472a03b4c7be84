from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.conftest import tiny_info, tiny_model

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DataError, ModelFileError
from mien.labels import FERPLUS_VOTES, THREE
from mien.model.classifier import Classifier, softmax
from mien.predict.prior import prior_shift
from mien.publish.prior import (
    class_prior,
    estimate_output_prior,
    with_output_prior,
    write_training_prior,
)


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


PRIOR = {"happy": 0.5, "neutral": 0.3, "sad": 0.2}
TARGET = {"happy": 0.2, "neutral": 0.3, "sad": 0.5}


def prior_model() -> tuple[bytes, Classifier]:
    content = tiny_model(tiny_info(training_prior=PRIOR).to_metadata())
    return content, Classifier.from_bytes(content, name="m")


def test_the_outputs_get_the_prior(drawn: Dataset) -> None:
    content, before = prior_model()
    changed, info = with_output_prior(content, before.info, TARGET)
    after = Classifier.from_bytes(changed, name="m")
    assert after.info == info
    assert info.prior == TARGET
    assert info.training_prior == PRIOR
    crops = drawn.images_nhw[:20]
    shift = prior_shift(before.info, TARGET)
    assert shift is not None
    expected = shift.correct(softmax(before.logits(crops)))
    np.testing.assert_allclose(softmax(after.logits(crops)), expected, atol=1e-6)


def test_a_second_prior_replaces_the_first(drawn: Dataset) -> None:
    content, before = prior_model()
    once, info = with_output_prior(content, before.info, TARGET)
    twice, info = with_output_prior(once, info, "uniform")
    crops = drawn.images_nhw[:20]
    direct, _ = with_output_prior(content, before.info, "uniform")
    np.testing.assert_allclose(
        Classifier.from_bytes(twice, name="m").logits(crops),
        Classifier.from_bytes(direct, name="m").logits(crops),
        atol=1e-5,
    )
    back, info = with_output_prior(twice, info, "training")
    assert info.prior is None
    np.testing.assert_allclose(
        Classifier.from_bytes(back, name="m").logits(crops), before.logits(crops), atol=1e-5
    )


def test_priors_that_no_file_can_have() -> None:
    content, classifier = prior_model()
    with pytest.raises(ConfigError, match="would rule a label out"):
        with_output_prior(content, classifier.info, {"happy": 0.5, "neutral": 0.5, "sad": 0})
    bare = replace(classifier.info, training_prior=None)
    with pytest.raises(ModelFileError, match="carries no training prior"):
        with_output_prior(content, bare, "uniform")


def test_an_estimate_does_not_depend_on_the_prior_of_the_outputs() -> None:
    _, classifier = prior_model()
    rng = np.random.default_rng(0)
    plain = softmax(rng.normal(0, 2, (400, 3)).astype(np.float32))
    corrected_info = replace(classifier.info, prior=TARGET)
    shift = prior_shift(classifier.info, TARGET)
    assert shift is not None
    first = estimate_output_prior(plain, classifier.info)
    second = estimate_output_prior(shift.correct(plain), corrected_info)
    assert first == pytest.approx(second, abs=1e-4)
    assert sum(first.values()) == pytest.approx(1)
