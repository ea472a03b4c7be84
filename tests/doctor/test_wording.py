"""Findings of watched loops: what to do first comes first, in numbers that mean something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.doctor.faults import FAULTS, epoch, healthy, measured, metrics, predictions, program
from torch import nn

from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Evidence
from mien.doctor.finding import Finding
from mien.doctor.programs.columns import columns_of
from mien.doctor.programs.inspection import narrowest, still_norms
from mien.doctor.programs.measurements import Settings
from mien.doctor.programs.program import OutputStatistics
from mien.doctor.programs.remedies import for_program
from mien.doctor.rule import RULES
from mien.doctor.thresholds import Thresholds

LIMITS = Thresholds()


def judged(name: str, evidence: Evidence) -> Finding | None:
    outcome = RULES[name].judge(evidence, LIMITS)
    assert outcome is None or isinstance(outcome, Finding)
    return None if outcome is None else for_program(outcome, evidence)


def small(right: float, losses: tuple[float, ...], **changes: Any) -> Evidence:
    """Return a watched network of few parameters whose loss has stopped falling."""
    signals = [epoch(1, losses=(1.2,) * 8), *[epoch(i, losses=losses) for i in range(2, 11)]]
    return healthy(
        program=program(**changes), chance=1.1, parameters=500, signals=signals,
        train=predictions(2000, right, 1), validation=predictions(1000, right, 2),
        history=[metrics(i, gap=-0.024) for i in range(1, 11)],
    )  # fmt: skip


def test_what_was_observed_comes_before_what_it_leads_to() -> None:
    shifted = {"pixels": FAULTS["invalid-inputs"]["pixels"]}
    evidence = healthy(program=program(frozen=("0.weight",)), **shifted)
    assert [(f.name, f.severity) for f in diagnose(evidence)] == [
        ("frozen-parameters", "warning"),
        ("invalid-inputs", "serious"),
    ]


def test_a_network_that_learns_nothing_is_not_too_small() -> None:
    capacity = small(0.6, (0.8,) * 8, narrowest=("2", 1))
    found = judged("model-too-small", capacity)
    assert found is not None
    assert "2.4 points higher" in found.evidence
    assert "Its narrowest layer, 2, has 1 output." in found.evidence
    assert judged("model-too-small", small(0.34, (1.099,) * 8)) is None
    flat = small(0.6, (0.8,) * 8)
    flat = replace(flat, signals=measured(losses=(0.8,) * 8))
    assert judged("model-too-small", flat) is None


def test_epochs_that_begin_anew_are_told_apart_from_a_small_network() -> None:
    anew = small(0.6, (1.1, 1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55))
    assert judged("model-too-small", anew) is None
    found = judged("underfitting", anew)
    assert found is not None
    assert found.title == "the network hardly learns"
    assert "weights are reset" in found.evidence
    assert "larger network does not help" in found.remedy


def test_r2_counts_for_losses_that_estimate_a_mean() -> None:
    scores: dict[str, Any] = {"kind": "regression", "train_score": -3.4, "baseline_score": 0.87}
    assert judged("underfitting", healthy(program=program(**scores, losses=(0.9, 0.2)))) is not None
    assert judged("underfitting", healthy(program=program(**scores, losses=(0.1, 0.2)))) is None
    assert judged("underfitting", healthy(program=program(**scores))) is None


def test_class_weights_are_judged_by_the_mean_recall() -> None:
    rare = np.arange(1000) % 10 == 0
    truth = rare.astype(np.int64)
    found = np.where(rare, np.arange(1000) % 50 != 0, np.arange(1000) % 9 == 0).astype(int)
    common = np.zeros(1000, int)
    common[rare] = np.arange(100) % 2
    part = replace(
        predictions(1000, 0.5, 1), y_true_n=truth, probs_nk=np.eye(2)[found],
        baseline_nk=np.eye(2)[common],
    )  # fmt: skip
    evidence = healthy(program=program(), train=part)
    weighted = replace(
        evidence, recipe=replace(evidence.recipe, loss=replace(evidence.recipe.loss,
                                                               class_weights="balanced"))
    )  # fmt: skip
    assert judged("underfitting", evidence) is not None
    assert judged("underfitting", weighted) is None


def test_a_column_of_targets_that_outweighs_the_others_is_named() -> None:
    rng = np.random.default_rng(0)
    columns = columns_of(rng.normal(size=(300, 3)) * np.array([1.0, 1.0, 400.0]))
    start = [epoch(1, losses=(5e4,) * 8), *measured(losses=(4e4,) * 8)[1:]]
    mixed = healthy(program=program(kind="other", target_columns=columns), signals=start)
    found = judged("targets-not-scaled", mixed)
    assert found is not None
    assert "Column 2" in found.evidence
    # A loss that does not count the column's error, such as a partial likelihood of times.
    assert judged("targets-not-scaled", replace(mixed, signals=measured(losses=(4.0,) * 8))) is None


def test_dead_units_of_a_network_that_learns_must_be_nearly_all() -> None:
    half = healthy(program=program(), chance=1.1, signals=measured(stuck={"1": 0.5}))
    assert judged("dead-units", half) is None
    learns_not = measured(stuck={"1": 0.5}, losses=(1.1,) * 8)
    assert judged("dead-units", replace(half, signals=learns_not)) is not None
    assert judged("dead-units", replace(half, signals=measured(stuck={"1": 1.0}))) is not None


def test_schedules_that_never_leave_zero_or_watch_the_wrong_way_have_their_own_remedy() -> None:
    zero = judged("learning-rate-vanishes", healthy(program=program(rates=(0.0,) * 30)))
    assert zero is not None
    assert "maximum 0" not in zero.evidence
    assert "warm-up" in zero.remedy
    plateau = program(rates=(1e-3,) * 4 + (1e-9,) * 6, plateau_mode="max")
    lowered = judged("learning-rate-vanishes", healthy(program=plateau))
    assert lowered is not None and "mode='min'" in lowered.remedy


def test_a_relu_has_no_upper_end() -> None:
    outputs = OutputStatistics(1, 0.0, 2.0, 1.0, 1.0, "ReLU", half=False)
    given = program(loss_name="MSELoss", outputs=outputs, target_low=-1.6, target_high=2.5)
    found = judged("loss-activation-mismatch", healthy(program=given))
    assert found is not None
    assert "gives no values below 0" in found.evidence
    assert "inf" not in found.evidence


def test_structure_that_limits_a_network_is_found() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(1, 10))
    assert narrowest(model) == ("1", 1)
    assert narrowest(nn.Linear(3, 2)) is None
    averaged = nn.BatchNorm1d(4, momentum=None)
    norms = nn.Sequential(nn.BatchNorm1d(4, momentum=0.0), nn.BatchNorm1d(4), averaged)
    assert still_norms(norms) == {"0": 0.0}
    given = {**FAULTS["batch-norm-statistics"], "program": program(still_norms={"0": 0.0},
                                                                   batch_norms=("0",))}  # fmt: skip
    found = judged("batch-norm-statistics", healthy(**given))
    assert found is not None
    assert "momentum" in found.remedy
    assert "The batch norm 0 has a momentum of 0: its running" in found.evidence
    given["program"] = program(still_norms={"1": 0.0, "4": 0.0}, batch_norms=("1", "4"))
    found = judged("batch-norm-statistics", healthy(**given))
    assert found is not None
    assert "The batch norms 1 and 4 have a momentum of 0: their running" in found.evidence
    assert torch.is_grad_enabled()


def test_a_few_steps_are_told_to_become_more() -> None:
    few = judged("underfitting", small(0.34, (1.099,) * 8, steps=29, baseline_score=0.9))
    assert few is not None
    assert few.title == "the network underfits"
    assert few.remedy.startswith(
        "Train longer, until the validation loss stops falling: 29 steps are few. Otherwise"
    )
    later = judged("underfitting", small(0.34, (1.099,) * 8, steps=900, baseline_score=0.9))
    assert later is not None
    assert later.remedy.startswith("A larger network does not help")


def test_a_missing_bias_names_layers_and_a_distant_mean_of_the_targets() -> None:
    column = columns_of(np.random.default_rng(0).normal(5.0, 1.0, (200, 1)))
    near = columns_of(np.random.default_rng(0).normal(0.5, 1.0, (200, 1)))

    def of(columns: Any) -> Finding:
        found = judged(
            "missing-bias",
            healthy(
                program=program(bias_free=("0", "2"), target_columns=columns, kind="regression")
            ),
        )
        assert found is not None
        return found

    far = of(column)
    assert "Without: 0, 2." in far.evidence
    assert far.numbers["target_mean"] == pytest.approx(5.0, abs=0.2)
    assert "Start the last bias at the targets' mean (" in far.remedy
    assert far.remedy.startswith("Use bias=True")
    assert "Start" not in of(near).remedy
    assert of(near).numbers["target_mean"] is None


def test_plain_sgd_at_a_low_rate_is_told_of_momentum() -> None:
    def of(**changes: Any) -> str:
        evidence = healthy(**FAULTS["learning-rate-too-low"])
        evidence = replace(evidence, program=program(settings=Settings(**changes)))
        finding = Finding("learning-rate-too-low", "warning", "", "", "", ("optimizer.lr=0.01",))
        return for_program(finding, evidence).remedy

    assert "momentum=0.9" in of(is_plain_sgd=True, momentum=0.0)
    others = (of(is_plain_sgd=True, momentum=0.9), of(momentum=0.0))
    assert all(
        text.startswith("Raise the learning rate, to about 0.01, and ten") for text in others
    )
    assert not any("SGD" in text for text in others)
