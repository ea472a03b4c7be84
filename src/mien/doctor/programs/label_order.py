"""Labels whose numbers are not those of the outputs: off by one, or in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from mien.doctor.evidence import Predictions
    from mien.doctor.programs.task import Task

MIN_EXAMPLES, MIN_EACH = 20, 8
"""Validation examples from which labels are compared, and those of a class that has moved."""
MOST, GAIN = 0.5, 0.2
"""Fraction of a moved class's predictions that its label must have; gain in accuracy."""


def labels_of(task: Task) -> dict[str, Any]:
    """Return the fields of `Program` about the numbers of the labels."""
    counts = task.class_counts_k
    unused = tuple(int(i) for i in np.flatnonzero(counts == 0)) if task.train is not None else ()
    # A class that the loss ignores, such as padding, has no label on purpose.
    if task.vocabulary or task.ignored in unused:
        unused = ()
    offset, held = 0, task.validation
    if held is not None and held.probs_nk is not None and len(held.y_true_n) >= MIN_EXAMPLES:
        k = held.probs_nk.shape[1]
        guess = held.probs_nk.argmax(axis=1)
        rates = {d: float(((guess + d) % k == held.y_true_n).mean()) for d in (-1, 0, 1)}
        # One off in either direction: labels from 1 to k, or an added background class.
        best = max(rates, key=lambda d: rates[d])
        if best and k > 2 and rates[best] > 0.5 > rates[0] + 0.2:
            offset = best
    return {
        "unused_outputs": unused,
        "label_offset": offset,
        "label_mapping": () if offset or task.each > 1 else _mapping(task.train, held),
    }


def _mapping(train: Predictions | None, held: Predictions | None) -> tuple[int, ...]:
    """Return the validation label of each predicted class if they are in another order.

    Most predictions of every class that has moved must be of one label, and each label's of
    another class: a class that is taken for another one alone is none of that. On training the
    network must be right, or what it learnt is not known.
    """
    if train is None or held is None or train.probs_nk is None or held.probs_nk is None:
        return ()
    if len(held.y_true_n) < MIN_EXAMPLES or not len(train.y_true_n):
        return ()
    k, guess = held.probs_nk.shape[1], held.probs_nk.argmax(axis=1)
    table = np.zeros((k, k))
    np.add.at(table, (guess, held.y_true_n), 1)
    label_k = linear_sum_assignment(-table)[1]
    moved = np.flatnonzero(label_k != np.arange(k))
    found = table[moved, label_k[moved]]
    enough = found > MOST * np.maximum(
        table[moved].sum(axis=1), table[:, label_k[moved]].sum(axis=0)
    )
    if not len(moved) or not enough.all() or found.min() < MIN_EACH:
        return ()
    before, after = (
        float((names[guess] == held.y_true_n).mean()) for names in (np.arange(k), label_k)
    )
    right = float((train.probs_nk.argmax(axis=1) == train.y_true_n).mean())
    if after < before + GAIN or right < before + GAIN:
        return ()
    return tuple(int(label) for label in label_k)
