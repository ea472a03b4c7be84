"""Callbacks of a training: the interface of progress bars, logs and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.train.networks.registry import NetworkCost
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics


class Callback:
    """Receives the events of a training; must not change it.

    Subclasses override the events that they need; the others do nothing.
    """

    def on_train_start(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        """Training starts or resumes, with this many images and steps per epoch."""

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """The optimizer took a step; epoch and step are counted from 1."""

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        """An epoch was finished and its checkpoint saved; `best` if it is the best so far."""

    def on_train_end(self, status: str) -> None:
        """Training ended: 'finished', 'stopped early', 'interrupted' or 'failed'."""
