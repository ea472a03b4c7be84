"""Which epoch of a training is the best."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from mien.data.dataset import Dataset
from mien.errors import ConfigError
from mien.train.loop.fit import fit
from mien.train.loop.loader import Examples
from mien.train.loop.state import TrainingState
from mien.train.loop.validate import score
from mien.train.networks.registry import Model
from mien.train.run.checkpoint import load_checkpoint
from mien.train.run.metrics import EpochMetrics
from tests.train.test_fit import recipe, start

EPOCH = EpochMetrics(
    epoch=1, lr=0.1, loss=1.0, train_loss=1.0, train_accuracy=0.5, validation_loss=1.0,
    validation_accuracy=0.5, validation_n=100, gap=0.0, seconds=1.0, images_per_second=1.0,
    validation_balanced=0.5,
)  # fmt: skip
EPOCHS = [
    {"validation_accuracy": 0.80, "validation_balanced": 0.70, "validation_loss": 0.60},
    {"validation_accuracy": 0.82, "validation_balanced": 0.71, "validation_loss": 0.50},
    {"validation_accuracy": 0.81, "validation_balanced": 0.75, "validation_loss": 0.55},
    {"validation_accuracy": 0.82, "validation_balanced": 0.74, "validation_loss": 0.45},
    {"validation_accuracy": 0.70, "validation_balanced": 0.75, "validation_loss": 0.40},
    {"validation_accuracy": 0.82, "validation_balanced": 0.75, "validation_loss": 0.41},
]


def best_of(select: str, epochs: list[dict[str, Any]]) -> int:
    state = TrainingState(
        cast("Model", None), None, cast("torch.optim.Optimizer", None), torch.Generator(),
        torch.Generator(), select=select,
    )  # fmt: skip
    for number, values in enumerate(epochs, start=1):
        state.record(replace(EPOCH, epoch=number, **values), cast("Any", SimpleNamespace()))
    return state.best_epoch


@pytest.mark.parametrize(
    ("select", "expected"), [("accuracy", 6), ("balanced_accuracy", 5), ("log_loss", 5)]
)
def test_the_best_epoch_is_chosen_by_the_setting(select: str, expected: int) -> None:
    """Of epochs 2, 4 and 6, equal in accuracy, and 3, 5 and 6 the lower loss decides."""
    assert best_of(select, EPOCHS) == expected


def test_epochs_from_before_it_was_measured_count_as_worse() -> None:
    old = {"validation_balanced": None, "validation_loss": 0.1}
    assert best_of("balanced_accuracy", [old, {"validation_balanced": 0.4}, old]) == 2


class Fixed(nn.Module):
    """Answers with the first pixels."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels[:, 0, 0, :3]


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur() -> None:
    y_pred = [0, 0, 0, 1, 1, 0]
    right = [0, 0, 0, 0, 1, 1]  # recall 3/4 and 1/2; class 2 never occurs
    pixels = torch.zeros(6, 1, 3, 3)
    pixels[range(6), 0, 0, y_pred] = 5.0
    examples = Examples(pixels, torch.eye(3)[right], torch.ones(6))
    _, accuracy, balanced = score(cast("Model", Fixed()), examples)
    assert accuracy == pytest.approx(4 / 6)
    assert balanced == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_the_checkpoint_is_that_of_the_chosen_epoch(drawn: Dataset, tmp_path: Path) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 3, "select": "log_loss"})
    fit(run, drawn)
    losses = [epoch.validation_loss for epoch in run.read_metrics()]
    _, values = load_checkpoint(run.checkpoints, "best")
    assert values["epoch"] == losses.index(min(losses)) + 1
    assert all(epoch.validation_balanced is not None for epoch in run.read_metrics())


def test_a_run_folder_without_balanced_accuracy_is_read(drawn: Dataset, tmp_path: Path) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 1})
    fit(run, drawn)
    file = run.path / "metrics.jsonl"
    row = json.loads(file.read_text())
    del row["validation_balanced"]
    file.write_text(json.dumps(row) + "\n")
    assert run.read_metrics()[0].validation_balanced is None


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="fit.select: 'f1' is not one of"):
        recipe(fit={"select": "f1"})
