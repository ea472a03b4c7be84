"""A baseline that needs no training loop: ridge regression on HOG features.

It shows what a classical method makes of the same images and labels, so that a network can be
called too weak, and labels wrong, without knowing what the task allows. Features: histograms of
oriented gradients (HOG; Dalal and Triggs 2005) and a coarse grid of grey levels. Predictions on the
training images are leave-one-out, in closed form (Allen's PRESS, 1974).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 48
CELLS = 8
ORIENTATIONS = 8
GRID = 12
PENALTIES = (0.3, 3.0, 30.0, 300.0)


@dataclass(frozen=True, slots=True)
class BaselineScores:
    """Predictions of the reference; scores are near one-hot, not probabilities.

    Attributes:
        leave_one_out_nk: scores of each training image by a fit without it, float64 [n, k].
        validation_mk: scores of the validation images, float64 [m, k].
    """

    leave_one_out_nk: NDArray[np.float64]
    validation_mk: NDArray[np.float64]


def hog_baseline(
    train_nhw: NDArray[np.uint8],
    y_true_n: NDArray[np.int64],
    validation_nhw: NDArray[np.uint8],
    classes: int,
) -> BaselineScores:
    """Return the scores of ridge regression; the penalty with the lowest PRESS is used.

    Args:
        train_nhw: uint8 [n, s, s], at least two.
        y_true_n: int64 [n], below `classes`.
        validation_nhw: uint8 [m, s, s].
        classes: number of classes, k.
    """
    features = np.concatenate([hog_features(train_nhw), hog_features(validation_nhw)])
    train, validation = features[: len(train_nhw)], features[len(train_nhw) :]
    targets = np.eye(classes)[y_true_n]
    # Each class weighs the same, so that a rare one is predicted at all.
    weights = (len(y_true_n) / np.maximum(np.bincount(y_true_n, minlength=classes), 1))[y_true_n]
    # Rows multiplied by the root of their weight turn least squares into weighted least squares.
    weights = np.sqrt(weights / weights.mean())
    fraction = weights**2 / (weights**2).sum()
    # Around the weighted mean the intercept, which is not penalised, is orthogonal to the features.
    centre, spread = fraction @ train, train.std(axis=0) + 1e-6
    train, validation = (train - centre) / spread, (validation - centre) / spread
    offset = fraction @ targets
    x, y = train * weights[:, None], (targets - offset) * weights[:, None]
    # One eigendecomposition serves all penalties; each then costs two products.
    values, vectors = np.linalg.eigh(x.T @ x)
    rotated, projected = x @ vectors, vectors.T @ (x.T @ y)
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for penalty in PENALTIES:
        inverse = 1 / (np.maximum(values, 0) + penalty * len(x) / 100)
        coefficients = inverse[:, None] * projected
        # The residual over one minus the leverage is that of a fit without the image (PRESS).
        # The intercept's part belongs to it: with few images it would give the label away.
        leverage = (rotated**2 * inverse).sum(axis=1) + fraction
        residual = (y - rotated @ coefficients) / np.maximum(1 - leverage, 1e-9)[:, None]
        error = float((residual**2).sum())
        if best is None or error < best[0]:
            left_out = (y - residual) / weights[:, None] + offset
            best = (error, left_out, vectors @ coefficients)
    assert best is not None  # noqa: S101 - PENALTIES is not empty
    return BaselineScores(best[1], validation @ best[2] + offset)


def hog_features(images_nhw: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return HOG features and grey levels, float64 [n, CELLS**2 * ORIENTATIONS + GRID**2]."""
    images = _resized(np.asarray(images_nhw)).astype(np.float32)
    n = len(images)
    # Each image has mean 0 and deviation 1, so that lighting does not decide.
    mean = images.mean(axis=(1, 2), keepdims=True)
    images = (images - mean) / (images.std(axis=(1, 2), keepdims=True) + 1e-3)
    dx = np.zeros_like(images)
    dy = np.zeros_like(images)
    dx[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    dy[:, 1:-1] = images[:, 2:] - images[:, :-2]
    size = np.hypot(dx, dy)
    # Modulo pi: an edge from dark to light counts as its inverse, as in the paper.
    angle = np.arctan2(dy, dx) % np.pi / np.pi * ORIENTATIONS
    # Each gradient votes for its two nearest orientations: a small rotation changes little.
    low = np.floor(angle).astype(np.int64) % ORIENTATIONS
    fraction = angle - np.floor(angle)
    cell = SIDE // CELLS
    histogram = np.zeros((n, CELLS, CELLS, ORIENTATIONS), np.float32)
    for orientation in range(ORIENTATIONS):
        amount = size * (
            (low == orientation) * (1 - fraction)
            + ((low + 1) % ORIENTATIONS == orientation) * fraction
        )
        histogram[..., orientation] = amount.reshape(n, CELLS, cell, CELLS, cell).sum(axis=(2, 4))
    # The constants keep the noise of flat cells from being amplified.
    norm = np.sqrt((histogram**2).sum(axis=3, keepdims=True)) + 0.1 * histogram.mean() + 1e-6
    block = SIDE // GRID
    grid = images.reshape(n, GRID, block, GRID, block).mean(axis=(2, 4))
    parts = [(histogram / norm).reshape(n, -1), grid.reshape(n, -1)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _resized(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images.shape[1:] == (SIDE, SIDE):
        return images
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(i).resize((SIDE, SIDE))) for i in images])
