"""The doctor as a callback of Lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.doctor.integrations.watching import Watching
from mien.doctor.programs.watch import Watch
from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


def lightning_callback(
    loss: Callable[..., Tensor] | None = None, classes: Sequence[str] | None = None
) -> Any:
    """Return a callback for `lightning.Trainer(callbacks=[...])`.

    After the training its `report()` returns the findings. Batches must be (inputs, targets).

    Args:
        loss: the criterion of `training_step`; None infers it.
        classes: names of the classes.

    Raises:
        MissingExtraError: neither lightning nor pytorch_lightning is installed.
    """
    try:
        from lightning.pytorch.callbacks import Callback
    except ModuleNotFoundError:
        try:
            from pytorch_lightning.callbacks import Callback
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "lightning is not installed, and the callback needs it",
                hint="pip install lightning",
            ) from error

    class DoctorCallback(Watching, Callback):  # type: ignore[misc, unused-ignore]
        """Watches `fit`; see `doctor.watch`."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Install the hooks, once the optimisers exist; without one there is no training."""
            if not trainer.optimizers:
                return
            self.watch = Watch(pl_module, list(trainer.optimizers), loss, classes)
            self.watch.__enter__()

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            """Record the step."""
            if self.watch is not None:
                value = outputs["loss"] if isinstance(outputs, dict) else outputs
                self.watch.step(value, *batch)

        def on_validation_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int,
            dataloader_idx: int = 0,
        ) -> None:  # fmt: skip
            """Evaluate a batch; the sanity check before the training is left out."""
            if self.watch is not None and not trainer.sanity_checking:
                self.watch.validate(pl_module, *batch)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            """Remove the hooks."""
            self.stop()

    return DoctorCallback()
