"""Candidate pairs of near-duplicates: images whose perceptual hashes are near.

The hash of an image is 12x12 means, normalised for brightness and contrast; two are compared by
their cosine. Comparing all pairs takes most of an audit's time, so it is first done in fewer
dimensions: the leading principal components and, as one more dimension, the length of the
remainder. That product is never below the cosine (Cauchy-Schwarz), so no candidate is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.data.detail import CANVAS, zoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

GRID = 12
"""Side of the grid of means."""
MIN_COSINE = 0.88
"""Minimum cosine of the hashes of a candidate pair."""
MIN_DEVIATION = 1.0
"""Standard deviation of the means, in grey levels, below which an image is too flat to compare."""
CROPS = (
    (0.0, 0.5, 0.5),
    (0.05, 0.5, 0.5),
    (0.1, 0.5, 0.5),
    *((0.1, x, y) for x in (0.15, 0.85) for y in (0.15, 0.85)),
)
"""Crops that are compared: fraction of each side that is cut off, and where the rest lies (x from 0
left to 1 right, y from 0 top to 1 bottom)."""
COMPONENTS = 31
"""Principal components of the first comparison."""
ROWS, COLUMNS = 1024, 4096
"""One tile of the table of all pairs; it about fits the processor's cache."""


def find_candidates(
    images_nhw: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.int64]:
    """Return the pairs whose hashes are near, int64 [m, 3]: (i, j, mirrored), i < j, each once.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        progress: called with (done, total) now and then.
    """
    n = len(images_nhw)
    plain, _ = describe(images_nhw)
    # eigh sorts ascending: the last components carry most of the variance.
    _, components = np.linalg.eigh(plain.T @ plain)
    components = np.ascontiguousarray(components[:, ::-1][:, :COMPONENTS])
    few = _reduced(plain, components)
    found: list[NDArray[np.int64]] = []
    done, total = 0, 2 * len(CROPS) * n
    for cut, x, y in CROPS:
        variant, _ = describe(images_nhw, cut, x, y)
        for mirrored in (0, 1):
            vectors = variant[:, _MIRROR] if mirrored else variant
            reduced = _reduced(vectors, components)
            # Without a crop the table is symmetric: half of it is enough.
            for rows, i, j in _near(reduced, few, half=cut == 0):
                # The reduced product is an upper bound of the cosine; few pairs need the exact one.
                near = np.einsum("nd,nd->n", vectors[i], plain[j]) > MIN_COSINE
                near &= i < j if cut == 0 else i != j
                pair = np.stack([i[near], j[near], np.full(int(near.sum()), mirrored)], axis=1)
                found.append(pair)
                done += rows
                if progress:
                    progress(done, total)
    pairs = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    # A pair may be found twice: as a crop of either image.
    pairs[:, :2].sort(axis=1)
    return np.unique(pairs, axis=0)


def describe(
    images_nhw: NDArray[np.uint8], cut: float = 0.0, x: float = 0.5, y: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the hashes, float32 [n, GRID * GRID] of unit length, and which images are too flat.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        cut: fraction of each side to cut off before hashing, 0 to 1.
        x: where the rest lies, from 0 (left) to 1 (right).
        y: where the rest lies, from 0 (top) to 1 (bottom).
    """
    mean = np.kron(np.eye(GRID), np.full(CANVAS // GRID, GRID / CANVAS)).astype(np.float32)
    # Crop and means are both linear: one matrix does both.
    down, across = mean @ zoom(cut, y), mean @ zoom(cut, x)
    grid = np.empty((len(images_nhw), GRID, GRID), np.float32)
    for start in range(0, len(grid), ROWS):
        images = images_nhw[start : start + ROWS].astype(np.float32)
        grid[start : start + ROWS] = down @ images @ across.T
    hashes = grid.reshape(len(grid), -1)
    hashes -= hashes.mean(axis=1, keepdims=True)
    length = np.linalg.norm(hashes, axis=1)
    flat = length < MIN_DEVIATION * GRID
    hashes /= np.maximum(length, 1e-6)[:, None]
    # A product of 0 with everything: noise on an even area would correlate by chance.
    hashes[flat] = 0
    return hashes, flat


_MIRROR = np.arange(GRID * GRID).reshape(GRID, GRID)[:, ::-1].ravel()
"""Positions of the hash of an image in the hash of its mirror image."""


def _reduced(hashes: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the components and the length of the remainder, float32 [n, COMPONENTS + 1]."""
    leading = hashes @ components
    rest = (hashes**2).sum(axis=1) - (leading**2).sum(axis=1)
    return np.concatenate([leading, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1)


def _near(
    left: NDArray[np.float32], right: NDArray[np.float32], *, half: bool
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (rows done, i, j) of the pairs whose product is above MIN_COSINE, by bands of rows."""
    columns = [
        (start, np.ascontiguousarray(right[start : start + COLUMNS].T))
        for start in range(0, len(right), COLUMNS)
    ]
    # One buffer for all tiles: fresh memory would cost more than the product.
    product, above = np.empty(ROWS * COLUMNS, np.float32), np.empty(ROWS * COLUMNS, bool)
    for top in range(0, len(left), ROWS):
        rows = left[top : top + ROWS]
        i, j = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start, block in columns:
            width = block.shape[1]
            # Below the diagonal: another tile has these pairs.
            if half and start + width <= top:
                continue
            size = len(rows) * width
            np.matmul(rows, block, out=product[:size].reshape(len(rows), width))
            np.greater(product[:size], MIN_COSINE, out=above[:size])
            hits = np.flatnonzero(above[:size])
            i.append(top + hits // width)
            j.append(start + hits % width)
        yield len(rows), np.concatenate(i), np.concatenate(j)
