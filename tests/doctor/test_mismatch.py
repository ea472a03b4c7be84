"""Losses, last activations and targets that do not belong together, and those that do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.doctor.faults import program

from mien.doctor.programs.mismatch import mismatch_of
from mien.doctor.programs.program import OutputStatistics

LOGITS = OutputStatistics(3, -4.0, 5.0, 3.0, 2.0, "", half=False)


def outputs(**changes: Any) -> OutputStatistics:
    return replace(LOGITS, **changes)


@pytest.mark.parametrize(
    ("loss", "found", "case"),
    [
        ("CrossEntropyLoss", {"units": 1}, "cross-entropy-one-output"),
        ("cross_entropy", {"low": 0.0, "high": 1.0, "sum_error": 1e-7}, "softmax-twice"),
        ("CrossEntropyLoss", {"last_activation": "Tanh", "low": -1.0, "high": 1.0},
         "squashed-logits"),
        ("CrossEntropyLoss", {"low": 0.01, "high": 0.97}, "squashed-logits"),
        ("CrossEntropyLoss", {"low": 0.0, "high": 4.0}, "squashed-logits"),
        ("BCEWithLogitsLoss", {"units": 1, "last_activation": "Sigmoid"}, "sigmoid-twice"),
        ("binary_cross_entropy_with_logits", {"units": 1, "low": 0.1, "high": 0.9},
         "sigmoid-twice"),
        ("NLLLoss", {"log_sum_error": 2.0}, "nll-without-log-softmax"),
        ("KLDivLoss", {"log_sum_error": 2.0}, "divergence-without-log-softmax"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_fit_their_loss(loss: str, found: dict[str, Any], case: str) -> None:
    mismatch = mismatch_of(program(loss_name=loss, outputs=outputs(**found)))
    assert mismatch is not None
    assert (mismatch.case, mismatch.severity) == (case, "serious")
    assert mismatch.remedy.endswith(".")


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        ("CrossEntropyLoss", {}),
        # Small logits of a network that has just started are no probabilities.
        ("CrossEntropyLoss", {"low": 0.1, "high": 0.4}),
        ("BCEWithLogitsLoss", {"units": 1}),
        ("BCEWithLogitsLoss", {"units": 1, "low": 0.2, "high": 0.4}),
        ("NLLLoss", {"log_sum_error": 1e-6, "high": 0.0}),
        ("MSELoss", {"units": 1}),
        ("TripletMarginLoss", {"low": 0.0, "high": 1.0, "sum_error": 0.0}),
        ("", {"low": 0.0, "high": 1.0, "sum_error": 0.0}),
    ],
)
def test_outputs_that_fit_their_loss(loss: str, found: dict[str, Any]) -> None:
    sound = program(loss_name=loss, outputs=outputs(**found), kind="regression",
                    target_low=-1.0, target_high=1.0)  # fmt: skip
    assert mismatch_of(sound) is None


@pytest.mark.parametrize(
    ("last", "low", "high", "fits"),
    [
        ("Sigmoid", 0.0, 1.0, True),
        ("Sigmoid", -1.0, 1.0, False),
        ("Sigmoid", 0.0, 9.0, False),
        ("Tanh", -1.0, 1.0, True),
        ("Tanh", -3.0, 3.0, False),
        ("ReLU", 0.0, 90.0, True),
        ("ReLU", -20.0, 90.0, False),
        ("Softplus", -1.0, 1.0, False),
        ("", -90.0, 90.0, True),
    ],
)
def test_a_last_activation_must_reach_the_targets(
    last: str, low: float, high: float, fits: bool
) -> None:
    mismatch = mismatch_of(
        program(kind="regression", loss_name="mse_loss", target_low=low, target_high=high,
                outputs=outputs(units=1, last_activation=last))
    )  # fmt: skip
    assert (mismatch is None) is fits
    if mismatch is not None:
        assert mismatch.case == "targets-out-of-range"


def test_a_softmax_over_one_output_is_constant() -> None:
    found = mismatch_of(
        program(kind="regression", loss_name="L1Loss", target_low=0.0, target_high=1.0,
                outputs=outputs(units=1, last_activation="Softmax"))
    )  # fmt: skip
    assert found is not None
    assert found.case == "softmax-one-output"


@pytest.mark.parametrize("given", [{"one_hot_targets": True}, {"kind": "classification"}])
def test_a_regression_loss_for_classes_is_a_warning(given: dict[str, Any]) -> None:
    found = mismatch_of(program(loss_name="HuberLoss", outputs=LOGITS, **given))
    assert found is not None
    assert (found.case, found.severity) == ("regression-loss-for-classes", "warning")


def test_without_outputs_nothing_is_judged() -> None:
    assert mismatch_of(program(outputs=None, loss_name="CrossEntropyLoss")) is None
