"""Log the metrics of each epoch for TensorBoard."""

from __future__ import annotations

import os
import platform
import time
import warnings
from typing import IO, TYPE_CHECKING, Any

from mien.files import write_error
from mien.train.loop.callbacks import Callback

if TYPE_CHECKING:
    from mien.train.networks.registry import NetworkCost
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics


class TensorBoardLog(Callback):
    """Writes one scalar per metric and epoch into `tensorboard/` of the run folder.

    `torch.utils.tensorboard.SummaryWriter` writes from a thread of its own: a full disk would end
    in that thread's traceback instead of a WriteError, and the run's status would not name it. So
    the records are written here. A resumed run adds a file, as TensorBoard expects.

    Raises:
        WriteError: the file could not be written.
    """

    def __init__(self) -> None:
        self.stream: IO[bytes] | None = None

    def on_train_start(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        """Open the file."""
        folder = run.path / "tensorboard"
        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.0"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.stream = (folder / name).open("ab")
        except OSError as error:
            raise write_error(folder / name, error) from error
        self._write(file_version="brain.Event:2")

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        """Write the epoch's metrics."""
        values = {name: value for name, value in metrics.to_dict().items() if name != "epoch"}
        # One file per process and start, so that a resume appends to the curves.
        scalars = [{"tag": name, "simple_value": value} for name, value in values.items()]
        self._write(step=metrics.epoch, summary={"value": scalars})

    def on_train_end(self, status: str) -> None:
        """Close the file."""
        if self.stream is not None:
            self.stream.close()

    def _write(self, **content: Any) -> None:
        if self.stream is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # raised by TensorBoard's own imports
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter

        event = Event(wall_time=time.time(), **content)
        try:
            RecordWriter(self.stream).write(event.SerializeToString())
            self.stream.flush()
        except OSError as error:
            raise write_error(self.stream.name, error) from error
