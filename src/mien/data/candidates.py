"""Pairs of images that may be copies: those whose coarse looks are near.

An image's look is 12x12 means, normalised for light and contrast; two are compared by their
cosine. All against all takes most of an audit's time, so it is done in fewer dimensions first:
by the leading principal components and, as one more dimension, the length of what they leave
out. That product is never below the cosine (Cauchy and Schwarz), so no candidate is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.data.detail import CANVAS, zoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

GRID = 12
COSINE = 0.88
"""Least cosine of two looks that makes a candidate pair."""
FLAT = 1.0
"""Deviation of the grid's means, in grey levels, below which an image is too flat to compare."""
CROPS = (
    (0.0, 0.5, 0.5),
    (0.05, 0.5, 0.5),
    (0.1, 0.5, 0.5),
    *((0.1, x, y) for x in (0.15, 0.85) for y in (0.15, 0.85)),
)
"""Crops that are compared: share cut off, and where the rest lies (0 left or top, 1 other end)."""
COMPONENTS = 31
ROWS, COLUMNS = 1024, 4096
"""One tile of the table of all pairs: what fits the processor's cache, more or less."""


def find_candidates(
    images_nhw: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.int64]:
    """Return the pairs whose looks are near, int64 [m, 3]: (i, j, mirrored), i < j, each once.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        progress: called with (done, total) now and then.
    """
    n = len(images_nhw)
    plain, _ = describe(images_nhw)
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
            # Uncropped, i beside j is j beside i: half of the table is enough.
            for rows, i, j in _near(reduced, few, half=cut == 0):
                near = np.einsum("nd,nd->n", vectors[i], plain[j]) > COSINE
                near &= i < j if cut == 0 else i != j
                pair = np.stack([i[near], j[near], np.full(int(near.sum()), mirrored)], axis=1)
                found.append(pair)
                done += rows
                if progress:
                    progress(done, total)
    pairs = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    pairs[:, :2].sort(axis=1)
    return np.unique(pairs, axis=0)


def describe(
    images_nhw: NDArray[np.uint8], cut: float = 0.0, x: float = 0.5, y: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the looks, float32 [n, GRID * GRID] of unit length, and which are too flat.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        cut: share of each side to crop off, and...
        x: ...where the rest lies from left (0) to right (1), and...
        y: ...from top to bottom.
    """
    mean = np.kron(np.eye(GRID), np.full(CANVAS // GRID, GRID / CANVAS)).astype(np.float32)
    down, across = mean @ zoom(cut, y), mean @ zoom(cut, x)
    grid = np.empty((len(images_nhw), GRID, GRID), np.float32)
    for start in range(0, len(grid), ROWS):
        images = images_nhw[start : start + ROWS].astype(np.float32)
        grid[start : start + ROWS] = down @ images @ across.T
    looks = grid.reshape(len(grid), -1)
    looks -= looks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(looks, axis=1)
    flat = length < FLAT * GRID
    looks /= np.maximum(length, 1e-6)[:, None]
    looks[flat] = 0
    return looks, flat


_MIRROR = np.arange(GRID * GRID).reshape(GRID, GRID)[:, ::-1].ravel()
"""The order of a look's values in that of the mirrored image."""


def _reduced(looks: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    leading = looks @ components
    rest = (looks**2).sum(axis=1) - (leading**2).sum(axis=1)
    return np.concatenate([leading, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1)


def _near(
    left: NDArray[np.float32], right: NDArray[np.float32], *, half: bool
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (rows done, i, j) of the pairs whose product is above COSINE, by bands of rows."""
    columns = [
        (start, np.ascontiguousarray(right[start : start + COLUMNS].T))
        for start in range(0, len(right), COLUMNS)
    ]
    # One buffer for all tiles: memory that is new to the process costs more than the product.
    product, above = np.empty(ROWS * COLUMNS, np.float32), np.empty(ROWS * COLUMNS, bool)
    for top in range(0, len(left), ROWS):
        rows = left[top : top + ROWS]
        i, j = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start, block in columns:
            width = block.shape[1]
            if half and start + width <= top:
                continue
            size = len(rows) * width
            np.matmul(rows, block, out=product[:size].reshape(len(rows), width))
            np.greater(product[:size], COSINE, out=above[:size])
            hits = np.flatnonzero(above[:size])
            i.append(top + hits // width)
            j.append(start + hits % width)
        yield len(rows), np.concatenate(i), np.concatenate(j)
