"""Do outputs and targets broadcast in the loss, so that each output meets each target?

A measured step's loss that the criterion gives for the shapes as they are, and not for equal ones,
proves it. Where none could be computed again it is judged for the report, from the recorded losses:
a loss that compares all outputs with all targets of a batch has a lower bound that no network
beats, the loss of the best constant for these targets. A sound training gets below it.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.doctor.programs.link import criteria
from mien.doctor.programs.probe import FAILURES, untouched
from mien.doctor.programs.program import Broadcast
from mien.doctor.programs.sample import MAX_TARGET_VALUES
from mien.doctor.programs.trees import rows, unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.doctor.programs.link import Link
    from mien.doctor.programs.recording import Recording

MIN_STEPS, MAX_STEPS = 20, 32
"""Recorded steps that are compared with the bound, the last ones of those with known targets."""
MAX_PAIRS = 2**24
"""Elements of the broadcast shape up to which a measured step is tried: masks have many."""
TOLERANCE = 1e-4
"""Relative difference up to which two losses are equal."""
LAST, LEARNT = 16, 0.8
"""Last losses, and the loss of equal shapes over the other, that show a sound training."""
SEARCHED = 40
"""Evaluations that narrow the best constant down to a millionth of its range."""


def pairing(
    criterion: Callable[..., Tensor] | None, link: Link | None, loss: Tensor, output: Tensor,
    targets: Any,
) -> Broadcast | None:  # fmt: skip
    """Return how a step's outputs and targets broadcast, if that gives its loss; else None.

    Args:
        criterion: given to `watch`; None infers it from the loss tensor.
        link: from output and targets to the loss; None where it is not known.
        loss: of the loop, a scalar.
        output: of the network, in the same forward pass.
        targets: given to `Watch.step`.
    """
    if not isinstance(targets, Tensor) or loss.numel() != 1:
        return None
    try:
        if link is not None:
            output, targets = link.transform(output), link.convert(targets)
        wide = np.broadcast_shapes(output.shape, targets.shape)
        if not _meet_all(output, targets) or math.prod(wide) > MAX_PAIRS:
            return None
    except FAILURES:
        return None  # they do not broadcast at all
    for function in _functions(criterion, loss):
        with torch.no_grad(), warnings.catch_warnings():
            # PyTorch warns of such shapes, which here are tried on purpose.
            warnings.simplefilter("ignore")
            found = _of_pairs(function, output, targets)
        if found is not None and _close(found.loss, float(loss.detach())):
            return replace(found, is_reproduced=True)
    return None


def _of_pairs(
    criterion: Callable[..., Tensor], output: Tensor, targets: Tensor
) -> Broadcast | None:
    """Return how the shapes of a batch broadcast, if its loss is that of all pairs; else None."""
    wide = np.broadcast_shapes(output.shape, targets.shape)
    loss = _value(criterion, output, targets)
    # Only a loss of single elements has the same value for copies: cross entropy takes such shapes
    # for classes, and a function may reshape them itself.
    copies = _value(criterion, output.expand(wide), targets.expand(wide))
    equal = _value(criterion, output.reshape(targets.shape), targets)
    if not _close(loss, copies) or math.isnan(equal) or _close(loss, equal):
        return None
    return Broadcast(tuple(output.shape), tuple(targets.shape), wide, loss, equal, 0, False)


def _functions(
    criterion: Callable[..., Tensor] | None, loss: Tensor
) -> Iterator[Callable[..., Tensor]]:
    for _, function in criteria(criterion, loss):
        yield function
        if criterion is None:  # one of PyTorch's
            yield functools.partial(function, reduction="sum")


def broadcast_of(watch: Recording) -> Broadcast | None:
    """Return how outputs and targets broadcast in the loss; None where they do not."""
    kept = watch.train.targets
    if watch.paired is not None:
        return watch.paired
    # Each step's: one without targets would shift the losses against them.
    if not kept or not all(isinstance(t, Tensor) for t in kept) or not watch.rows:
        return None
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device), warnings.catch_warnings():
            # PyTorch warns of such shapes, which here are tried on purpose.
            warnings.simplefilter("ignore")
            return _broadcast(watch, kept[0].to(watch.device))
    except FAILURES:
        return None
    finally:
        watch.is_busy = False


def _broadcast(watch: Recording, targets: Tensor) -> Broadcast | None:
    output = watch.predict(watch.bare, watch.train.inputs[0])
    criterion = watch.link.criterion if watch.link is not None else watch.criterion
    if output is None or criterion is None:
        return None
    # Without a link, because it takes no loss for the loop's that PyTorch warns of.
    if watch.link is not None:
        output, targets = watch.link.transform(output), watch.link.convert(targets)
    if not _meet_all(output, targets):
        return None
    found = _of_pairs(criterion, output, targets)
    if found is None:
        return None
    steps = 0
    if targets.numel() == len(targets):
        steps = _steps_above_the_bound(watch, criterion, output, targets)
        if not steps:
            return None
    # Of masks each pixel has a bound of its own: there only a loss computed again is a proof.
    elif watch.link is None or _has_learnt_pairs(watch, found.loss, found.equal_loss):
        return None
    return replace(found, steps=steps, is_reproduced=watch.link is not None)


def _meet_all(output: Tensor, targets: Tensor) -> bool:
    """Return whether shapes broadcast to a larger one, with an element for each element.

    Targets with fewer elements, such as one for several quantiles, may be meant to broadcast.
    """
    n = rows(output)
    if n < 2 or rows(targets) != n or output.numel() != targets.numel():
        return False
    wide = np.broadcast_shapes(output.shape, targets.shape)  # raises where they cannot
    return math.prod(wide) > output.numel()


def _value(criterion: Callable[..., Tensor], output: Tensor, targets: Tensor) -> float:
    try:
        found = criterion(unnamed(output), targets)
    except Exception:  # noqa: BLE001 - a criterion of the user's may raise anything
        return math.nan
    return float(found) if found.numel() == 1 else math.nan


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-12)


def _has_learnt_pairs(watch: Recording, loss: float, equal: float) -> bool:
    """Return whether the last losses are those of equal shapes, and far below the others.

    A network that starts at zero has the same loss with either shape in its first step.
    """
    last = float(np.median(watch.known_losses()[-LAST:]))
    return equal < LEARNT * loss and last < (loss + equal) / 2


def _steps_above_the_bound(
    watch: Recording, criterion: Callable[..., Tensor], output: Tensor, targets: Tensor
) -> int:
    """Return the compared steps; 0 if a loss is below that of the best constant for its batch."""
    pairs = _known_steps(watch, tuple(targets.shape[1:]))[-MAX_STEPS:]
    if len(pairs) < MIN_STEPS:
        return 0
    for loss, wanted in pairs:
        bound = _best_constant(criterion, output, wanted.to(output.device, targets.dtype))
        if not loss >= bound - TOLERANCE * abs(bound):
            return 0
    return len(pairs)


def _known_steps(watch: Recording, shape: tuple[int, ...]) -> list[tuple[float, Tensor]]:
    """Return loss and targets, [n, *shape], of the steps whose targets were kept as a whole."""
    losses, size = watch.known_losses(), math.prod(shape)
    if len(losses) != watch.steps:
        return []  # a step without a loss shifts the losses against the targets
    return [
        (loss, kept.reshape(-1, *shape))
        for loss, kept in zip(losses, watch.order.batches, strict=False)
        # Of large targets only the first values were kept.
        if math.isfinite(loss) and size and kept.numel() % size == 0
        if kept.numel() < MAX_TARGET_VALUES
    ]


def _best_constant(criterion: Callable[..., Tensor], output: Tensor, targets: Tensor) -> float:
    """Return the lowest loss that one constant has on a batch, by golden-section search."""
    values = torch.cat([output.flatten(), targets.flatten().to(output.dtype)])
    low, high = float(values.min()), float(values.max())
    # A logit lies far from targets of 0 and 1; a probability must stay between them.
    margin = 0.0 if low >= 0 and high <= 1 else max(high - low, 10.0)
    low, high = low - margin, high + margin
    # Of the output's shape, so that a sum over all pairs is one here, too.
    constants = output.new_zeros((len(targets), *output.shape[1:]))

    def loss(constant: float) -> float:
        return _value(criterion, torch.full_like(constants, constant), targets)

    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(SEARCHED):
        inner = (high - ratio * (high - low), low + ratio * (high - low))
        first, second = loss(inner[0]), loss(inner[1])
        if first <= second:
            high = inner[1]
        else:
            low = inner[0]
    return loss((low + high) / 2)
