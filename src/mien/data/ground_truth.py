"""Ground truth: the dataset's own labels, and the consensus of the raters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONSENSUS_FRACTION = 0.5
"""Fraction of a row's votes that a label needs to be the consensus label."""


def label_targets(
    labels_n: NDArray[np.int64], label_names: Sequence[str], model_labels: Sequence[str]
) -> NDArray[np.int64]:
    """Return the dataset's labels as indices into `model_labels`, int64 [n], -1 for others.

    Args:
        labels_n: int64 [n], indices into `label_names`, -1 for none.
        label_names: names of the labels.
        model_labels: labels of the model.
    """
    index = {label: position for position, label in enumerate(model_labels)}
    # The last entry serves label -1, which indexes from the end.
    lookup = np.array([index.get(name, -1) for name in label_names] + [-1], np.int64)
    return lookup[labels_n]


def consensus_targets(
    votes_nk: NDArray[np.float32], vote_names: Sequence[str], model_labels: Sequence[str]
) -> NDArray[np.int64]:
    """Return the consensus labels as indices into `model_labels`, int64 [n], -1 for none.

    A label is the consensus when it has at least half of all the row's votes (those for other
    expressions, 'unknown' and 'not a face' count too) and no other label of the model has as many.

    Args:
        votes_nk: float32 [n, k], votes per row, at least 0.
        vote_names: names of the columns.
        model_labels: labels of the model; one without a column of votes is never the consensus.
    """
    columns = np.zeros((len(votes_nk), len(model_labels)), np.float32)
    for position, label in enumerate(model_labels):
        if label in vote_names:
            columns[:, position] = votes_nk[:, list(vote_names).index(label)]
    top = columns.max(axis=1)
    # Two labels with half of the votes each: neither is the consensus.
    tie = (columns == top[:, None]).sum(axis=1) > 1
    # Of all votes: those for labels that this model does not have count against a consensus.
    clear = (top > 0) & (top >= CONSENSUS_FRACTION * votes_nk.sum(axis=1)) & ~tie
    return np.where(clear, columns.argmax(axis=1), -1).astype(np.int64)
