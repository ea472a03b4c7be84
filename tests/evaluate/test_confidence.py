from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import tiny_info

from mien.errors import ConfigError, ModelFileError
from mien.evaluate.confidence import (
    fit_thresholds,
    measure_confidence,
    risk_coverage_curve,
)
from mien.labels import SEVEN
from mien.model.conformal import min_set_probability, prediction_set
from mien.model.info import Head

LABELS = ("happy", "neutral", "sad")


def scores(n: int, seed: int, sharp: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of three labels, and ground truth drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharp, (n, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y_true = (probs.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return probs.astype(np.float32), y_true.astype(np.int64)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("power", [1.0, 4.0])
def test_sets_hold_the_true_label_as_often_as_asked(level: float, power: float) -> None:
    """Also where the probabilities themselves are far too confident (raised to a power)."""
    covered = []
    for seed in range(40):
        probs, y_true = scores(1400, seed)
        probs = probs**power / (probs**power).sum(axis=1, keepdims=True)
        threshold = fit_thresholds(probs[:400], y_true[:400])[f"{level:g}"]
        own = probs[400:][np.arange(1000), y_true[400:]]
        covered.append(((own >= threshold) | (probs[400:].argmax(axis=1) == y_true[400:])).mean())
    # 400 faces fit a threshold to within about 1.5 points; over 40 draws the mean is within 0.6.
    assert np.mean(covered) > level - 0.006
    assert level > 0.85 or np.mean(covered) < 1
    if level >= 0.9:
        assert np.mean(covered) < level + 0.015


def test_thresholds_by_hand() -> None:
    probs = np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.6)], np.float32)
    y_true = np.zeros(4, np.int64)
    # ceil(5 x 0.8) = 4: the fourth largest; ceil(5 x 0.5) = 3; 0.81 needs a fifth face.
    thresholds = fit_thresholds(probs, y_true, (0.5, 0.8, 0.81))
    assert thresholds["0.5"] == pytest.approx(0.7, abs=2e-6)
    assert thresholds["0.8"] == pytest.approx(0.6, abs=2e-6)
    assert thresholds["0.8"] <= float(probs[3, 0])
    assert thresholds["0.81"] == 0


def test_confidence_is_tested_on_the_other_half() -> None:
    probs, y_true = scores(3000, 7, sharp=4)
    groups = np.arange(3000) // 2  # pairs of duplicates
    found = measure_confidence(probs, y_true, groups, LABELS)
    assert [one.coverage for one in found.prediction_sets] == [0.90, 0.95, 0.99]
    for one in found.prediction_sets:
        assert one.observed.low < one.coverage < one.observed.high
        assert one.observed.value == pytest.approx(one.coverage, abs=0.008)
        assert set(one.by_label) == set(LABELS)
    sizes = [one.mean_size for one in found.prediction_sets]
    assert 1 <= sizes[0] < sizes[1] < sizes[2] <= 3
    assert found.prediction_sets[0].single > found.prediction_sets[2].single
    rule = {one.target_error: one for one in found.abstention}[0.05]
    assert rule.observed_error.low <= 0.05 <= rule.observed_error.high
    assert 0.2 < rule.classified < 0.9
    above = probs.max(axis=1) >= rule.min_confidence
    assert (probs.argmax(axis=1) != y_true)[above].mean() <= 0.05
    assert found.to_dict()["thresholds"]["0.95"] == found.thresholds["0.95"]


def test_a_confident_and_wrong_model_gets_no_threshold() -> None:
    probs = np.tile(np.array([[0.98, 0.01, 0.01]], np.float32), (200, 1))
    y_true = np.arange(200) % 3
    found = measure_confidence(probs, y_true, np.arange(200), LABELS)
    assert found.abstention == ()
    assert found.prediction_sets[0].observed.value == 1  # two or three labels per set
    assert found.prediction_sets[0].mean_size > 2


def test_duplicates_of_one_image_cannot_be_halved() -> None:
    probs, y_true = scores(20, 0)
    found = measure_confidence(probs, y_true, np.zeros(20, np.int64), LABELS)
    assert not found.prediction_sets
    assert not found.abstention


def test_accuracy_falls_as_more_faces_are_classified() -> None:
    fractions, accuracy = risk_coverage_curve(
        np.array([0.5, 0.9, 0.7, 0.6]), np.array([False, True, True, False])
    )
    assert fractions.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracy.tolist() == [1, 1, pytest.approx(2 / 3), 0.5]


def test_sets_by_hand() -> None:
    probs = np.array([0.2, 0.5, 0.3], np.float32)
    assert prediction_set(probs, LABELS, 0.25) == ("neutral", "sad")
    assert prediction_set(probs, LABELS, 0.0) == ("neutral", "sad", "happy")
    assert prediction_set(probs, LABELS, 0.9) == ("neutral",)


def test_levels_between_and_beyond() -> None:
    info = tiny_info(coverage={"min_probability": {"0.9": 0.3, "0.95": 0.2}})
    assert min_set_probability(info, 0.9) == 0.3
    assert min_set_probability(info, 0.91) == 0.2
    assert min_set_probability(info, 0.5) == 0.3
    with pytest.raises(ConfigError, match=r"0.96 is above the maximum of tiny, 0.95"):
        min_set_probability(info, 0.96)
    for wrong in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            min_set_probability(info, wrong)
    seven = Head("logits_seven", SEVEN, 1.0)
    fitted = tiny_info(coverage={"min_probability": {"0.9": 0.2}}, heads=(seven,))
    with pytest.raises(ModelFileError, match="calibrated for its first label set, not for angry"):
        min_set_probability(fitted.select_labels(SEVEN)[0], 0.9)
    with pytest.raises(ModelFileError, match="tiny was not calibrated for prediction sets"):
        min_set_probability(replace(info, coverage={}), 0.9)
