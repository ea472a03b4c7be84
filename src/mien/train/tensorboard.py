"""A training's figures for TensorBoard."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mien.train.config import Recipe
    from mien.train.networks.registry import NetworkCost
    from mien.train.runfolder import RunFolder
    from mien.train.watch import EpochMetrics


class TensorBoardLog:
    """Writes event files into the run folder's `tensorboard/`, one scalar per figure."""

    def __init__(self) -> None:
        self.writer: SummaryWriter | None = None

    def started(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        """Open the writer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's imports warn of their own past
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(run.path / "tensorboard"))

    def stepped(self, epoch: int, step: int, loss: float) -> None:
        """Single steps are not written."""

    def epoch_ended(self, metrics: EpochMetrics, *, best: bool) -> None:
        """Write the epoch's figures."""
        if self.writer is None:
            return
        for name, value in metrics.to_dict().items():
            if name != "epoch":
                self.writer.add_scalar(name, value, metrics.epoch)
        self.writer.flush()

    def ended(self, status: str) -> None:
        """Close the writer."""
        if self.writer is not None:
            self.writer.close()
