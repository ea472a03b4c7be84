"""The doctor as a callback of the Hugging Face Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.doctor.integrations.watching import Watching
from mien.doctor.programs.watch import Watch
from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def huggingface_callback(classes: Sequence[str] | None = None) -> Any:  # noqa: C901 - a class
    """Return a callback for `transformers.Trainer(callbacks=[...])`.

    The Trainer passes no batch to its callbacks, so the batch is seen by a hook on the model, with
    the labels among its arguments. After the training `report()` returns the findings.

    Args:
        classes: names of the classes.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "transformers is not installed, and the callback needs it",
            hint="pip install transformers",
        ) from error

    class DoctorCallback(Watching, TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Watches `train`; see `doctor.watch`."""

        def __init__(self) -> None:
            self.last: tuple[Any, Any, Any] = (None, None, None)
            self.handles: list[Any] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            """Install the hooks, once the optimiser exists."""
            model = given["model"]
            self.watch = Watch(model, _bare(given["optimizer"]), None, classes)
            self.handles = [model.register_forward_hook(self._seen, with_kwargs=True)]
            self.watch.__enter__()

        def _seen(self, model: Any, args: Any, given: dict[str, Any], output: Any) -> None:
            import torch

            watch = self.watch
            if watch is None or watch.is_busy:
                return
            inputs = {k: v for k, v in given.items() if isinstance(v, torch.Tensor)}
            labels = inputs.pop("labels", None)
            if torch.is_grad_enabled():
                self.last = (loss_of(output), inputs, labels)
            elif labels is not None and not model.training:
                watch.evaluations -= 1  # counted by the watch's own hook already
                watch.validate(model, inputs, labels)

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            """Record the step."""
            if self.watch is not None:
                self.watch.step(*self.last)

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            """Remove the hooks."""
            for handle in self.handles:
                handle.remove()
            self.stop()

    return DoctorCallback()


def loss_of(output: Any) -> Any:
    """Return the loss among a model's outputs as the Trainer finds it; None where there is none.

    Args:
        output: a `ModelOutput`, a dictionary with `loss`, or a tuple that begins with the loss.
    """
    import torch

    if isinstance(output, Mapping):
        return output.get("loss")
    if isinstance(output, tuple):
        first = output[0] if output else None
        return first if isinstance(first, torch.Tensor) and first.ndim == 0 else None
    return getattr(output, "loss", None)


def _bare(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimiser inside Accelerate's wrapper."""
    while not hasattr(optimizer, "register_step_pre_hook") or hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    found: torch.optim.Optimizer = optimizer
    return found
