"""Watch any PyTorch training: read `watch` first, then `Watch.step`.

The loop stays as it is. Every few steps one is measured (probe.py): only then are there hooks on
the optimisers and on the model's output, as a hook costs time in each step. How often depends on
what measuring costs: at most BUDGET of the loop's CPU time, or ALLOWANCE_S if that is more.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.inspection import bare
from mien.doctor.programs.link import link_of
from mien.doctor.programs.memory import resident_mb
from mien.doctor.programs.probe import Probe, untouched
from mien.doctor.programs.recording import Recording
from mien.doctor.programs.supply import diagnose_recording
from mien.doctor.programs.trees import call, main_output, map_tensors, rows
from mien.doctor.programs.validation import Scorer
from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from mien.doctor.report import Report

BUDGET = 0.007
"""Fraction of the loop's CPU time that measuring may take; the hooks come on top."""
ALLOWANCE_S = 0.015
"""Seconds of measuring that even a very short training gets."""
ORDERED_STEPS, SIZED_STEPS = 512, 64
"""First steps whose targets are kept, and whose batch size is recorded."""
EARLY_STEPS = 3
"""Steps from one measurement to the next, at first; LATER_STEPS once EARLY were made."""
EARLY, LATER_STEPS = 20, 10
SEEN_EVALUATIONS, SEEN_STEPS = 3, 4096
"""Evaluations between steps, or steps, after which a forward pass is observed in few steps only."""
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

    Args:
        model: the module that the loop calls; also compiled, or in DataParallel.
        optimizer: of the model, or several.
        loss: the criterion, called as `loss(predictions, targets)`. Without it, it is inferred
            from the loss tensors where that is possible.
        classes: names of the classes, in the order of the model's outputs.
        every: measure each n-th step, 1 or more; by default as often as 0.7% of the CPU time
            allows.

    Raises:
        ConfigError: an argument is of the wrong type, or `every` is out of range.
    """
    return Watch(model, optimizer, loss, classes, every=every)


class Watch(Recording):
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
        given = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        _check(model, given, loss, every)
        super().__init__(model, given, loss, classes)
        self.every = every
        self._probe: Probe | None = None
        self._due = self._measured_at = 0
        self._stepped = False
        self._ended_step, self._started = time.perf_counter(), time.thread_time()
        self._wait: float | None = None
        self._listening: list[Any] = []
        self._forward_hook: Any = None
        self._seen_evaluations = 0
        self._next_epoch, self._evaluates = 0, True

    def __enter__(self) -> Watch:
        """Install the hooks."""
        self._ended_step, self._started = time.perf_counter(), time.thread_time()
        self._listen()
        self._arm()
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
        self._rest()
        if self._forward_hook is not None:
            self._forward_hook.remove()
            self._forward_hook = None
        if self._probe is not None:
            self._probe.remove()
            self._probe = None

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
        if loss is not None:
            self.losses.append(loss.detach() if isinstance(loss, Tensor) else float(loss))
        self.rates.append(self._rate())
        # One layer before all of them: this runs in every step.
        if self.mode_layers and not self.mode_layers[0].training:
            self.eval_mode_steps += all(not m.training for m in self.mode_layers)
        if step < ORDERED_STEPS:
            self.order.add(targets)
            if step < SIZED_STEPS:
                self.batch_sizes.append(rows(inputs))
        if not self.boundaries and not self.train.is_full:
            self.train.add(inputs, targets)
        if self._listening:
            if self._stepped:
                self._stepped = False
                self._probe_step(step, loss, inputs, targets)
        elif self.steps >= self._due and self._is_due():
            self._listen()
        self._ended_step = time.perf_counter()

    def validate(self, model: nn.Module | None, inputs: Any, targets: Any = None) -> None:
        """Evaluate validation data, once an epoch; several calls without a step add up.

        The model is evaluated in evaluation mode, and its mode is restored.

        Args:
            model: to evaluate; None takes the watched one.
            inputs: all of validation, a batch of it, or a loader of (inputs, targets).
            targets: of `inputs`; None where `inputs` is a loader.
        """
        if targets is None and not isinstance(inputs, Tensor) and hasattr(inputs, "__iter__"):
            for part in inputs:
                self.validate(model, *part)
            return
        started = time.thread_time()
        within = self._may_spend(started)
        if not self.boundaries or self.boundaries[-1] != self.steps:
            self.boundaries.append(self.steps)
            self.validation.start_epoch()
            epoch = len(self.boundaries)
            # Losses over epochs are judged by their shape: later ones need not be dense.
            self._evaluates = within or epoch <= EARLY_EPOCHS or epoch >= self._next_epoch
            if self._evaluates:
                self._next_epoch = math.ceil(epoch * EPOCH_GROWTH)
        self.evaluations += 1
        if self._evaluates:
            self._evaluate(model, inputs, targets, full=within)
        self._ended_step = time.perf_counter()
        self.spent += time.thread_time() - started

    def _evaluate(self, model: nn.Module | None, inputs: Any, targets: Any, *, full: bool) -> None:
        self.is_busy = True
        try:
            target = bare(model or self.model)
            with untouched(target, self.device):
                self.validation.add(self.scorer(target), inputs, targets, full=full)
        finally:
            self.is_busy = False

    def report(self) -> Report:
        """Return the findings so far; it evaluates the kept examples and trains nothing."""
        return diagnose_recording(self)

    def scorer(self, model: nn.Module) -> Scorer:
        """Return how validation data are predicted and scored."""
        return Scorer(lambda inputs: self.predict(model, inputs), self.link, self.device)

    def _probe_step(self, step: int, loss: Any, inputs: Any, targets: Any) -> None:
        """Measure the step if it was armed, and arm the next one if it is due."""
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
        self._listening = [
            *(o.register_step_pre_hook(self._optimizer_starts) for o in self.optimizers),
            self.model.register_forward_hook(self._forward_ends),
        ]

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

    def _rate(self) -> float:
        groups = self.optimizers[0].param_groups if self.optimizers else []
        if len(groups) == 1:
            return float(groups[0].get("lr", 0.0))
        return max((float(group["lr"]) for group in groups if "lr" in group), default=0.0)

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
        """Return whether measuring may take more CPU time."""
        return self.spent <= max(ALLOWANCE_S, BUDGET * (now - self._started))

    def _arm(self) -> None:
        named = [(n, p) for n, p in self.bare.named_parameters() if p.requires_grad]
        # At the end of a step: whether old gradients remain shows only before the next backward
        # pass.
        self._probe = Probe(named, self.layer_names)
        self._measured_at = self.steps

    def _measure(self, step: int, loss: Any, inputs: Any, targets: Any) -> None:
        probe, self._probe = self._probe, None
        assert probe is not None  # noqa: S101 - checked by the caller
        probe.remove()
        before = math.nan if loss is None else float(torch.as_tensor(loss).detach().mean())
        row = probe.row(step, self._rate(), before)
        # Any measured step will do: a layer may be skipped in some of them.
        self.had_gradient |= {probe.named[i][0] for i, g in probe.gradients}
        if isinstance(loss, Tensor) and isinstance(probe.output, Tensor) and math.isfinite(before):
            self._find_link(loss, probe.output, targets)
            if self.link is not None:
                self.outputs.add(self.link, probe.output, targets)
                after = self._loss_after(probe, inputs, targets)
                # The actual change, to be divided by the predicted one.
                row.change = None if after is None else after - before
        self.rows.append(row)
        self.memory.append((step, resident_mb(self.device)))
        self._due = step + (EARLY_STEPS if len(self.rows) < EARLY else LATER_STEPS)

    def _find_link(self, loss: Tensor, output: Tensor, targets: Any) -> None:
        if self.link is None and self.link_tries < 3:
            self.link_tries += 1
            moved = map_tensors(targets, lambda t: t.to(self.device))
            self.link = link_of(self.criterion, loss, output, moved)

    def _loss_after(self, probe: Probe, inputs: Any, targets: Any) -> float | None:
        """Return the batch's loss after the step, with the dropout it had before."""
        if self.link is None or probe.random is None or not rows(inputs):
            return None
        kind, dtype = probe.autocast or (self.device.type, torch.bfloat16)
        self.is_busy = True
        try:
            with untouched(self.bare, self.device):
                # The same dropout masks as before the step, or the difference would be noise.
                probe.random.restore(self.device)
                moved = map_tensors(inputs, lambda t: t.to(self.device))
                labels = map_tensors(targets, lambda t: t.to(self.device))
                # The bare module: a compiled one would be compiled again without gradients.
                with torch.autocast(kind, dtype, enabled=probe.autocast is not None):
                    output = main_output(call(self.bare, moved))
                return None if output is None else float(self.link.loss(output, labels))
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
            self.note(f"the loss could not be computed again after a step: {error}")
            self.link = None
            self.link_tries = 3
            return None
        finally:
            self.is_busy = False

    def _forward_starts(self, module: nn.Module, inputs: Any) -> None:
        if self.is_busy:
            return
        if not torch.is_grad_enabled():
            self.evaluations += 1
            if self.mode_layers and any(m.training for m in self.mode_layers):
                self.train_mode_evaluations += 1
            self._wait = None
            if not math.isnan(self._ended_step):
                self._ended_step = math.nan  # the time until the next step is not waiting
                self._seen_evaluations += 1
                self._observe_no_more()
            return
        if self._wait is None:
            self._wait = time.perf_counter() - self._ended_step
        if self._probe is not None:
            self._probe.forward_starts(self.device)

    def _forward_ends(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._probe is not None and not self.is_busy and torch.is_grad_enabled():
            found = main_output(output)
            self._probe.output = None if found is None else found.detach()

    def _optimizer_starts(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.optimizer_steps += 1
        self._stepped = True
        if self._probe is not None:
            started = time.thread_time()
            self._probe.optimizer_starts()
            self.spent += time.thread_time() - started


def _check(
    model: Any, optimizers: Iterable[Any], loss: Any, every: int | None
) -> None:  # fmt: skip
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model: expected a torch.nn.Module, found {type(model).__name__}",
            hint="pass the module that the loop calls",
        )
    for optimizer in optimizers:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ConfigError(
                f"optimizer: expected a torch.optim.Optimizer, found {type(optimizer).__name__}",
                hint="pass one, or a list of several",
            )
    if loss is not None and not callable(loss):
        raise ConfigError(
            f"loss: expected a criterion such as torch.nn.CrossEntropyLoss(), found "
            f"{type(loss).__name__}",
            hint="pass the function, not its value; Watch.step takes the value",
        )
    if every is not None and every < 1:
        raise ConfigError(
            f"every: {every!r} is out of range, 1 or more", hint="leave it out for the default"
        )
