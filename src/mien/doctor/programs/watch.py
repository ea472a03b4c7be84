"""Watch any PyTorch training: read `watch` first, then `Watch.step`.

The loop stays as it is. Every few steps one is measured (measuring.py): only then are there hooks
on the optimisers and on the model's output, as a hook costs time in each step. How often depends on
what measuring costs: at most BUDGET of the loop's CPU time, or ALLOWANCE_S if that is more.
Nothing that fails in the watch reaches the loop: it becomes a note, and that measurement ends.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.arguments import (
    check_every,
    check_loss,
    check_validated,
    names_of,
    optimizers_of,
)
from mien.doctor.programs.calls import OTHER
from mien.doctor.programs.inspection import bare, is_lazy
from mien.doctor.programs.measuring import (
    VALIDATION_ALLOWANCE_S,
    VALIDATION_BUDGET,
    Measuring,
)
from mien.doctor.programs.probe import same_random, untouched
from mien.doctor.programs.progress import MAX_JUMPS, fingerprint
from mien.doctor.programs.trees import head, is_loader, pair_of, rows
from mien.doctor.programs.validation import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from mien.doctor.report import Report

ORDERED_STEPS, SIZED_STEPS = 512, 64
"""First steps whose targets are kept, and whose batch size is recorded."""
MIN_ORDERED, REPEATED = 128, 16
"""Steps whose targets are kept at least, and after the first epoch: as many batches show that the
order comes again."""
OUTSIDE = (
    "Watch.step was called outside of the watch's with block: no step was measured there; write "
    "'with doctor.watch(...) as watch:' around the whole loop"
)
REVISITED = 64
"""Examples of the second epoch that are kept, to see whether they are those of the first."""
EARLY_EPOCHS, EPOCH_GROWTH = 8, 1.3
"""Epochs whose validation is evaluated even beyond the budget; later ones at growing distances."""


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    loss: Callable[..., Tensor] | None = None,
    classes: Sequence[str] | None = None,
    *,
    every: int | None = None,
) -> Watch:
    """Return a watch over a training loop, to be used in a `with` block.

    Call `step` after each step of the optimiser, `validate` once an epoch, and `report` at the
    end. The weights, the generators and the model's buffers are those of a training without it.
    What fails inside the watch ends that measurement alone: the report's `remarks` name it.

    Args:
        model: the module that the loop calls; also compiled, or in DataParallel.
        optimizer: of the model, or several.
        loss: the criterion, called as `loss(predictions, targets)`. Without it, it is inferred
            from the loss tensors where that is possible.
        classes: names of the classes, in the order of the model's outputs.
        every: measure each n-th step, 1 or more; by default as often as 0.7% of the CPU time
            allows.

    Raises:
        ConfigError: an argument is of the wrong type, `every` is out of range, or model or
            optimiser have no parameters.
    """
    return Watch(model, optimizer, loss, classes, every=every)


class Watch(Measuring):
    """A watched training; see `watch` for the arguments."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        loss: Callable[..., Tensor] | None = None,
        classes: Sequence[str] | None = None,
        *,
        every: int | None = None,
    ) -> None:
        given = optimizers_of(model, optimizer)
        check_loss(loss)
        check_every(every)
        super().__init__(model, given, loss, names_of(classes), every)
        self._next_epoch, self._evaluates = 0, True
        self._turn: Tensor | None = None
        self._is_open = False
        # Each kind of measurement ends with its first failure.
        self._keeps = self._validates = True
        self._revisits = False
        self._ordered_steps = ORDERED_STEPS
        # Not known without the hooks: it must not look as if the optimiser were never stepped.
        self.optimizer_steps = 1

    def __enter__(self) -> Watch:
        """Install the hooks."""
        if not self.is_entered:
            self.optimizer_steps = 0
        self.is_entered = self._is_open = True
        self._ended_step, self._started = time.perf_counter(), time.thread_time()
        try:
            self._listen()
            # Lazy modules have no weights before their first forward pass.
            if not self.is_lazy:
                self._arm()
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self._stop_measuring(error)
            # Not known: it must not look as if the optimiser were never stepped.
            self.optimizer_steps = 0 if self._listening else 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks; the report can still be made."""
        self.close()
        if error is not None:
            self.failure = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Remove the hooks."""
        self._is_open = False
        try:
            self._unhook()
            self.keep_plateau()
        except Exception as error:  # noqa: BLE001 - as above
            self.give_up("the removal of the hooks", error)

    def step(self, loss: Tensor | float | None, inputs: Any = None, targets: Any = None) -> None:
        """Record a training step, after the optimiser's step.

        Args:
            loss: of the batch; None if there is none, then few rules can judge the training.
            inputs: of the model: a tensor, or a tuple, list or dictionary of tensors.
            targets: of the batch, in the form that the criterion takes.
        """
        if self._wait is not None:
            self.waits.append((self._wait, time.perf_counter() - self._ended_step))
            self._wait = None
        step = self.steps
        self.steps += 1
        if not self._is_open:
            self._miss(step)
        self._add_rate()
        try:
            # One layer before all of them: this runs in every step.
            if self.mode_layers and not self.mode_layers[0].training:
                self.eval_mode_steps += all(not m.training for m in self.mode_layers)
            self._add_loss(loss)
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self.give_up("recording the losses", error)
        if step >= self._memory_due:
            self._read_memory(step)
        if self._turn is not None:
            self._end_turn(step, self._turn)
        if self._keeps or self._revisits or step < self._ordered_steps:
            self._keep(step, inputs, targets)
        if self._listening or self.steps >= self._due:
            self._attend(step, loss, inputs, targets)
        self._ended_step = time.perf_counter()

    def _add_loss(self, loss: Tensor | float | None) -> None:
        if isinstance(loss, Tensor):
            # One value: those of each example or pixel would fill the memory.
            self.losses.append(loss.detach().float().mean() if loss.ndim else loss.detach())
        elif loss is not None:
            self.losses.append(float(loss))

    def _miss(self, step: int) -> None:
        """Note a step outside of the `with` block, where nothing observes the optimiser."""
        self.note(OUTSIDE)
        if step == 0:
            self.optimizer_steps = max(1, self.optimizer_steps)

    def _end_turn(self, step: int, before: Tensor) -> None:
        """Keep weights, and those at the end of the epoch before, a step ago."""
        try:
            after = fingerprint(self.bare)
            if after is not None:
                self.jumps.append((step, before, after))
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self.give_up("comparing the weights of two epochs", error)
        self._turn = None

    def _keep(self, step: int, inputs: Any, targets: Any) -> None:
        """Keep examples of the first epoch, and what the first steps' batches are like."""
        try:
            if step < self._ordered_steps:
                self.order.add(targets)
                if step < SIZED_STEPS:
                    self.batch_sizes.append(rows(inputs))
            if self._keeps:
                self.train.add(inputs, targets)
                self._keeps = not self.train.is_full
            elif self._revisits:
                self.again.add(head(inputs, REVISITED), ())
                self._revisits = self.again.count < REVISITED
        except Exception as error:  # noqa: BLE001 - as above
            self._keeps = self._revisits = False
            self._ordered_steps = 0
            self.give_up("keeping examples", error)

    def validate(self, model: nn.Module | None, inputs: Any, targets: Any = None) -> None:
        """Evaluate validation data, once an epoch; several calls without a step add up.

        The model is evaluated in evaluation mode, and its mode is restored.

        Args:
            model: to evaluate; None takes the watched one.
            inputs: all of validation, a batch of it, or a loader of (inputs, targets) or of
                dictionaries with `labels`, `targets` or `y`.
            targets: of `inputs`; None where `inputs` is a loader.
        """
        counted = self.validated
        try:
            check_validated(model)
            if targets is None and is_loader(inputs):
                with same_random(inputs, self.device):
                    for part in inputs if self._validates else ():
                        self._add_validation(model, *pair_of(part, bare(model or self.model)))
            elif targets is None and not isinstance(inputs, Tensor):
                self._add_validation(model, *pair_of(inputs, bare(model or self.model)))
            else:
                self._add_validation(model, inputs, targets)
            if self._validates and self.validated == counted:
                self.note("Watch.validate got no examples")
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self._validates = False
            self.give_up("the validation", error)
        # Also where no batch came: an epoch has ended.
        self._start_epoch(within=self._evaluates)
        self._ended_step = time.perf_counter()

    def _start_epoch(self, *, within: bool) -> None:
        """Start the sums of an epoch, once after its last step."""
        if self.boundaries and self.boundaries[-1] == self.steps:
            return
        self.boundaries.append(self.steps)
        if self.steps and len(self.jumps) < MAX_JUMPS:
            self._turn = fingerprint(self.bare)
        self.validation.start_epoch()
        # Training's examples are kept of its first epoch: they come again in the later ones.
        self._revisits = bool(self.steps) and not any(self.boundaries[:-1])
        self._keeps = self._keeps and not self.steps
        if self.steps and self._ordered_steps == ORDERED_STEPS:
            self._ordered_steps = min(ORDERED_STEPS, max(MIN_ORDERED, self.steps + REPEATED))
        epoch = len(self.boundaries)
        # Losses over epochs are judged by their shape: later ones need not be dense.
        self._evaluates = within or epoch <= EARLY_EPOCHS or epoch >= self._next_epoch
        if self._evaluates:
            self._next_epoch = math.ceil(epoch * EPOCH_GROWTH)

    def _add_validation(self, model: nn.Module | None, inputs: Any, targets: Any) -> None:
        started = time.thread_time()
        left = self._validation_left(started)
        self._start_epoch(within=left > 0)
        self.evaluations += 1
        self.validated += rows(inputs)
        if model is not None and bare(model) is not self.bare:
            self.other = bare(model)
        try:
            if self._evaluates and self._validates and rows(inputs):
                self._evaluate(model, inputs, targets, seconds=left)
        finally:
            self.spent_validating += time.thread_time() - started

    def _validation_left(self, now: float) -> float:
        """Return the seconds of CPU time that validation may still take; 0 or less if none."""
        allowed = max(VALIDATION_ALLOWANCE_S, VALIDATION_BUDGET * (now - self._started))
        return allowed - self.spent_validating

    def _evaluate(
        self, model: nn.Module | None, inputs: Any, targets: Any, *, seconds: float
    ) -> None:
        target = bare(model or self.model)
        if any(is_lazy(p) for p in target.parameters()):
            # A forward pass of the watch's own would draw the initial weights.
            self.note("a validation before the first forward pass of a lazy module was left out")
            return
        if self.form == "other":
            self.note(OTHER)
            return
        self.is_busy = True
        try:
            with untouched(target, self.device):
                self.validation.add(self.scorer(target), inputs, targets, seconds=seconds)
        finally:
            self.is_busy = False

    def report(self) -> Report:
        """Return the findings so far; it evaluates the kept examples and trains nothing."""
        # Here: it needs SciPy, whose import takes as long as a short training.
        from mien.doctor.programs.supply import diagnose_recording, nothing_judged

        try:
            return diagnose_recording(self)
        except Exception as error:  # noqa: BLE001 - what follows in the program may save the model
            self.give_up("the report", error)
            return nothing_judged(self)

    def scorer(self, model: nn.Module) -> Scorer:
        """Return how validation data are predicted and scored."""
        return Scorer(lambda inputs: self.predict(model, inputs), self.link, self.device)
