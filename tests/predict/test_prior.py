"""Correction to another class prior, and its estimate from unlabelled faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.errors import ConfigError, ModelFileError
from mien.imaging.crop import ALIGNMENT_ID
from mien.labels import THREE
from mien.model.classifier import softmax
from mien.model.info import ModelInfo
from mien.predict.prior import MIN_FACES, PriorShift, estimate_prior, prior_shift

TRAINING = {"happy": 0.5, "neutral": 0.3, "sad": 0.2}
TRAINING_K = np.array(list(TRAINING.values()))
INFO = ModelInfo("m", THREE, 48, ALIGNMENT_ID, training_prior=TRAINING)


def posteriors(
    prior_k: NDArray[np.float64], n: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw faces whose classes have a known prior; return p(k | x) under the training prior.

    Each class is a normal distribution in the plane, so that the posterior is exact.
    """
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [1.6, 0.0], [0.0, 1.6]])
    y_true = rng.choice(3, n, p=prior_k)
    points = centres[y_true] + rng.standard_normal((n, 2))
    density = np.exp(-((points[:, None] - centres[None]) ** 2).sum(axis=2) / 2)
    joint = density * TRAINING_K
    return (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32), y_true


def test_the_correction_is_that_of_bayes() -> None:
    shift = prior_shift(INFO, {"happy": 0.1, "neutral": 0.2, "sad": 0.7})
    assert shift is not None
    probs = np.array([[0.7, 0.2, 0.1]], np.float32)
    weighed = np.array([0.7 * 0.1 / 0.5, 0.2 * 0.2 / 0.3, 0.1 * 0.7 / 0.2])
    corrected = shift.correct(probs)
    assert corrected.dtype == np.float32
    np.testing.assert_allclose(corrected[0], weighed / weighed.sum(), rtol=1e-6)


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_there_and_back_is_where_it_was(weights: list[float]) -> None:
    target = tuple(w / sum(weights) for w in weights)
    training = tuple(TRAINING.values())
    probs = np.array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]], np.float32)
    there = PriorShift(training, target).correct(probs)
    np.testing.assert_allclose(there.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(PriorShift(target, training).correct(there), probs, atol=1e-5)


def test_a_label_that_the_prior_rules_out_is_never_predicted() -> None:
    shift = PriorShift((0.5, 0.3, 0.2), (0.5, 0.5, 0.0))
    np.testing.assert_array_equal(
        shift.correct(np.array([[0, 0, 1], [0.2, 0.2, 0.6]], np.float32))[:, 2], [0, 0]
    )
    assert np.isfinite(shift.correct(np.array([[0, 0, 1]], np.float32))).all()


def test_correction_to_the_true_prior_makes_fewer_errors() -> None:
    true_k = np.array([0.05, 0.15, 0.8])
    probs, y_true = posteriors(true_k, 4000)
    corrected = PriorShift(tuple(TRAINING_K), tuple(true_k)).correct(probs)
    before, after = ((p.argmax(axis=1) != y_true).mean() for p in (probs, corrected))
    assert after < before - 0.05


def test_names_and_the_default() -> None:
    assert prior_shift(INFO) is None
    assert prior_shift(INFO, "training") is None
    uniform = prior_shift(INFO, "uniform")
    assert uniform == PriorShift((0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3))


def test_outputs_that_have_another_prior_are_corrected_from_it() -> None:
    target = {"sad": 0.6, "happy": 0.2, "neutral": 0.2}
    info = replace(INFO, prior=target)
    assert prior_shift(info) is None
    assert prior_shift(info, target) is None
    assert prior_shift(info, "training") == PriorShift((0.2, 0.2, 0.6), (0.5, 0.3, 0.2))
    uniform = prior_shift(info, "uniform")
    assert uniform == PriorShift((0.2, 0.2, 0.6), (1 / 3, 1 / 3, 1 / 3))


def test_the_offset_of_the_logits_is_the_same_correction() -> None:
    shift = PriorShift((0.5, 0.3, 0.2), (0.1, 0.2, 0.7))
    logits = np.random.default_rng(0).normal(0, 3, (50, 3)).astype(np.float32)
    np.testing.assert_allclose(
        softmax(logits + shift.offset_k), shift.correct(softmax(logits)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("prior", "message", "hint"),
    [
        ("unifrom", "unknown name 'unifrom'", "did you mean 'uniform'"),
        ({"happy": 0.5, "neutral": 0.5, "sda": 0.0}, "unknown label 'sda'", "did you mean 'sad'"),
        ({"happy": 0.5, "sad": 0.5}, "no probability for neutral", "give every label one"),
        ({}, "no probability for happy, neutral, sad", "give every label one"),
        ({"happy": 1.2, "neutral": -0.2, "sad": 0}, "happy: 1.2 is out of range 0 to 1", ""),
        ({"happy": 0.5, "neutral": -0.1, "sad": 0.6}, "neutral: -0.1 is out of range 0 to 1", ""),
        ({"happy": float("nan"), "neutral": 0.5, "sad": 0.5}, "nan is out of range", ""),
        ({"happy": "a", "neutral": 0.5, "sad": 0.5}, "'a' is out of range", ""),
        ({"happy": 0.5, "neutral": 0.3, "sad": 0.1}, "sum to 0.9, not to 1", "divide each by 0.9"),
        ({"happy": 0, "neutral": 0, "sad": 0}, "sum to 0, not to 1", "for example"),
    ],
)
def test_bad_priors(prior: object, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prior_shift(INFO, prior)  # type: ignore[arg-type]
    assert caught.value.message.startswith("prior: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_sum_within_the_tolerance_is_taken() -> None:
    shift = prior_shift(INFO, {"happy": 0.333, "neutral": 0.333, "sad": 0.3335})
    assert shift is not None
    assert sum(shift.target_k) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("prior", ["uniform", "training", dict(TRAINING)])
def test_without_a_training_prior_nothing_can_be_corrected(prior: object) -> None:
    with pytest.raises(ModelFileError, match="m carries no training prior for happy, neutral, sad"):
        prior_shift(replace(INFO, training_prior=None), prior)  # type: ignore[arg-type]


@pytest.mark.parametrize("true", [(0.1, 0.2, 0.7), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.3, 0.2)])
def test_the_prior_of_resampled_faces_is_found(true: tuple[float, ...]) -> None:
    probs, _ = posteriors(np.array(true), 4000)
    np.testing.assert_allclose(estimate_prior(probs, TRAINING_K), true, atol=0.03)


def test_the_estimate_is_better_than_counting_labels() -> None:
    true_k = np.array([0.1, 0.2, 0.7])
    probs, _ = posteriors(true_k, 4000)
    counted = np.bincount(probs.argmax(axis=1), minlength=3) / len(probs)
    estimated = estimate_prior(probs, TRAINING_K)
    assert abs(estimated - true_k).max() < abs(counted - true_k).max() / 2


def test_few_faces_are_shrunk_to_the_training_prior() -> None:
    probs, _ = posteriors(np.array([0.0, 0.0, 1.0]), MIN_FACES)
    assert estimate_prior(probs[:0], TRAINING_K) == pytest.approx(TRAINING_K)
    many, few = estimate_prior(probs, TRAINING_K), estimate_prior(np.tile(probs[:1], (5, 1)),
                                                                  TRAINING_K)  # fmt: skip
    assert many[2] > 0.9
    one = estimate_prior(np.tile(probs[:1], (MIN_FACES, 1)), TRAINING_K)
    np.testing.assert_allclose(few, 0.1 * one + 0.9 * TRAINING_K, atol=1e-9)


@pytest.mark.parametrize(
    ("probs", "training", "message"),
    [
        (np.zeros((2, 3)), TRAINING_K[:2], r"got \[2, 3\] and \[2\]"),
        (np.full((2, 3), 1 / 3), np.array([0.5, 0.5, 0.0]), "above 0 and sum to 1"),
        (np.full((2, 3), 1 / 3), np.array([0.5, 0.5, 0.5]), "above 0 and sum to 1"),
        (np.full((2, 3), 2.0), TRAINING_K, "do not sum to 1"),
    ],
)
def test_what_is_no_probability_is_refused(
    probs: NDArray[np.float32], training: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        estimate_prior(probs, training)
