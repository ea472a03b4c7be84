"""Kept examples column by column: scales, constants for missing values, and inputs that vary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.doctor.programs.examples import distinct_rows
from mien.doctor.programs.measurements import Column
from mien.doctor.programs.trees import features, is_tokens, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.programs.recording import Recording

MAX_COLUMNS, MAX_TARGETS = 512, 16
MIN_REPEATED = 0.01
"""Fraction of a column's values that a constant for missing values has, at least."""
FAR = 10.0
"""Distance of such a constant from the other values' median, in their deviations."""
MIN_HITS = 10
"""Rows that were expected to come again; fewer may be missed by chance."""


def columns_of(values_nd: NDArray[np.float64], limit: int = MAX_COLUMNS) -> tuple[Column, ...]:
    """Return the statistics of each column of float64 [n, d], of finite values only."""
    found = []
    for index in range(min(values_nd.shape[1], limit)):
        column = values_nd[:, index][np.isfinite(values_nd[:, index])]
        if len(column):
            low, high = float(column.min()), float(column.max())
            mean, std = float(column.mean()), float(column.std())
            found.append(Column(index, low, high, mean, std, *_constant(column)))
    return tuple(found)


def _constant(column: NDArray[np.float64]) -> tuple[float, float]:
    """Return a whole number far from all other values that occurs often, and its fraction."""
    for value in (float(column.min()), float(column.max())):
        others = column[column != value]
        fraction = 1 - len(others) / len(column)
        if value != round(value) or fraction < MIN_REPEATED or len(others) < len(column) / 2:
            continue
        spread = float(others.std())
        if spread > 0 and abs(value - float(np.median(others))) > FAR * spread:
            return value, fraction
    return 0.0, 0.0


def input_columns(watch: Recording) -> tuple[Column, ...]:
    """Return the columns of a table of inputs; empty for images, sequences and token ids."""
    first = next(tensors(watch.train.inputs), None)
    values = features(watch.train.inputs)
    if first is None or first.ndim != 2 or is_tokens(first) or values is None:
        return ()
    return columns_of(values)


def target_columns(watch: Recording) -> tuple[Column, ...]:
    """Return the columns of float targets [n, k]; empty for others."""
    found = [next(tensors(batch), None) for batch in watch.train.targets]
    kept = [t for t in found if t is not None and t.ndim == 2 and t.is_floating_point()]
    if not kept or len(kept) < len(found) or len({t.shape[1] for t in kept}) > 1:
        return ()
    return columns_of(torch.cat([t.detach().cpu() for t in kept]).double().numpy(), MAX_TARGETS)


def first_epoch(watch: Recording) -> list[Any]:
    """Return the kept batches of the first epoch, as far as its end is known."""
    end = watch.order.epoch_length() or next((b for b in watch.boundaries if b), 0)
    return watch.train.inputs[: end or None]


def distinct_fraction(watch: Recording) -> float:
    """Return the fraction of the first epoch's kept inputs that differ from all earlier ones."""
    values = features(first_epoch(watch))
    if values is None or not len(values):
        return 1.0
    return len(distinct_rows(values)) / len(values)


def is_augmented(watch: Recording) -> bool | None:
    """Return whether the second epoch's inputs are others than the first's; None if unknown."""
    known, again = features(watch.train.inputs), features(watch.again.inputs)
    if known is None or again is None or known.shape[1] != again.shape[1]:
        return None
    rows = {row.tobytes() for row in known}
    hits = sum(row.tobytes() in rows for row in again)
    size = float(np.median(watch.batch_sizes)) if watch.batch_sizes else 0.0
    epoch = max(1.0, size * next((b for b in watch.boundaries if b), 0))
    # Of a long epoch only the first examples were kept, and few of the new ones are among them.
    expected = len(again) * min(1.0, len(known) / epoch)
    return None if expected < MIN_HITS else hits < expected / 4
