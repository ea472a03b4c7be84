"""The exact minimum-cost one-to-one assignment, so that prediction needs no SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def assign(costs_nm: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return pairs (row, column) of the smallest total cost, min(n, m) of them, by row.

    The Hungarian method with potentials: one shortest augmenting path a row, O(n²m).
    """
    costs = np.asarray(costs_nm, np.float64)
    # The algorithm gives each row a column, so there must be as many columns at least.
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    n, m = costs.shape
    # Successive shortest augmenting paths, with prices as dual variables; index 0 stands for none.
    row_price, column_price = np.zeros(n + 1), np.zeros(m + 1)
    owner = np.zeros(m + 1, np.int64)  # the row, from 1, that has each column; 0: none
    for row in range(1, n + 1):
        owner[0] = row
        way = _augmenting_path(costs, row_price, column_price, owner)
        column = way[0]
        while column:  # give each column on the path to the row before it
            before = way[1][column]
            owner[column] = owner[before]
            column = before
    return sorted((int(owner[j]) - 1, j - 1) for j in range(1, m + 1) if owner[j])


def _augmenting_path(
    costs: NDArray[np.float64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
    owner: NDArray[np.int64],
) -> tuple[int, NDArray[np.int64]]:
    """Return a free column, and for each column the one before it on the shortest path."""
    m = costs.shape[1]
    shortest, before = np.full(m + 1, np.inf), np.zeros(m + 1, np.int64)
    used = np.zeros(m + 1, bool)
    column = 0
    while owner[column]:
        used[column] = True
        row = owner[column]
        reduced = costs[row - 1] - row_price[row] - column_price[1:]
        better = ~used[1:] & (reduced < shortest[1:])
        shortest[1:][better] = reduced[better]
        before[1:][better] = column
        step = np.where(used, np.inf, shortest)
        step[0] = np.inf
        following = int(step.argmin())
        delta = step[following]
        row_price[owner[used]] += delta
        column_price[used] -= delta
        shortest[~used] -= delta
        column = following
    return column, before
