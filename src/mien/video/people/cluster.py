"""Constrained agglomerative clustering with average linkage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cluster(
    similarity_nn: NDArray[np.float64],
    apart_nn: NDArray[np.bool_],
    threshold: float,
    groups_n: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Join the two most similar clusters until none are similar enough; return cluster numbers.

    The similarity of two clusters is the mean over their pairs (average linkage, UPGMA; Sokal and
    Michener 1958, updated by the formula of Lance and Williams 1967). Clusters that hold two items
    that must stay apart are never joined (COP constraints; Davidson and Ravi 2005). O(n²) memory,
    O(n²) time in usual cases.

    Args:
        similarity_nn: float64 [n, n], symmetric; NaN for pairs that cannot be compared.
        apart_nn: bool [n, n], symmetric: the two items are never in one cluster.
        threshold: least similarity of clusters that are joined.
        groups_n: int64 [n]; items of one number, 0 or more, are joined before, -1 are alone.

    Returns:
        int64 [n], from 0, in the order of the first item of each cluster.
    """
    count = len(similarity_nn)
    state = _Clusters(similarity_nn, apart_nn)
    if groups_n is not None:
        for group in np.unique(groups_n[groups_n >= 0]):
            first, *others = np.flatnonzero(groups_n == group).tolist()
            for other in others:
                state.join(first, other)
    while True:
        pair = state.nearest()
        if pair is None or state.links[pair] < threshold:
            break
        state.join(*pair)
    _, numbers = np.unique(state.members[:count], return_inverse=True)
    return numbers.astype(np.int64)


class _Clusters:
    """Clusters by the row of their first item.

    Attributes:
        links: float64 [n, n], mean similarity of two clusters; -inf where they are not joined.
        members: int64 [n], row of the cluster of each item.
    """

    def __init__(self, similarity_nn: NDArray[np.float64], apart_nn: NDArray[np.bool_]) -> None:
        count = len(similarity_nn)
        # Sums and numbers of known pairs rather than means: unknown pairs must not count.
        known = ~np.isnan(similarity_nn)
        self._sums, self._pairs = np.where(known, similarity_nn, 0.0), known.astype(np.float64)
        self._apart = apart_nn | np.eye(count, dtype=bool)
        self.members = np.arange(count)
        self.links = self._link(np.arange(count))
        self._best = self._best_of(np.arange(count))

    def nearest(self) -> tuple[int, int] | None:
        """Return the rows of the two most similar clusters, or None if all must stay apart."""
        if not len(self.links):
            return None
        rows = np.arange(len(self.links))
        row = int(np.argmax(self.links[rows, self._best]))
        column = int(self._best[row])
        if np.isneginf(self.links[row, column]):
            return None
        return min(row, column), max(row, column)

    def join(self, one: int, other: int) -> None:
        """Join the cluster of row `other` into that of row `one`."""
        for matrix in (self._sums, self._pairs):
            matrix[one] += matrix[other]
            matrix[:, one] = matrix[one]
        self._apart[one] |= self._apart[other]
        self._apart[:, one] = self._apart[one]
        self._apart[other] = self._apart[:, other] = True
        self.members[self.members == other] = one
        self.links[other] = self.links[:, other] = -np.inf
        self.links[one] = self._link(np.array([one]))[0]
        self.links[:, one] = self.links[one]
        # Only rows whose best was one of the two, or that the new cluster is nearer to, change.
        nearer = self.links[:, one] > self.links[np.arange(len(self.links)), self._best]
        stale = (self._best == one) | (self._best == other) | nearer
        stale[one] = stale[other] = True
        rows = np.flatnonzero(stale)
        self._best[rows] = self._best_of(rows)

    def _link(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        pairs = self._pairs[rows]
        means = np.divide(
            self._sums[rows], pairs, out=np.full(pairs.shape, -np.inf), where=pairs > 0
        )
        means[self._apart[rows]] = -np.inf
        found: NDArray[np.float64] = means
        return found

    def _best_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self.links):
            return np.zeros(0, np.int64)
        found: NDArray[np.int64] = self.links[rows].argmax(axis=1)
        return found
