"""The one place that turns probabilities into a label."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import ConfigError, ModelFileError
from mien.imaging.crop import ALIGNMENT_ID
from mien.labels import THREE
from mien.model.info import ModelInfo
from mien.predict.decision import DecisionPolicy
from mien.types import UNSURE

INFO = ModelInfo(
    "m", THREE, 48, ALIGNMENT_ID, unsure_below=0.5, coverage={"min_probability": {"0.9": 0.3}}
)
PROBS = np.array([0.2, 0.45, 0.35], np.float32)


def test_probabilities_become_a_label_and_stay_as_they_are() -> None:
    decision = DecisionPolicy(THREE).decide(PROBS)
    assert decision.label == "neutral"
    assert decision.confidence == float(PROBS[1])
    assert list(decision.probabilities.items()) == [
        (label, float(p)) for label, p in zip(THREE, PROBS, strict=True)
    ]
    assert decision.prediction_set is None


@pytest.mark.parametrize(
    ("threshold", "label"), [(0.0, "neutral"), (float(PROBS[1]), "neutral"), (0.46, UNSURE)]
)
def test_below_the_threshold_a_face_is_unsure(threshold: float, label: str) -> None:
    assert DecisionPolicy(THREE, threshold).decide(PROBS).label == label


def test_the_models_own_threshold_counts_unless_another_is_given() -> None:
    assert DecisionPolicy.of(INFO).decide(PROBS).label == UNSURE
    assert DecisionPolicy.of(INFO, 0.0).decide(PROBS).label == "neutral"


def test_a_coverage_gives_prediction_sets() -> None:
    decision = DecisionPolicy.of(INFO, coverage=0.9).decide(PROBS)
    assert decision.prediction_set == ("neutral", "sad")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_threshold_out_of_range(value: float) -> None:
    with pytest.raises(ConfigError, match="min_confidence: .* is out of range 0 to 1"):
        DecisionPolicy.of(INFO, value)


def test_sets_need_a_calibrated_model() -> None:
    with pytest.raises(ModelFileError):
        DecisionPolicy.of(replace(INFO, coverage={}), coverage=0.9)


def test_policies_travel_to_other_processes() -> None:
    policy = DecisionPolicy.of(INFO, 0.6)
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301
