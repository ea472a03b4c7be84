"""Does a model that predicts the next position of a sequence see that position in its inputs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mien.doctor.programs.probe import FAILURES, RandomState, untouched
from mien.doctor.programs.program import Lookahead
from mien.doctor.programs.trees import head, is_tokens, map_tensors, rows, tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.sample import Sample

MIN_POSITIONS, MAX_ROWS = 3, 64
SHIFTED = 0.99
"""Fraction of the scored targets that must equal the next input."""
ROUNDING = 1e-5
"""Change over the largest output up to which it may be rounding."""


def lookahead_of(watch: Recording) -> Lookahead | None:
    """Return what the outputs at earlier positions do as the last position is replaced.

    None where that cannot be judged: no input is a sequence whose targets are its next positions,
    no output has a value for each position, or the model refuses the batch.
    """
    if not watch.train.inputs:
        return None
    batch = head(watch.train.inputs[0], MAX_ROWS)
    targets = next(tensors(watch.train.targets[0]), None)
    if targets is None or targets.ndim == 0:
        return None
    # All targets may be in one dimension, those of an example one after the other.
    each = max(1, len(targets) // max(1, rows(watch.train.inputs[0])))
    targets = targets[: each * rows(batch)]
    # Unless unshifted targets give the loss, the model may shift them itself, as those of Hugging
    # Face do.
    found = _sequence(batch, targets, may_shift=watch.link is None or watch.link.shifts)
    if found is None:
        return None
    place, dim, scored = found
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            return _lookahead(watch, batch, place, dim, scored)
    except FAILURES:
        return None
    finally:
        watch.is_busy = False


def predicts_next(sample: Sample) -> bool:
    """Return whether the targets of a kept batch are its tokens, shifted by one or not yet."""
    batch = sample.inputs[0] if sample.inputs else None
    targets = next(tensors(sample.targets[0]), None) if sample.targets else None
    if targets is None or targets.ndim == 0:
        return False
    return _sequence(batch, targets, may_shift=True) is not None


def _sequence(batch: Any, targets: Tensor, *, may_shift: bool) -> tuple[int, int, Tensor] | None:
    """Return which input is the sequence, its dimension of time, and the scored positions.

    In a translation the sequence is the second input: the sentence so far.
    """
    for place, values in enumerate(tensors(batch)):
        for dim in (1, 0):
            for ahead in (0, 1) if may_shift and is_tokens(values) and dim == 1 else (0,):
                scored = _shifted(values, targets, dim, ahead)
                if scored is not None:
                    return place, dim, scored
    return None


def _shifted(values: Tensor, targets: Tensor, dim: int, ahead: int) -> Tensor | None:
    """Return where a target is the next input, [positions, sequences]; None if it is not.

    Args:
        values: the inputs.
        targets: in the same order.
        dim: of time.
        ahead: positions by which the model shifts the targets itself.
    """
    if values.ndim < 2 or values.numel() != targets.numel() or values.shape[dim] < MIN_POSITIONS:
        return None
    inputs = values.transpose(0, dim).detach().cpu()
    whole = targets.detach().cpu().reshape(values.shape).transpose(0, dim)
    wanted = whole[ahead : ahead + len(whole) - 1]
    # A negative label, such as -100, is ignored by the loss.
    scored = torch.isfinite(wanted) if wanted.is_floating_point() else wanted >= 0
    equal = (inputs[1:] == wanted) & scored
    # One value that never changes would also equal its neighbours.
    varies = bool((wanted[scored] != inputs[:-1][scored]).any())
    if not varies or not int(equal.sum()) >= SHIFTED * max(1, int(scored.sum())):
        return None
    return scored.reshape(*scored.shape[:2], -1).any(dim=2)


def _lookahead(
    watch: Recording, batch: Any, place: int, dim: int, scored: Tensor
) -> Lookahead | None:
    state = RandomState.take(watch.device)
    length, count = scored.shape[0] + 1, scored.shape[1]

    def predict(inputs: Any) -> Tensor | None:
        # The same random numbers each time: sampling must not look like a leak.
        state.restore(watch.device)
        output = watch.predict(watch.bare, inputs)
        if output is None or not bool(torch.isfinite(output).all()):
            return None
        return _by_position(output.double().cpu(), length, count, dim)

    before, again = predict(batch), predict(batch)
    if before is None or again is None or not torch.equal(before, again):
        return None
    changed_batch, moved = _with_other_end(batch, place, dim)
    after = predict(changed_batch)
    if after is None or not bool(moved.any()):
        return None
    # Only positions whose output is scored: a prefix may be read as a whole.
    known = scored & moved
    change = (after - before)[:-1].abs().reshape(length - 1, count, -1).amax(dim=2)[known]
    if not len(change):
        return None
    limit = ROUNDING * float(before.abs().max())
    largest, spread = float(change.max()), float(before.std())
    relative = 0.0 if largest <= limit or spread == 0 else largest / spread
    return Lookahead(int(moved.sum()), len(change), int((change > limit).sum()), largest, relative)


def _by_position(output: Tensor, length: int, count: int, dim: int) -> Tensor | None:
    """Return outputs as [positions, sequences, ...]; None if their form is not known.

    Classes may be the second dimension, as CrossEntropyLoss takes them, and positions and sequences
    may be one dimension.
    """
    shape = (count, length) if dim == 1 else (length, count)
    if output.shape[0] == count * length:
        output = output.reshape(*shape, *output.shape[1:])
    if output.shape[:2] == shape:
        if dim == 1 and output.ndim == 3 and output.shape[2] == length:
            return None  # as many classes as positions: either dimension may be time
        return output.transpose(0, dim)
    if dim == 1 and output.ndim == 3 and output.shape[0] == count and output.shape[2] == length:
        return output.permute(2, 0, 1)
    return None


def _with_other_end(batch: Any, place: int, dim: int) -> tuple[Any, Tensor]:
    """Return the batch with another last position, and which sequences changed by it."""
    moved = torch.zeros(0, dtype=torch.bool)
    number = -1

    def change(values: Tensor) -> Tensor:
        nonlocal moved, number
        number += 1
        if number != place:
            return values
        values = values.clone()
        last = values.select(dim, -1)
        # Of another sequence, so that it is an input of the right kind.
        other = _different(last)
        moved = (other != last).reshape(len(last), -1).any(dim=1).cpu()
        last.copy_(other)
        return values

    mapper: Callable[[Tensor], Tensor] = change
    return map_tensors(batch, mapper), moved


def _different(last: Tensor) -> Tensor:
    """Return the last positions, each replaced by that of another sequence that differs."""
    flat = last.reshape(len(last), -1)
    best = last
    for shift in range(1, len(last)):
        other = last.roll(shift, 0)
        same = (best.reshape(len(last), -1) == flat).all(dim=1)
        if not bool(same.any()):
            break
        best = torch.where(same.reshape(-1, *[1] * (last.ndim - 1)), other, best)
    return best
