"""Findings of watched loops that compare scores or examples: regression, few steps, duplicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.doctor.faults import FAULTS, epoch, healthy, predictions, program
from torch import nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Predictions

NO_CLASSES = replace(predictions(10, 0.5, 0), probs_nk=None)


def names(**changes: Any) -> list[str]:
    return [finding.name for finding in diagnose(healthy(**changes))]


@pytest.mark.parametrize(("score", "raised"), [(0.55, True), (0.82, False), (0.95, False)])
def test_a_regression_far_below_the_baseline_underfits(score: float, raised: bool) -> None:
    none = Predictions(NO_CLASSES.y_true_n[:0], None, NO_CLASSES.baseline_nk[:0])
    found = names(
        program=program(
            kind="regression", train_score=score, baseline_score=0.9, losses=(1 - score, 0.1)
        ),
        train=none,
        validation=none,
    )
    assert ("underfitting" in found) == raised


@pytest.mark.parametrize(("steps", "raised"), [(40, False), (400, True)])
def test_a_loop_of_few_steps_does_not_show_the_size_of_its_network(
    steps: int, raised: bool
) -> None:
    planted = FAULTS["model-too-small"]
    # The loss fell in the first epoch: it learns, and no further.
    falling = [epoch(1, losses=(2.0,) * 8), *planted["signals"][1:]]
    found = names(**{**planted, "signals": falling}, program=program(steps=steps))
    assert ("model-too-small" in found) == raised


def watched(relabelled: int) -> list[str]:
    """Return the findings of a short training, with some examples a second time, relabelled."""
    torch.manual_seed(0)
    y = torch.randint(3, (600,))
    x = torch.randn(600, 12) + 2 * torch.randn(3, 12)[y]
    x, y, held, held_y = x[:400], y[:400], x[400:], y[400:]
    x, y = torch.cat([x, x[:relabelled]]), torch.cat([y, (y[:relabelled] + 1) % 3])
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer, criterion = torch.optim.Adam(model.parameters(), 1e-2), nn.CrossEntropyLoss()
    with doctor.watch(model, optimizer, loss=criterion) as watch:
        for _ in range(4):
            for rows in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, held, held_y)
    return [f.name for f in watch.report().findings]


def test_equal_examples_with_different_labels_are_label_noise() -> None:
    assert "label-noise" in watched(60)
    assert watched(0) == []
