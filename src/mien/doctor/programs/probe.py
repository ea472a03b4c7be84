"""One measured step: gradients, weights and losses before and after, without a trace.

Generators, running statistics and gradients stay as they were: the training takes the same path,
bit for bit.
"""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.doctor.programs.inspection import is_lazy
from mien.doctor.programs.mixed import Losses, cosine, first, smallest_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRACKED = 3
"""Parameters whose gradient is compared with what the backward passes computed."""
FAILURES = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)
"""What a user's model may raise on inputs that are not the loop's own batches."""
MIN_PASSES = 4
"""Backward passes of a step from which using the last one alone discards the others."""


@dataclass(slots=True)
class RandomState:
    """The states of all generators that a forward pass may use."""

    cpu: Tensor
    cuda: Tensor | None
    python: Any
    numpy: Any

    @classmethod
    def take(cls, device: torch.device) -> RandomState:
        """Return the current states."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), cuda, random.getstate(), np.random.get_state())

    def restore(self, device: torch.device) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)
        random.setstate(self.python)
        np.random.set_state(self.numpy)


@contextmanager
def untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore buffers, attributes, modes and generators after forward passes inside the block."""
    state = RandomState.take(device)
    modes = [(module, module.training) for module in model.modules()]
    # A forward pass may change batch norm's running statistics in place, and put another tensor in
    # the place of a buffer or of an attribute, such as a recurrent network's state.
    places: list[tuple[Any, dict[str, Any]]] = []
    for module in model.modules():
        own = {n: b for n, b in module._buffers.items() if isinstance(b, Tensor)}
        places += [(vars(module), dict(vars(module))), (module._buffers, own)]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not is_lazy(b)]
    try:
        with torch.no_grad():
            yield
    finally:
        try:
            for place, values in places:
                for name, known in values.items():
                    if place.get(name) is not known:
                        place[name] = known
            with torch.no_grad():
                for buffer, value in buffers:
                    # Compared first: an in-place copy would bump the version that autograd checks.
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
        finally:
            for module, mode in modes:
                module.training = mode
            state.restore(device)


@contextmanager
def same_random(loader: Any, device: torch.device) -> Iterator[None]:
    """Restore the generators after a pass over a loader, which draws a seed for its workers."""
    state = RandomState.take(device)
    own = getattr(loader, "generator", None)
    kept = own.get_state() if isinstance(own, torch.Generator) else None
    try:
        yield
    finally:
        state.restore(device)
        if isinstance(own, torch.Generator) and kept is not None:
            own.set_state(kept)


@dataclass(slots=True)
class StepRow:
    """Measurements of one step.

    Attributes:
        step: counted from 0.
        rate: learning rate.
        change: loss after minus loss before; None if the loss could not be computed again.
        predicted: first-order prediction of that change.
        loss: before the step.
        norm: of the whole gradient.
        layers: of each weight: root mean square of gradient and of weight, update over weight.
        ratios: of each weight: norm of the gradient over that of the weight.
        zeros: fraction of gradient entries that are exactly zero; 0 unless the output is float16.
        carried: whether the gradient contained that of the step before; None if not known.
        clip: used over computed gradient of the tracked parameters; None if not known.
        discarded: backward passes before the step of which only the last one's gradient was used; 0
            where all were, or there was one, and -1 where none was.
        separate: whether the optimisers followed different losses: one did not step, or there was a
            backward pass between their steps.
        mixed: a parameter whose step used the gradient of another optimiser's loss beside its own,
            and the cosine between the two; None where none did.
        early: backward passes between `Watch.step` and an optimiser's step that came after it, in
            the wrong order; None where the order is right.
    """

    step: int
    rate: float
    change: float | None
    predicted: float
    loss: float
    norm: float
    layers: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    zeros: float = 0.0
    carried: bool | None = None
    clip: float | None = None
    discarded: int = 0
    separate: bool = False
    mixed: tuple[str, float] | None = None
    early: int | None = None


class Probe:
    """Watches one step from the end of the one before.

    Args:
        named: trainable parameters by name.
        layers: names of the weights that are compared with each other.
        groups: identities of each optimiser's parameters, where there are several optimisers.
    """

    def __init__(
        self,
        named: Sequence[tuple[str, nn.Parameter]],
        layers: set[str],
        groups: Sequence[set[int]] = (),
    ) -> None:
        self.named, self.layer_names = named, layers
        self.random: RandomState | None = None
        self.autocast: tuple[str, torch.dtype] | None = None
        self.output: Any = None
        self.before: list[Tensor] = []
        self.gradients: list[tuple[int, Tensor]] = []
        self.old: list[Tensor | None] = []
        self.computed: list[Tensor | None] = []
        self.failure: Exception | None = None
        self.passes = 0
        self.last: list[Tensor | None] = []
        self.discarded, self.input_gradients = 0, False
        self.has_closure = False
        # Passes before an optimiser's step that no forward pass came before; whether one came.
        self.early: int | None = None
        self.is_late = False
        self.starts: dict[int, int] = {}
        self.handles: list[Any] = []
        # The smallest weights: copying their gradients costs next to nothing.
        small = sorted((p for _, p in named if p.ndim > 1), key=lambda p: p.numel())[:TRACKED]
        self.tracked = small + smallest_of_each(groups, named, small)
        self.unhooked = [p for p in self.tracked if p._backward_hooks is None]
        self.losses = Losses(named) if len(groups) > 1 else None
        for number, parameter in enumerate(self.tracked):
            old = parameter.grad
            self.old.append(None if old is None or _is_sparse(old) else first(old).clone())
            self.computed.append(None)
            self.last.append(None)
            hook: Any = parameter.register_hook  # has no types
            self.handles.append(hook(self._collector(number)))

    def _collector(self, number: int) -> Any:
        def collect(gradient: Tensor) -> None:
            self.passes += 1
            # A sparse gradient, of an embedding, has no first entries; it is not compared.
            if self.failure is not None or _is_sparse(gradient):
                return
            try:
                known = self.computed[number]
                value = first(gradient).clone()
                self.last[number] = value
                self.computed[number] = value if known is None else known + value
            except Exception as error:  # noqa: BLE001 - it would end the loop's backward pass
                self.failure = error
                self.computed = [None] * len(self.computed)

        return collect

    def forward_starts(self, device: torch.device, inputs: Any) -> None:
        """Take the generators' states before the first forward pass of the step."""
        if any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            self.input_gradients = True
        if self.random is None:
            self.random = RandomState.take(device)
            if torch.is_autocast_enabled(device.type):
                self.autocast = (device.type, torch.get_autocast_dtype(device.type))

    @torch.no_grad()
    def optimizer_starts(self, optimizer: Any, *, closure: bool = False) -> None:
        """Copy weights and gradients before the first optimiser of the step.

        Args:
            optimizer: that takes its step.
            closure: whether it got one, which makes the forward passes inside the step.
        """
        self.starts[id(optimizer)] = self.passes
        if self.random is not None or closure:
            self.is_late = True
        elif self.early is None:
            self.early = self.passes
        if self.losses is not None and self.failure is None:
            self.losses.optimizer_starts(optimizer, self.tracked, self.computed)
        # Its closure makes the backward passes inside the step.
        self.has_closure = isinstance(optimizer, torch.optim.LBFGS)
        if self.before:
            return
        self.before = [p.detach().clone() for _, p in self.named]
        for i, (_, p) in enumerate(self.named):
            if p.grad is not None:
                grad = p.grad.detach()
                # Copies, both: the next zero_grad or backward pass may write into the gradient
                # itself.
                self.gradients.append((i, grad.to_dense() if _is_sparse(grad) else grad.clone()))
        self.discarded = self._discarded()

    def _discarded(self) -> int:
        """Return the backward passes so far if only the last one's gradient is used, -1 if none is
        as all were set to zero, else 0.
        """
        made = [(p.grad, x) for p, x in zip(self.tracked, self.computed, strict=True)]
        made = [(g, x) for g, x in made if x is not None and bool(x.any())]
        if made and all(g is None or not bool(first(g).any()) for g, _ in made):
            return -1
        count = self.passes // max(1, len(self.tracked))
        # Two or three passes with one used are SAM's; attacks on the inputs make more, for their
        # own gradient.
        if count < MIN_PASSES or self.input_gradients or self.failure is not None:
            return 0
        pairs = [
            (first(p.grad), last, total)
            for p, last, total in zip(self.tracked, self.last, self.computed, strict=True)
            if p.grad is not None and last is not None and total is not None
        ]
        if not pairs:
            return 0
        used, last, total = (torch.cat([pair[i] for pair in pairs]).double() for i in range(3))
        # Parallel to the last one, whatever clipping and loss scaling do to the length.
        alone = cosine(used, last) > 0.9999 and cosine(used, total) < 0.9999
        return count if alone else 0

    @property
    def is_early(self) -> bool:
        """Return whether all forward passes came after the optimisers' steps: those of the next
        batch, since `Watch.step` was called before the optimisers'.
        """
        return self.early is not None and not self.is_late and self.random is not None

    def is_separate(self, optimizers: int) -> bool:
        """Return whether the optimisers of the loop, more than one, followed different losses."""
        return optimizers > 1 and (
            len(self.starts) < optimizers or len(set(self.starts.values())) > 1
        )

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        # In each backward pass PyTorch calls the empty dictionary of hooks that is left, which took
        # 2% of the steps of a small network. Others' hooks stay.
        for parameter in self.unhooked:
            if not parameter._backward_hooks:
                parameter._backward_hooks = None

    @torch.no_grad()
    def row(self, step: int, rate: float, loss: float) -> StepRow:
        """Return the measurements after the optimisers' steps, without the loss after."""
        found = [(self.named[i], self.before[i], g) for i, g in self.gradients]
        if not found:
            return StepRow(step, rate, None, 0.0, loss, 0.0, discarded=self.discarded)
        weights = [b for _, b, _ in found]
        gradients = [g.to(b.dtype) for _, b, g in found]
        # One call for all tensors: one each would cost more than the arithmetic of small layers.
        steps = torch._foreach_sub([p.detach() for (_, p), _, _ in found], weights)
        sizes = [torch.stack(torch._foreach_norm(x)) for x in (gradients, weights, steps)]
        lengths = torch.stack(sizes).double().cpu().numpy()
        # First order: the change of the loss is the gradient times the step.
        products = [
            torch.dot(g.reshape(-1), s.reshape(-1)) for g, s in zip(gradients, steps, strict=True)
        ]
        predicted = float(torch.stack(products).double().sum())
        row = StepRow(step, rate, None, predicted, loss, float(np.sqrt((lengths[0] ** 2).sum())))
        for column, ((name, p), _, _) in enumerate(found):
            if name in self.layer_names:
                g, w, s = (float(v) for v in lengths[:, column])
                root = p.numel() ** 0.5
                row.layers[name] = (g / root, w / root, s / max(w, 1e-12))
                row.ratios[name] = g / max(w, 1e-12)
        # Only float16 underflows so early; counting takes as long as the norms.
        if isinstance(self.output, Tensor) and self.output.dtype == torch.float16:
            entries = sum(g.numel() for g in gradients)
            nonzero = sum(int(torch.count_nonzero(g)) for g in gradients)
            row.zeros = 1 - nonzero / max(1, entries)
        row.discarded, row.mixed = self.discarded, self.losses.mixed if self.losses else None
        self._compare(row)
        return row

    def _compare(self, row: StepRow) -> None:
        """Store whether the used gradient is the computed one, plus that of the step before."""
        if self.has_closure:
            row.carried = self._closure_carries()
            return
        known = {id(self.named[i][1]): g for i, g in self.gradients}
        triples = [
            (first(known[id(p)]), new, old)
            for p, new, old in zip(self.tracked, self.computed, self.old, strict=True)
            if new is not None and id(p) in known
        ]
        if not triples:
            return
        # In double, because cosines are compared by their fourth digit.
        used = torch.cat([u for u, _, _ in triples]).double()
        new = torch.cat([n for _, n, _ in triples]).double()
        size, length = float(new.norm()), float(used.norm())
        row.clip = length / size if size > 0 else None
        self._undo_clipping(row, used, new)
        if any(old is None for _, _, old in triples):
            row.carried = False  # cleared before the backward pass
            return
        old = torch.cat([t[2] for t in triples if t[2] is not None]).double()
        # Parallel to the sum, but not to the new gradient alone: the old one was not cleared.
        # Clipping and loss scaling change lengths, not directions.
        together, alone = cosine(used, new + old), cosine(used, new)
        row.carried = together > 0.9999 and alone < 0.9999 and float(old.norm()) > 0

    def _closure_carries(self) -> bool | None:
        """Return whether the closure added to the gradients before it; None if not known."""
        if len(self.starts) != 1:
            return None
        known = [
            (first(p.grad), last, total, torch.zeros_like(total) if old is None else old)
            for p, last, total, old in zip(
                self.tracked, self.last, self.computed, self.old, strict=True
            )
            if p.grad is not None and last is not None and total is not None
        ]
        if not known:
            return None
        used, last, total, old = (torch.cat([k[i] for k in known]).double() for i in range(4))
        if cosine(used, last) > 0.9999:
            return False
        return max(cosine(used, total), cosine(used, total + old)) > 0.9999

    def _undo_clipping(self, row: StepRow, used: Tensor, new: Tensor) -> None:
        """Predict from the computed gradient: the loss does not know of the clipping.

        In float16 the computed gradient is that of the scaled loss, and nothing is known of its
        own length. Averaged or noisy gradients have another direction, and stay as they are.
        """
        ratio = row.clip
        if ratio is None or not 0 < ratio < 1 or is_loss_scale(ratio) or self._is_half():
            return
        # clip_grad_value_ clamps each entry, clip_grad_norm_ keeps the direction.
        limit = float(used.abs().max())
        if cosine(used, new) > 0.9999 or torch.allclose(used, new.clamp(-limit, limit)):
            row.predicted /= ratio

    def _is_half(self) -> bool:
        half = self.autocast is not None and self.autocast[1] == torch.float16
        return half or (isinstance(self.output, Tensor) and self.output.dtype == torch.float16)


def _is_sparse(gradient: Tensor) -> bool:
    return gradient.layout != torch.strided


def is_loss_scale(ratio: float) -> bool:
    """Return whether a ratio is a whole power of two: GradScaler's scales are, clipping's not."""
    power = math.log2(ratio)
    return abs(power - round(power)) < 1e-3
