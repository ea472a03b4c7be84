"""Single steps of a watched loop, measured: which ones, the hooks, and what a failure ends.

A step is armed at the end of the one before it, and measured after the optimisers' steps.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.broadcast import pairing
from mien.doctor.programs.calls import call_as, form_of
from mien.doctor.programs.inspection import is_lazy
from mien.doctor.programs.link import link_of
from mien.doctor.programs.memory import resident_mb
from mien.doctor.programs.penalty import weights_before
from mien.doctor.programs.probe import Probe, untouched
from mien.doctor.programs.recording import Recording
from mien.doctor.programs.trees import main_output, map_tensors, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.doctor.programs.probe import StepRow

BUDGET = 0.007
"""Fraction of the loop's CPU time that measured steps may take; recording each step, and the hooks
on the model and the optimisers, come on top."""
VALIDATION_BUDGET = 0.004
"""Fraction of it from which the examples of an epoch's validation are fewer. By itself, so that
validation does not use up what the measured steps need: a forward pass of 64 small images takes
half a step."""
ALLOWANCE_S, VALIDATION_ALLOWANCE_S = 0.015, 0.01
"""Seconds of measuring, and of validating, that even a very short training gets."""
EARLY_STEPS = 3
"""Steps from one measurement to the next, at first; LATER_STEPS once EARLY were made."""
EARLY, LATER_STEPS = 20, 10
SEEN_EVALUATIONS, SEEN_STEPS = 3, 4096
"""Evaluations between steps, or steps, after which a forward pass is observed in few steps only."""


class Measuring(Recording):
    """A recording with hooks on the model and the optimisers, in the steps that are measured.

    Args:
        model: that the loop calls.
        optimizers: of the loop.
        criterion: the loss; None if unknown.
        classes: names of the classes, or None.
        every: measure each n-th step; None as often as the budget allows.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        criterion: Callable[..., Tensor] | None,
        classes: tuple[str, ...] | None,
        every: int | None,
    ) -> None:
        super().__init__(model, optimizers, criterion, classes)
        self.every = every
        self._probe: Probe | None = None
        self._due = self._measured_at = 0
        self._memory_due = 0
        self._stepped = False
        self._ended_step, self._started = time.perf_counter(), time.thread_time()
        self._wait: float | None = None
        self._listening: list[Any] = []
        self._forward_hook: Any = None
        self._seen_evaluations = 0
        self._measures = True
        self._call: tuple[Any, ...] | None = None

    def _unhook(self) -> None:
        self._rest()
        if self._forward_hook is not None:
            self._forward_hook.remove()
            self._forward_hook = None
        if self._probe is not None:
            self._probe.remove()
            self._probe = None

    def _stop_measuring(self, error: Exception) -> None:
        """Measure no further step; the hooks go in `step`, as an optimiser's cannot while it runs.

        Recording the steps continues.
        """
        self._measures = False
        self._due = sys.maxsize
        self.give_up("measuring steps", error)

    def _read_memory(self, step: int) -> None:
        """Read it more often than steps are measured: a reading takes a hundredth of the time."""
        try:
            self.memory.append((step, resident_mb(self.device)))
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self.give_up("reading the memory", error)
        # At growing distances: about 11 readings in the second half of a training of any length.
        self._memory_due = step + max(4, step // 16)

    def _attend(self, step: int, loss: Any, inputs: Any, targets: Any) -> None:
        """Measure the step if it was armed; observe the next ones if a measurement is due."""
        try:
            if self._call is not None:
                self.form = self.form or form_of(self._call, inputs)
                self._call = None
            if not self._listening:
                if self._is_due():
                    self._listen()
            elif self._stepped:
                self._stepped = False
                self._probe_step(step, loss, inputs, targets)
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self._stop_measuring(error)

    def _probe_step(self, step: int, loss: Any, inputs: Any, targets: Any) -> None:
        """Measure the step if it was armed, and arm the next one if it is due."""
        if not self._measures:
            self._unhook()
            return
        # CPU time decides what is measured: other programs on the machine hardly change it.
        cpu = time.thread_time()
        if self._probe is not None and self._probe.before:
            self._measure(step, loss, inputs, targets)
        if self._probe is None:
            if self._is_due():
                self._arm()
            elif self.every is None:
                self._rest()
        self.spent += time.thread_time() - cpu

    def _listen(self) -> None:
        """Observe the optimisers: a step is armed after one of theirs, and measured after the next.

        Most steps have no hook there, which would take as much time as the rest of the watch.
        """
        self._stepped = False
        if self._forward_hook is None:
            self._forward_hook = self.model.register_forward_pre_hook(self._forward_starts)
        for optimizer in self.optimizers:
            self._listening.append(optimizer.register_step_pre_hook(self._optimizer_starts))
        self._listening.append(self.model.register_forward_hook(self._forward_ends))

    def _rest(self) -> None:
        for handle in self._listening:
            handle.remove()
        self._listening = []
        self._observe_no_more()

    def _observe_no_more(self) -> None:
        """Remove the forward hook once the mode of evaluations is known; it costs in each step."""
        known = self._seen_evaluations >= SEEN_EVALUATIONS or self.steps >= SEEN_STEPS
        if known and not self._listening and self._forward_hook is not None:
            self._forward_hook.remove()
            self._forward_hook = None

    def _add_rate(self) -> None:
        try:
            groups = self.optimizers[0].param_groups if self.optimizers else []
            if len(groups) == 1:
                self.rates.append(float(groups[0].get("lr", 0.0)))
                return
            rates = (float(group["lr"]) for group in groups if "lr" in group)
            self.rates.append(max(rates, default=0.0))
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            # Each step has a rate: the last known one, or the default of most optimisers.
            self.rates.append(self.rates[-1] if self.rates else 1e-3)
            self.give_up("recording the learning rates", error)

    def _is_due(self) -> bool:
        if self.every is not None:
            return self.steps - self._measured_at >= self.every
        if self.steps < self._due:
            return False
        if self._may_spend(time.thread_time()):
            return True
        self._due = self.steps + LATER_STEPS  # not in every step: reading the clock costs as well
        return False

    def _may_spend(self, now: float) -> bool:
        """Return whether measured steps may take more CPU time."""
        return self.spent <= max(ALLOWANCE_S, BUDGET * (now - self._started))

    def _arm(self) -> None:
        named = [
            (n, p) for n, p in self.bare.named_parameters() if p.requires_grad and not is_lazy(p)
        ]
        # At the end of a step: whether old gradients remain shows only before the next backward
        # pass.
        self._probe = Probe(named, self.layer_names, self.groups)
        self._measured_at = self.steps

    def _measure(self, step: int, loss: Any, inputs: Any, targets: Any) -> None:
        probe, self._probe = self._probe, None
        assert probe is not None  # noqa: S101 - checked by the caller
        probe.remove()
        before = math.nan if loss is None else float(torch.as_tensor(loss).detach().mean())
        row = probe.row(step, self.rates[-1], before)
        row.separate = probe.is_separate(len(self.optimizers))
        # Any measured step will do: a layer may be skipped in some of them.
        self.had_gradient |= {probe.named[i][0] for i, g in probe.gradients}
        if isinstance(loss, Tensor) and isinstance(probe.output, Tensor) and math.isfinite(before):
            change = self._change(probe, loss, inputs, targets)
            # One loss, but steps along the gradients of several: nothing predicts its change.
            row.change = None if row.separate else change
            self._measure_penalty(probe, row, loss, targets)
        if probe.is_early:
            # Its gradient is that of another batch than its loss: nothing of the two fits together.
            row.change = row.carried = row.clip = row.mixed = None
            row.discarded, row.early = 0, probe.early
        if probe.failure is not None:
            self.give_up("comparing gradients with the computed ones", probe.failure)
        self.rows.append(row)
        self._due = step + (EARLY_STEPS if len(self.rows) < EARLY else LATER_STEPS)

    def _change(self, probe: Probe, loss: Tensor, inputs: Any, targets: Any) -> float | None:
        """Return the actual change of the batch's loss, to be divided by the predicted one."""
        try:
            labels = map_tensors(targets, lambda t: t.to(self.device))
            if self.link is None and self.link_tries < 3:
                self.link_tries += 1
                with weights_before(probe, self.criterion, labels):
                    self.link = link_of(self.criterion, loss, probe.output, labels)
                    given = (loss, probe.output, labels)
                    self.paired = self.paired or pairing(self.criterion, self.link, *given)
            if self.link is None:
                return None
            self.outputs.add(self.link, probe.output, labels)
            if loss.numel() != 1:
                self.note(
                    "the loss given to Watch.step has several values: the effect of a step on it "
                    "is not measured, as how they become one is not known; pass the value whose "
                    "backward() the loop calls"
                )
                return None
            after = self._loss_after(probe, inputs, labels)
            return None if after is None else after - float(loss.detach())
        except Exception as error:  # noqa: BLE001 - the user's model and criterion may raise any
            self.link = None
            self.link_tries = 3
            self.give_up("computing the loss of a batch again", error)
            return None

    def _measure_penalty(self, probe: Probe, row: StepRow, loss: Tensor, targets: Any) -> None:
        if self.penalty.is_over:
            return
        try:
            labels = map_tensors(targets, lambda t: t.to(self.device))
            self.penalty.add(probe, row, self.link, self.criterion, loss, labels)
        except Exception as error:  # noqa: BLE001 - the user's criterion may raise any
            self.penalty.count = sys.maxsize
            # Without a link nothing says that the criterion takes these targets.
            if self.link is not None:
                self.give_up("measuring a penalty in the loss", error)

    def _loss_after(self, probe: Probe, inputs: Any, labels: Any) -> float | None:
        """Return the batch's loss after the step, with the dropout it had before."""
        if self.link is None or self.form == "other" or probe.random is None or not rows(inputs):
            return None
        kind, dtype = probe.autocast or (self.device.type, torch.bfloat16)
        self.is_busy = True
        try:
            with untouched(self.bare, self.device):
                # The same dropout masks as before the step, or the difference would be noise.
                probe.random.restore(self.device)
                moved = map_tensors(inputs, lambda t: t.to(self.device))
                # The bare module: a compiled one would be compiled again without gradients.
                with torch.autocast(kind, dtype, enabled=probe.autocast is not None):
                    output = main_output(call_as(self.form, self.bare, moved))
                return None if output is None else float(self.link.loss(output, labels))
        finally:
            self.is_busy = False

    def _forward_starts(self, module: nn.Module, inputs: Any) -> None:
        if self.is_busy:
            return
        try:
            if torch.is_grad_enabled():
                if self._wait is None:
                    self._wait = time.perf_counter() - self._ended_step
                if self._probe is not None and self._measures:
                    started = time.thread_time()
                    self._probe.forward_starts(self.device, inputs)
                    self.spent += time.thread_time() - started
                return
            self.evaluations += 1
            if self.mode_layers and any(m.training for m in self.mode_layers):
                self.train_mode_evaluations += 1
            self._wait = None
            if not math.isnan(self._ended_step):
                self._ended_step = math.nan  # the time until the next step is not waiting
                self._seen_evaluations += 1
                self._observe_no_more()
        except Exception as error:  # noqa: BLE001 - nothing of the watch may end the loop
            self._stop_measuring(error)

    def _forward_ends(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self.is_busy or not self._measures or not torch.is_grad_enabled():
            return
        try:
            if self.is_lazy:
                self.inspect(first=self.steps == 0)
                self._arm()
            # The first of a step only: a loop that never calls `step` would keep all its batches.
            if not self.form and self._call is None:
                self._call = inputs
            if self._probe is not None:
                found = main_output(output)
                self._probe.output = None if found is None else found.detach()
        except Exception as error:  # noqa: BLE001 - as above
            self._stop_measuring(error)

    def _optimizer_starts(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.optimizer_steps += 1
        self.stepped.add(id(optimizer))
        self._stepped = True
        if self._probe is None or not self._measures:
            return
        started = time.thread_time()
        try:
            closure = any(callable(value) for value in (*args[1:], *kwargs.values()))
            self._probe.optimizer_starts(optimizer, closure=closure)
        except Exception as error:  # noqa: BLE001 - as above
            self._stop_measuring(error)
        self.spent += time.thread_time() - started
