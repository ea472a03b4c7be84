"""A penalty on the weights in the loss: how long is its gradient beside that of the rest?

A criterion that holds the penalty depends on the weights even where its outputs are constants: the
gradient of that is the penalty's. A term that the loop adds to the criterion's value is compared
with the usual penalties: the one whose ratio to the term stays the same is it.
"""

from __future__ import annotations

import itertools
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.doctor.programs.measurements import Penalty
from mien.doctor.programs.probe import is_loss_scale
from mien.doctor.programs.trees import unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mien.doctor.programs.link import Link
    from mien.doctor.programs.probe import Probe, StepRow

MAX_MEASURED = 12
"""Measured steps in which a penalty is measured: later it has shrunk the weights already."""
MIN_MEASURED = 3
SAME = 1e-3
"""Relative difference up to which two gradients, or a penalty's factors in two steps, are equal."""
MIN_RANGE = 1e-2
"""Relative range of a penalty over the measured steps, without which its factor shows nothing."""

SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": lambda w: w.abs().sum(),
    "squared": lambda w: w.square().sum(),
}
FORMS = tuple(itertools.product(SUMS, (False, True)))
"""Penalties by their kind, and whether parameters of one dimension are left out."""


class PenaltyMeter:
    """Collects what the first measured steps show of a penalty."""

    def __init__(self) -> None:
        self.ratios: list[float] = []
        self.added: list[dict[tuple[str, bool], tuple[float, float, float]]] = []
        self.count = 0

    @property
    def is_over(self) -> bool:
        """Whether no further step is measured."""
        return self.count >= MAX_MEASURED

    def add(
        self, probe: Probe, row: StepRow, link: Link | None, criterion: Any, loss: Tensor,
        targets: Any,
    ) -> None:  # fmt: skip
        """Measure a step.

        Args:
            probe: of the step, after it.
            row: its measurements.
            link: that reproduces the loop's loss, or None.
            criterion: given to `watch`, or None.
            loss: of the loop.
            targets: of the batch.
        """
        self.count += 1
        # A hook of the loop's own may change gradients, and must not run again.
        if any(p._backward_hooks for _, p in probe.named) or loss.numel() != 1:
            self.count = MAX_MEASURED
        elif link is not None:
            with weights_before(probe, link.loss, targets) as depends:
                found = own_gradient(link.loss, probe, targets) if depends else None
            if found is None:
                self.count = MAX_MEASURED
            else:
                self.ratios.append(_ratio(probe, row, found))
        elif criterion is not None:
            self._add_term(probe, row, float(loss.detach()) - _value(criterion, probe, targets))

    def _add_term(self, probe: Probe, row: StepRow, term: float) -> None:
        """Compare a term that the loop added to the criterion's value with the usual penalties."""
        if not (math.isfinite(term) and term > 0):
            self.count = MAX_MEASURED
            return
        found = {}
        for kind, only_weights in FORMS:
            kept = [w if w.ndim > 1 or not only_weights else None for w in probe.before]
            total = float(sum(SUMS[kind](w) for w in kept if w is not None))
            if total <= 0:
                continue
            factor = term / total
            slope = torch.sign if kind == "absolute" else (lambda w: 2 * w)
            gradients = [None if w is None else factor * slope(w) for w in kept]
            found[kind, only_weights] = (factor, total, _ratio(probe, row, gradients))
        self.added.append(found)

    def result(self) -> Penalty | None:
        """Return the penalty; None where there is none, as far as is known."""
        if len(self.ratios) >= MIN_MEASURED:
            return Penalty(float(np.median(self.ratios)), len(self.ratios))
        if len(self.added) < MIN_MEASURED:
            return None
        fits = []
        for key in FORMS:
            rows = [found[key] for found in self.added if key in found]
            if len(rows) < len(self.added):
                continue
            factors, totals, ratios = (np.array(v) for v in zip(*rows, strict=True))
            spread = float(factors.std() / factors.mean())
            varies = float(totals.max() / totals.min()) - 1 > MIN_RANGE
            if varies and spread < SAME:
                fits.append((spread, Penalty(float(np.median(ratios)), len(rows), key[0],
                                             float(np.median(factors)))))  # fmt: skip
        return min(fits, key=lambda fit: fit[0])[1] if fits else None


@contextmanager
def weights_before(probe: Probe, criterion: Any, targets: Any) -> Iterator[bool]:
    """Put the weights before the step in their place, where the criterion itself depends on them.

    The loop's loss and its gradients were computed with those; a step takes small weights across 0.
    """
    if not _has_own_weights(criterion, probe, targets):
        yield False
        return
    after = [p.data for _, p in probe.named]
    try:
        # No copy into the weights: autograd checks their version.
        for (_, p), before in zip(probe.named, probe.before, strict=True):
            p.data = before
        yield True
    finally:
        for (_, p), data in zip(probe.named, after, strict=True):
            p.data = data


def _has_own_weights(criterion: Any, probe: Probe, targets: Any) -> bool:
    if criterion is None or not any(p.requires_grad for _, p in probe.named):
        return False
    try:
        with torch.enable_grad():
            value = criterion(unnamed(probe.output.detach()), targets)
    except Exception:  # noqa: BLE001 - targets may need a conversion first
        return False
    return isinstance(value, Tensor) and value.requires_grad


def own_gradient(
    criterion: Callable[..., Any], probe: Probe, targets: Any
) -> list[Tensor | None] | None:
    """Return the criterion's gradient for constant outputs; None if it has none of that kind.

    It must be the same for other outputs, or it is no penalty: weights of the criterion's own that
    meet the outputs, such as a temperature, have such a gradient as well.
    """
    first = _gradient(criterion, probe, probe.output, targets)
    if first is None:
        return None
    other = _gradient(criterion, probe, 0.9 * probe.output.flip(0), targets)
    if other is None:
        return None
    pairs = [(a, b) for a, b in zip(first, other, strict=True) if a is not None and b is not None]
    size = sum(float(a.double().square().sum()) for a, _ in pairs)
    change = sum(float((a - b).double().square().sum()) for a, b in pairs)
    same = len(pairs) == sum(a is not None for a in first)
    return first if same and size > 0 and change <= SAME**2 * size else None


def _gradient(
    criterion: Callable[..., Any], probe: Probe, output: Tensor, targets: Any
) -> list[Tensor | None] | None:
    with torch.enable_grad():
        value = torch.as_tensor(criterion(unnamed(output.detach()), targets)).mean()
        if not value.requires_grad:
            return None
        found = torch.autograd.grad(value, [p for _, p in probe.named], allow_unused=True)
    return None if all(g is None for g in found) else list(found)


def _value(criterion: Any, probe: Probe, targets: Any) -> float:
    with torch.no_grad():
        return float(torch.as_tensor(criterion(unnamed(probe.output), targets)).mean())


def _ratio(probe: Probe, row: StepRow, penalty: Sequence[Tensor | None]) -> float:
    """Return the length of the penalty's gradient over that of the rest's."""
    clip = row.clip
    clipped = clip is not None and 0 < clip < 1 and not is_loss_scale(clip)
    scale = clip if clipped and clip is not None else 1.0
    own = rest = 0.0
    for place, gradient in probe.gradients:
        part = penalty[place]
        if part is not None:
            own += float(part.double().square().sum())
            rest += float((gradient.double() / scale - part.double()).square().sum())
    return math.sqrt(own / max(rest, 1e-24))
