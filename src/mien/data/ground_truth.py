"""What a model should have answered: the data set's own label, and the raters' panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONSENSUS_FRACTION = 0.5
"""Share of a row's votes that a label needs to be the panel's answer."""


def label_targets(
    labels_n: NDArray[np.int64], label_names: Sequence[str], answers: Sequence[str]
) -> NDArray[np.int64]:
    """Return the data set's labels as indices into `answers`, int64 [n], -1 for any other label."""
    index = {label: position for position, label in enumerate(answers)}
    lookup = np.array([index.get(name, -1) for name in label_names] + [-1], np.int64)
    return lookup[labels_n]


def consensus_targets(
    votes_nk: NDArray[np.float32], vote_names: Sequence[str], answers: Sequence[str]
) -> NDArray[np.int64]:
    """Return the raters' majority as indices into `answers`, int64 [n], -1 where there is none.

    A label is the majority when it has at least half of all the row's votes (those for other
    expressions, 'unknown' and 'not a face' count too) and no other answer has as many.

    Args:
        votes_nk: votes per row, not negative.
        vote_names: names of the columns.
        answers: labels that can be the majority; one that was not voted on never is.
    """
    columns = np.zeros((len(votes_nk), len(answers)), np.float32)
    for position, label in enumerate(answers):
        if label in vote_names:
            columns[:, position] = votes_nk[:, list(vote_names).index(label)]
    most = columns.max(axis=1)
    tie = (columns == most[:, None]).sum(axis=1) > 1
    clear = (most > 0) & (most >= CONSENSUS_FRACTION * votes_nk.sum(axis=1)) & ~tie
    return np.where(clear, columns.argmax(axis=1), -1).astype(np.int64)
