"""Does a single input column give the target away, where all others together do not?

Columns are compared with the targets of the kept training examples: for values by neighbours in the
column's order, for tokens by the label that each token at a position comes with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.programs.baseline import MAX_FEATURES, MAX_FITTED, kernel_baseline
from mien.doctor.programs.examples import distinct_rows
from mien.doctor.programs.program import Leak
from mien.doctor.programs.trees import MAX_TOKENS, is_tokens, tensors
from mien.doctor.programs.trees import rows as rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

    Columns = NDArray[np.intp]

MIN_ROWS, MIN_COLUMNS = 50, 3
PREDICTS = {True: 0.98, False: 0.995}
"""Score of a column that predicts by itself: of classes beyond chance, or the R² of values."""
COPIES = {True: 0.99, False: 0.998}
"""Fraction of a column's variance that the classes explain, or its squared correlation with values,
from which it holds the target itself."""


def leak_of(watch: Recording, task: Task) -> Leak | None:
    """Return the columns that each predict the target, and the score of the others.

    None where no column does, or where that cannot be judged: few examples or columns, several
    values to predict, or more than half of the columns predict the target.
    """
    found = _examples(watch, task)
    if found is None:
        return None
    x, y, tokens = found
    classes = task.kind != "regression"
    if tokens and not classes:
        return None  # which token stands where is no value to correlate
    if classes:
        y = np.unique(y, return_inverse=True)[1].astype(np.float64)
    k = int(y.max()) + 1 if classes else 1
    if np.ptp(y) == 0:
        return None
    columns, copies, alone = (
        _token_columns(x.astype(np.int64), y.astype(np.int64), k)
        if tokens
        else _value_columns(x, y, k, classes=classes)
    )
    if not len(columns) or len(columns) > x.shape[1] / 2:
        return None
    others = _others(x, y, k, columns, classes=classes, tokens=tokens)
    return Leak(tuple(int(c) for c in columns), copies, alone, others, len(x), x.shape[1], tokens,
                classes)  # fmt: skip


def _examples(
    watch: Recording, task: Task
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool] | None:
    """Return inputs [n, d], targets [n], each example once, and whether inputs are tokens."""
    inputs = [next(tensors(batch), None) for batch in watch.train.inputs]
    targets = [next(tensors(batch), None) for batch in watch.train.targets]
    first = inputs[0] if inputs else None
    if task.kind == "other" or first is None or first.is_complex() or first.ndim < 2:
        return None
    rows: list[NDArray[np.float64]] = []
    for x, t in zip(inputs, targets, strict=True):
        if x is None or t is None or x.shape[1:] != first.shape[1:] or len(x) != rows_of(t):
            return None
        wanted = t.reshape(len(t), -1)
        if wanted.shape[1] > 1:
            # One-hot labels; several values to predict are no single target.
            if task.kind != "classification":
                return None
            wanted = wanted.argmax(dim=1, keepdim=True)
        both = [part.detach().cpu().double().numpy() for part in (x.reshape(len(x), -1), wanted)]
        rows.append(np.concatenate(both, axis=1))
    # Each once: equal examples are neighbours in every column.
    table = np.concatenate(rows)
    table = table[distinct_rows(table)]
    table = np.random.default_rng(0).permutation(table[np.isfinite(table).all(axis=1)])
    if len(table) < MIN_ROWS or not MIN_COLUMNS < table.shape[1] <= MAX_FEATURES + 1:
        return None
    return table[:, :-1], table[:, -1], is_tokens(first)


def _value_columns(
    x: NDArray[np.float64], y: NDArray[np.float64], k: int, *, classes: bool
) -> tuple[Columns, bool, float]:
    """Return the columns that predict alone, whether they hold the target itself, and the score."""
    known = y[np.argsort(x, axis=0, kind="stable")]
    if classes:
        # Neighbours in a column's order differ at k - 1 borders at least.
        wrong = np.maximum((known[1:] != known[:-1]).sum(axis=0) - (k - 1), 0)
        prior = np.bincount(y.astype(int)) / len(y)
        alone = 1 - wrong / (len(y) * (1 - (prior**2).sum()))
        hot = np.eye(k)[y.astype(int)]
        copies = _explained(x, hot)
        # One column for each class, all but one.
        own = _correlation(x, hot)
        if k > 2 and (own.max(axis=0) >= COPIES[True]).sum() >= k - 1:
            return np.flatnonzero(own.max(axis=1) >= COPIES[True]), True, 1.0
    else:
        error = known[1:-1] - (known[2:] + known[:-2]) / 2
        alone = 1 - (error**2).mean(axis=0) / y.var()
        copies = _correlation(x, y[:, None])[:, 0]
    # Without variation there is no order: the rows' own would be taken for the column's.
    predicts = (alone >= PREDICTS[classes]) & (x.std(axis=0) > 0)
    held = predicts & (copies >= COPIES[classes])
    found = held if held.any() else predicts
    columns = np.flatnonzero(found)
    return columns, bool(held.any()), float(alone[found].max(initial=0.0))


def _explained(x: NDArray[np.float64], hot: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of each column's variance that lies between the classes."""
    counts = hot.sum(axis=0)
    means = (hot.T @ x) / counts[:, None]
    between = (counts[:, None] * (means - x.mean(axis=0)) ** 2).sum(axis=0)
    fraction: NDArray[np.float64] = between / np.maximum(len(x) * x.var(axis=0), 1e-300)
    return fraction


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared correlation of each column with each target, [d, k]."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.maximum(np.outer((a**2).sum(axis=0), (b**2).sum(axis=0)), 1e-300)
    squared: NDArray[np.float64] = (a.T @ b) ** 2 / scale
    return squared


def _token_columns(
    x: NDArray[np.int64], y: NDArray[np.int64], k: int
) -> tuple[Columns, bool, float]:
    """Return the positions whose token tells the class; one token for each class."""
    scores, copies = [], []
    for column in x.T:
        table = np.zeros((len(np.unique(column)), k))
        np.add.at(table, (np.unique(column, return_inverse=True)[1], y), 1)
        ordered = np.sort(table, axis=1)
        # By the other examples with that token: a token that occurs once tells nothing.
        right = np.where(ordered[:, -1] > np.maximum(ordered[:, -2], 1), ordered[:, -1], 0)
        prior = table.sum(axis=0).max() / len(y)
        scores.append((right.sum() / len(y) - prior) / (1 - prior))
        copies.append(table.max(axis=0).sum() / len(y) >= COPIES[True])
    alone = np.array(scores)
    found = (alone >= PREDICTS[True]) & np.array(copies)
    return np.flatnonzero(found), bool(found.any()), float(alone[found].max(initial=0.0))


def _others(
    x: NDArray[np.float64], y: NDArray[np.float64], k: int, columns: Columns, *, classes: bool,
    tokens: bool,
) -> float:  # fmt: skip
    """Return accuracy or R² of the baseline on the other columns, leave-one-out."""
    rest, wanted = np.delete(x, columns, axis=1)[:MAX_FITTED], y[:MAX_FITTED]
    if tokens:
        counts = np.zeros((len(rest), MAX_TOKENS))
        np.add.at(counts, (np.arange(len(rest))[:, None], rest.astype(int) % MAX_TOKENS), 1)
        rest = np.sqrt(counts)
    targets = np.eye(k)[wanted.astype(int)] if classes else wanted[:, None]
    scores, _ = kernel_baseline(rest, targets, rest[:1])
    if classes:
        return float((scores.argmax(axis=1) == wanted).mean())
    return 1 - float(((scores[:, 0] - wanted) ** 2).sum() / max(len(wanted) * wanted.var(), 1e-12))
