"""Everything that is recorded of a watched loop; watch.py fills it, supply.py reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.inspection import (
    BATCH_NORMS,
    DROPOUTS,
    bare,
    equal_rows,
    layer_weights,
    weight_gains,
)
from mien.doctor.programs.outputs import OutputSummary
from mien.doctor.programs.sample import Sample, TargetOrder
from mien.doctor.programs.trees import call, main_output, map_tensors
from mien.doctor.programs.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.doctor.programs.link import Link
    from mien.doctor.programs.probe import StepRow


class Recording:
    """The record of one loop: losses, rates, measured steps, samples, counts.

    Args:
        model: that the loop calls.
        optimizers: of the loop.
        criterion: the loss; None if unknown.
        classes: names of the classes, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        criterion: Callable[..., Tensor] | None,
        classes: Sequence[str] | None,
    ) -> None:
        self.model, self.bare, self.optimizers = model, bare(model), list(optimizers)
        self.criterion = criterion
        self.classes = tuple(str(name) for name in classes) if classes is not None else None
        # A model without parameters has no device of its own.
        first = next(self.bare.parameters(), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self.layer_names = layer_weights(self.bare)
        self.mode_layers = [m for m in self.bare.modules() if isinstance(m, BATCH_NORMS + DROPOUTS)]
        with torch.no_grad():
            self.initial = {
                n: float(p.detach().float().square().mean().sqrt())
                for n, p in self.bare.named_parameters()
            }
            # Now, before the first step: later the initial weights are gone.
            self.gains, self.equal_at_start = weight_gains(self.bare), equal_rows(self.bare)
        self.losses: list[Tensor | float] = []
        self.rates: list[float] = []
        self.rows: list[StepRow] = []
        self.train, self.order = Sample(), TargetOrder()
        self.batch_sizes: list[int] = []
        self.validation = Validation()
        self.boundaries: list[int] = []
        self.outputs = OutputSummary()
        self.link: Link | None = None
        self.link_tries = 0
        self.notes: list[str] = []
        self.steps = self.optimizer_steps = self.eval_mode_steps = 0
        self.evaluations = self.train_mode_evaluations = 0
        self.waits: list[tuple[float, float]] = []
        self.memory: list[tuple[int, float]] = []
        self.had_gradient: set[str] = set()
        self.spent = 0.0
        self.failure = ""
        self.is_busy = False

    def predict(self, model: nn.Module, inputs: Any) -> Tensor | None:
        """Return the model's main output, in evaluation mode, on inputs of the loop's form."""
        model.eval()
        moved = map_tensors(inputs, lambda t: t.to(self.device))
        return main_output(call(model, moved))

    def known_losses(self) -> list[float]:
        """Return the loss of each step."""
        if any(isinstance(value, Tensor) for value in self.losses):
            # Converted here, at the end: reading each step's loss would make a GPU wait.
            values = [torch.as_tensor(v).detach().double().mean().cpu() for v in self.losses]
            self.losses = list(torch.stack(values).tolist())
        return [float(value) for value in self.losses]

    def note(self, text: str) -> None:
        """Keep a sentence on what could not be measured, once."""
        if text not in self.notes:
            self.notes.append(text)
