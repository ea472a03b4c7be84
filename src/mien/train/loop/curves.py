"""A training's curves as an image: loss, accuracy with the gap, learning rate."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

# Imported here and not at the first drawing: Ctrl-C during the import would leave matplotlib half
# loaded, and the last curves could not be drawn.
from matplotlib.figure import Figure

from mien.files import write_bytes
from mien.report.figure import png_bytes, whole_epochs
from mien.report.palette import GREY, SERIES
from mien.train.loop.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mien.train.networks.registry import NetworkCost
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics

TRAIN, VALIDATION = SERIES[:2]

PAUSE_S = 10.0
"""Seconds between two drawings: each takes half a second, more than a short epoch."""


class CurvesPlot(Callback):
    """Keeps `curves.png` in the run folder up to date: after epochs, and at the end."""

    def __init__(self) -> None:
        self.run: RunFolder | None = None
        self.history: list[EpochMetrics] = []
        self.drawn_epochs = 0
        self.drawn_at = -math.inf

    def on_train_start(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        """Store the folder, and the epochs that were finished before a resume."""
        self.run = run
        self.history = run.read_metrics()

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        """Draw the curves, unless they were drawn within the last PAUSE_S seconds."""
        self.history.append(metrics)
        if time.monotonic() - self.drawn_at >= PAUSE_S:
            self._draw()

    def on_train_end(self, status: str) -> None:
        """Draw the epochs since the last drawing."""
        if len(self.history) > self.drawn_epochs:
            self._draw()

    def _draw(self) -> None:
        if self.run is None:
            return
        content = draw_curves(self.history, title=self.run.recipe.name)
        write_bytes(self.run.path / "curves.png", content)
        self.drawn_epochs, self.drawn_at = len(self.history), time.monotonic()


def draw_curves(history: Sequence[EpochMetrics], *, title: str) -> bytes:
    """Return the curves of one or more epochs as PNG bytes."""
    figure = Figure(figsize=(11, 3.6), dpi=120, layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3, width_ratios=(4, 4, 2.4))
    epochs = [m.epoch for m in history]
    # A line through one point is invisible; many marks hide the line.
    mark = "o" if len(epochs) < 40 else ""
    losses.plot(epochs, [m.loss for m in history], color=GREY, marker=mark, ms=3, lw=1.2)
    losses.plot(epochs, [m.train_loss for m in history], color=TRAIN, marker=mark, ms=3)
    losses.plot(epochs, [m.validation_loss for m in history], color=VALIDATION, marker=mark, ms=3)
    _name_lines(losses, ["training, augmented", "training", "validation"])
    losses.set_title("log loss", loc="left")
    train = [100 * m.train_accuracy for m in history]
    validation = [100 * m.validation_accuracy for m in history]
    accuracies.plot(epochs, train, color=TRAIN, marker=mark, ms=3)
    accuracies.plot(epochs, validation, color=VALIDATION, marker=mark, ms=3)
    accuracies.fill_between(epochs, train, validation, color=GREY, alpha=0.15, lw=0)
    best = max(range(len(history)), key=lambda i: validation[i])
    accuracies.plot(epochs[best], validation[best], "*", color=VALIDATION, ms=13)
    _name_lines(accuracies, ["training", "validation", "gap", f"best: {validation[best]:.1f}%"])
    accuracies.set_title(f"accuracy, % (validation n = {history[-1].validation_n:,})", loc="left")
    rates.plot(epochs, [m.lr for m in history], color=GREY, marker=mark, ms=3)
    rates.set_title("learning rate", loc="left")
    rates.set_ylim(bottom=0)
    for axes in (losses, accuracies, rates):
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        whole_epochs(axes, epochs)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return png_bytes(figure)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    handles = [*axes.lines[:2], *axes.collections, *axes.lines[2:]]
    if not axes.collections:
        handles = list(axes.lines)
    axes.legend(handles, names, frameon=False, fontsize=8)
