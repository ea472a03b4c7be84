"""Progress of a training on stderr: one line per epoch, and a live bar in a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mien.train.loop.callbacks import Callback

if TYPE_CHECKING:
    from mien.train.networks.registry import NetworkCost
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics

HEADER = " epoch     loss   train    val     gap   val loss   images/s   time left"


class ProgressView(Callback):
    """Prints a header, a line per epoch and, in a terminal, a bar within the epoch.

    Args:
        console: where to print; stderr if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.epochs = self.steps = self.first_epoch = 0
        self.smooth: float | None = None
        self.started_at = self.epoch_started_at = 0.0

    def on_train_start(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        """Print the network, its cost and the number of images."""
        self.epochs, self.steps, self.started_at = recipe.fit.epochs, steps, time.monotonic()
        self.console.print(
            f"{recipe.name}: {recipe.network.name} network, {cost.parameters:,} parameters, "
            f"{cost.multiply_adds / 1e6:.1f}M multiply-adds; {images:,} images, "
            f"{steps:,} steps an epoch; run folder {run.path}",
            highlight=False,
        )
        self.console.print(HEADER, style="bold", highlight=False)
        # In a file the bar's control characters would be noise.
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
                TextColumn("{task.fields[speed]:,.0f} batches/s"),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self.progress.start()

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """Advance the bar."""
        if step == 1:
            self.smooth, self.epoch_started_at = loss, time.monotonic()
            self.first_epoch = self.first_epoch or epoch
        # Losses of single batches jump too much to be read.
        self.smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
        if self.progress is None:
            return
        if step == 1 or self.task is None:
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(
                f"epoch {epoch}/{self.epochs}", total=self.steps, loss=loss, speed=0.0
            )
        speed = step / max(time.monotonic() - self.epoch_started_at, 1e-6)
        self.progress.update(self.task, completed=step, loss=self.smooth, speed=speed)

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        """Print the epoch's line; a star marks the best epoch so far."""
        # Only this process's epochs: those before a resume took other time.
        done = metrics.epoch - (self.first_epoch or 1) + 1
        left = (time.monotonic() - self.started_at) / done * (self.epochs - metrics.epoch)
        self.console.print(
            f"{metrics.epoch:4d}/{self.epochs:<3d} {metrics.loss:7.4f} "
            f"{metrics.train_accuracy:7.2%} {metrics.validation_accuracy:7.2%} "
            f"{metrics.gap:+7.2%} {metrics.validation_loss:9.4f} "
            f"{metrics.images_per_second:10,.0f} {duration(left):>11}{' *' if best else ''}",
            highlight=False,
        )

    def on_train_end(self, status: str) -> None:
        """Remove the bar and print how the training ended."""
        if self.progress is not None:
            self.progress.stop()
        self.console.print(f"training {status}", highlight=False)


def duration(seconds: float) -> str:
    """Return seconds as 1:05 or 2:10:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
