"""Everything that is recorded of a watched loop; watch.py fills it, supply.py reads it."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.calls import OTHER, Form, call_as, has_forward
from mien.doctor.programs.inspection import (
    BATCH_NORMS,
    DROPOUTS,
    bare,
    equal_rows,
    held_by,
    is_lazy,
    layer_weights,
    root_mean_square,
    weight_gains,
)
from mien.doctor.programs.outputs import OutputSummary
from mien.doctor.programs.penalty import PenaltyMeter
from mien.doctor.programs.plateau import plateau_of
from mien.doctor.programs.sample import Sample, TargetOrder
from mien.doctor.programs.trees import main_output, map_tensors
from mien.doctor.programs.validation import Validation
from mien.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.doctor.programs.link import Link
    from mien.doctor.programs.losses import Plateau
    from mien.doctor.programs.probe import StepRow
    from mien.doctor.programs.program import Broadcast

MAX_ERROR_CHARACTERS = 300


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
        classes: tuple[str, ...] | None,
    ) -> None:
        self.model, self.bare, self.optimizers = model, bare(model), list(optimizers)
        self.criterion = criterion
        self.classes = classes
        # A model without parameters has no device of its own.
        first = next(self.bare.parameters(), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self.layer_names: set[str] = set()
        # Identities of each optimiser's parameters; one optimiser alone has nothing to compare.
        self.groups = [held_by(optimizer) for optimizer in optimizers]
        self.plateau: Plateau | None = None
        self.mode_layers = [m for m in self.bare.modules() if isinstance(m, BATCH_NORMS + DROPOUTS)]
        self.notes: list[str] = []
        self.failures: set[str] = set()
        self.steps = self.optimizer_steps = self.eval_mode_steps = 0
        self.initial: dict[str, float] = {}
        self.gains: dict[str, float] = {}
        self.equal_at_start: set[str] = set()
        # Now, before the first step: later the initial weights are gone.
        self.inspect(first=True)
        self.is_lazy = any(is_lazy(p) for p in self.bare.parameters())
        self.form: Form = "" if has_forward(self.bare) else "other"
        self.losses: list[Tensor | float] = []
        self.rates: list[float] = []
        self.rows: list[StepRow] = []
        self.train, self.again, self.order = Sample(), Sample(), TargetOrder()
        self.batch_sizes: list[int] = []
        self.validation = Validation()
        self.boundaries: list[int] = []
        self.outputs = OutputSummary()
        self.link: Link | None = None
        self.link_tries = 0
        self.paired: Broadcast | None = None
        self.evaluations = self.train_mode_evaluations = self.validated = 0
        self.waits: list[tuple[float, float]] = []
        self.memory: list[tuple[int, float]] = []
        self.had_gradient: set[str] = set()
        self.stepped: set[int] = set()
        # Steps before which an epoch ended, and weights before and after them: compared at the end.
        self.jumps: list[tuple[int, Tensor, Tensor]] = []
        self.other: nn.Module | None = None
        self.penalty = PenaltyMeter()
        self.spent = self.spent_validating = 0.0
        self.failure = ""
        self.is_busy = self.is_entered = False

    def inspect(self, *, first: bool) -> None:
        """Measure the weights that are there; `first` where no step has changed them yet.

        Weights of lazy modules come with the first forward pass.
        """
        self.is_lazy = False
        try:
            self.layer_names = layer_weights(self.bare)
            if not first:
                return
            with torch.no_grad():
                self.initial = {
                    n: root_mean_square(p)
                    for n, p in self.bare.named_parameters()
                    if not is_lazy(p)
                }
                self.gains, self.equal_at_start = weight_gains(self.bare), equal_rows(self.bare)
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self.give_up("measuring the initial weights", error)

    def predict(self, model: nn.Module, inputs: Any) -> Tensor | None:
        """Return the model's main output, in evaluation mode, on inputs of the loop's form."""
        model.eval()
        moved = map_tensors(inputs, lambda t: t.to(self.device))
        if self.form == "other":
            self.note(OTHER)
        return main_output(call_as(self.form, model, moved))

    def keep_plateau(self) -> None:
        """Keep the settings of a ReduceLROnPlateau: when the report is made, it may be gone."""
        rates = [r for r in self.rates if r > 0]
        cuts = sum(later < earlier for earlier, later in pairwise(rates))
        # Without a rate that fell there is nothing to say.
        if cuts and rates[-1] < max(rates):
            self.plateau = plateau_of(self.optimizers, cuts, sys._getframe(1))

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

    def give_up(self, what: str, error: Exception) -> None:
        """Note that a measurement failed: once for each kind, whatever the later errors say."""
        if what in self.failures:
            return
        self.failures.add(what)
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        # The innermost line: of the watch, or of the user's model that it called.
        code = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}, line "
        where = "" if place is None else f" ({code}{place.tb_lineno})"
        text = " ".join(str(error).split())[:MAX_ERROR_CHARACTERS]
        self.note(
            f"{what} failed after {counted(self.steps, 'step')} and was stopped: "
            f"{type(error).__name__}: {text}{where}"
        )
