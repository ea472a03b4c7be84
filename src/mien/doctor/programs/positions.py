"""What the outputs of sequences depend on: their padding, some positions alone, or their order.

Measured by replacing and exchanging positions of kept examples, in evaluation mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.doctor.programs.measurements import Positions
from mien.doctor.programs.padding import Padding, padding_of
from mien.doctor.programs.probe import FAILURES, RandomState, untouched
from mien.doctor.programs.trees import head, is_tokens, map_tensors, rows, tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor.programs.recording import Recording

    Predict = Callable[[Tensor], Tensor | None]

MIN_ROWS, MAX_ROWS = 12, 128
MIN_POSITIONS = 4
MAX_TRIED = 12
"""Positions that are replaced one by one, evenly spaced."""
ROUNDING = 1e-5
"""Change over the largest output up to which it may be rounding."""
MIN_SPREAD = 1e-3
"""Deviation of the outputs over their size below which they hardly depend on anything."""


def positions_of(watch: Recording) -> Positions | None:
    """Return what the outputs of kept sequences depend on; None where that cannot be judged.

    Not judged: inputs that are no sequences, few examples, outputs that differ from call to call or
    hardly vary, or a model that refuses the batch.
    """
    batch = _batch(watch.train.inputs)
    first = next(tensors(batch), None) if batch is not None else None
    if first is None or not _is_sequence(first) or len(first) < MIN_ROWS:
        return None
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            return _positions(watch, batch, first.detach().cpu())
    except FAILURES:
        return None
    finally:
        watch.is_busy = False


def _batch(kept: list[Any]) -> Any:
    """Return the first kept examples, of several batches where these can be joined."""
    if not kept:
        return None
    if not all(isinstance(batch, Tensor) for batch in kept):
        return head(kept[0], MAX_ROWS)
    same = [batch for batch in kept if batch.shape[1:] == kept[0].shape[1:]]
    return torch.cat(same[: max(1, MAX_ROWS // max(1, rows(kept[0])))])[:MAX_ROWS]


def _is_sequence(values: Tensor) -> bool:
    """Return whether an input is [examples, positions] of ids or [examples, positions, values]."""
    if values.ndim not in (2, 3) or values.shape[1] < MIN_POSITIONS:
        return False
    return is_tokens(values) if values.ndim == 2 else values.is_floating_point()


def _positions(watch: Recording, batch: Any, x: Tensor) -> Positions | None:
    state = RandomState.take(watch.device)

    def predict(changed: Tensor) -> Tensor | None:
        # The same random numbers each time: sampling must not look like a dependence.
        state.restore(watch.device)
        output = watch.predict(watch.bare, _with_first(batch, changed))
        if output is None or len(output) != len(x) or not bool(torch.isfinite(output).all()):
            return None
        return output.double().cpu()

    before, again = predict(x), predict(x)
    if before is None or again is None or not torch.equal(before, again):
        return None
    spread = float((before - before.mean(dim=0)).square().mean().sqrt())
    varies = spread >= MIN_SPREAD * float(before.abs().max())
    padding = padding_of(x)
    seen, seen_at_end = (None, None) if padding is None else _seen(predict, x, before, padding)
    judged = varies and before.ndim == 2
    unused, tried = _unused(predict, x, before, padding) if judged else (0, 0)
    return Positions(
        sequences=len(x),
        length=x.shape[1],
        padded=0.0 if padding is None else float(padding.mask.any(dim=1).double().mean()),
        padding=0.0 if padding is None else float(padding.mask.double().mean()),
        seen=seen,
        seen_at_end=seen_at_end,
        unused=unused,
        tried=tried,
        ignores_order=_ignores_order(predict, x, before, padding) if varies else None,
        varies=varies,
        attends=any(isinstance(m, nn.MultiheadAttention) for m in watch.bare.modules()),
    )


def _with_first(batch: Any, values: Tensor) -> Any:
    """Return the batch with another first tensor."""
    number = -1

    def change(known: Tensor) -> Tensor:
        nonlocal number
        number += 1
        return values.to(known.device) if number == 0 else known

    return map_tensors(batch, change)


def _change(before: Tensor, after: Tensor | None) -> Tensor | None:
    """Return the largest change of each example's outputs; 0 where it may be rounding."""
    if after is None or after.shape != before.shape:
        return None
    change = (after - before).abs().reshape(len(before), -1).amax(dim=1)
    return torch.where(change > ROUNDING * before.abs().max(), change, torch.zeros_like(change))


def _seen(
    predict: Predict, x: Tensor, before: Tensor, padding: Padding
) -> tuple[float | None, float | None]:
    """Return how outputs of padded sequences change as all their other positions are replaced.

    Returns:
        The median change, and that of the same sequences with the padding on the other side; None
        where outputs have a row for each position.
    """
    if before.ndim != 2:
        return None, None
    padded = padding.mask.any(dim=1)
    moved = padding.moved(x)
    found: list[float | None] = []
    for values, mask in ((x, padding.mask), (moved, padding.moved_mask())):
        own = before if values is x else predict(values)
        change = None if own is None else _change(own, predict(_replaced(values, mask)))
        found.append(None if change is None else float(change[padded].median()))
    return found[0], found[1]


def _replaced(x: Tensor, mask: Tensor) -> Tensor:
    """Return sequences whose positions outside the padding are others', at random but the same."""
    generator = torch.Generator().manual_seed(0)
    pool = x[~mask]
    drawn = pool[torch.randint(len(pool), (int((~mask).sum()),), generator=generator)]
    changed = x.clone()
    changed[~mask] = drawn
    return changed


def _unused(
    predict: Predict, x: Tensor, before: Tensor, padding: Padding | None
) -> tuple[int, int]:
    """Return how many of the tried positions change no output as they are replaced."""
    places = torch.linspace(0, x.shape[1] - 1, min(MAX_TRIED, x.shape[1])).long()
    unused = tried = 0
    for place in places.tolist():
        # Padding is neither replaced nor taken: it would change what a mask is made of.
        rows_of = torch.arange(len(x)) if padding is None else (~padding.mask[:, place]).nonzero()
        rows_of = rows_of.reshape(-1)
        changed = x.clone()
        changed[rows_of, place] = x[rows_of.roll(1, 0), place]
        differs = (changed[:, place] != x[:, place]).reshape(len(x), -1).any(dim=1)
        # A position that hardly varies, such as an image's margin, may have no weight.
        if int(differs.sum()) < max(MIN_ROWS, len(rows_of) // 2):
            continue
        change = _change(before, predict(changed))
        if change is None:
            return 0, 0
        tried += 1
        unused += int(not bool(change.any()))
    return unused, tried


def _ignores_order(
    predict: Predict, x: Tensor, before: Tensor, padding: Padding | None
) -> bool | None:
    """Return whether exchanged positions change no output beyond the same exchange; or None."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(x.shape[:2], generator=generator)
    if padding is not None:
        # Padding stays where it is.
        order = torch.where(padding.mask, torch.arange(x.shape[1]) + 2.0, order)
        if padding.leads:
            order = torch.where(padding.mask, order - 2 * x.shape[1] - 2, order)
    order = order.argsort(dim=1)
    changed = _ordered(x, order)
    if torch.equal(changed, x):
        return None
    after = predict(changed)
    if after is None or after.shape != before.shape:
        return None
    forms = [before]
    if before.ndim == 3 and before.shape[1] == x.shape[1]:
        forms = [_ordered(before, order)]
    elif before.ndim == 3 and before.shape[2] == x.shape[1]:
        forms = [_ordered(before.transpose(1, 2), order).transpose(1, 2)]
    change = _change(forms[0], after)
    return None if change is None else not bool(change.any())


def _ordered(values: Tensor, order: Tensor) -> Tensor:
    """Return [examples, positions, ...] with the positions of each example in another order."""
    index = order.reshape(*order.shape, *[1] * (values.ndim - 2)).expand_as(values)
    return values.gather(1, index)
