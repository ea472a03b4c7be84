"""Does the output for one example depend on the other examples of its batch?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mien.doctor.programs.inspection import BATCH_NORMS
from mien.doctor.programs.probe import FAILURES, RandomState, untouched
from mien.doctor.programs.program import Mixing
from mien.doctor.programs.trees import head, map_tensors, rows, tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording

MIN_ROWS, MAX_ROWS = 4, 64
ROUNDING = 1e-5
"""Change over the largest output up to which it may be rounding, whatever the outputs' spread."""


def mixing_of(watch: Recording) -> Mixing | None:
    """Return what the outputs of unchanged examples do as other examples of the batch change.

    None where that cannot be judged: no batch was kept, an input or an output has no row for each
    example, outputs differ from call to call, or the second dimension may be the examples'.
    """
    batch = next((b for b in watch.train.inputs if rows(b) >= MIN_ROWS), None)
    if batch is None:
        return None
    batch = head(batch, MAX_ROWS)
    n = rows(batch)
    # A graph's edges or a codebook belong to all examples: replacing rows would break them.
    if any(t.ndim and len(t) != n for t in tensors(batch)) or _keeps_no_statistics(watch):
        return None
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            return _mixing(watch, batch, n)
    except FAILURES:
        return None
    finally:
        watch.is_busy = False


def _keeps_no_statistics(watch: Recording) -> bool:
    """Return whether a batch norm was made to use the batch's statistics in evaluation mode."""
    return any(
        isinstance(m, BATCH_NORMS) and getattr(m, "running_mean", None) is None
        for m in watch.bare.modules()
    )


def _mixing(watch: Recording, batch: Any, n: int) -> Mixing | None:
    state = RandomState.take(watch.device)

    def predict(inputs: Any) -> Tensor | None:
        # The same random numbers each time: dropout that is never off must not look like mixing.
        state.restore(watch.device)
        output = watch.predict(watch.bare, inputs)
        return None if output is None else output.double().cpu()

    before, again = predict(batch), predict(batch)
    if before is None or again is None or before.ndim == 0 or len(before) != n:
        return None
    # A hidden state that is carried from call to call changes outputs by itself.
    if not bool(torch.isfinite(before).all()) or not torch.equal(before, again):
        return None
    after = predict(_replaced(batch, n, 0))
    if after is None or after.shape != before.shape:
        return None
    found = _compared(before, after)
    if found.relative == 0.0:
        return found
    # Rows must stand for examples: half of them make half of the outputs, of the same form.
    half = predict(_odd(batch))
    if half is None or half.shape != (n // 2, *before.shape[1:]):
        return None
    return None if _examples_may_be_second(predict, batch, before) else found


def _replaced(batch: Any, n: int, dim: int) -> Any:
    """Return the batch with every second example replaced by its second one.

    Every second one: a recurrent network over the batch passes changes on to later rows only. By
    copies of one example: a sum over the batch does not notice a new order.
    """
    index = torch.arange(n)
    index[::2] = 1
    return map_tensors(batch, lambda t: t.index_select(dim, index.to(t.device)) if t.ndim else t)


def _odd(batch: Any) -> Any:
    return map_tensors(batch, lambda t: t[1::2].clone() if t.ndim else t)


def _compared(before: Tensor, after: Tensor) -> Mixing:
    """Return the change of the odd rows, which had the same input; 0 if it may be rounding."""
    n, kept = len(before), before[1::2]
    changed = after[1::2]
    change = float((changed - kept).abs().max()) if kept.numel() else 0.0
    both = torch.cat([kept, changed]).reshape(2 * len(kept), -1)
    # Of both: a network that averages over the batch gives all its examples the same output.
    spread = float((both - both.mean(dim=0)).square().mean().sqrt())
    rounding = change <= ROUNDING * float(both.abs().max())
    relative = 0.0 if rounding or spread == 0 else change / spread
    return Mixing(n - len(kept), len(kept), change, relative)


def _examples_may_be_second(predict: Any, batch: Any, before: Tensor) -> bool:
    """Return whether the batch may be (time, examples, ...): columns do not influence each other.

    Sequence models may take it so, and then one row, a moment, depends on those before it.
    """
    columns = before.shape[1] if before.ndim > 1 else 0
    if columns < MIN_ROWS or any(t.ndim < 2 or t.shape[1] != columns for t in tensors(batch)):
        return False
    after = predict(_replaced(batch, columns, 1))
    if after is None or after.shape != before.shape:
        return False
    return _compared(before.transpose(0, 1), after.transpose(0, 1)).relative == 0.0
