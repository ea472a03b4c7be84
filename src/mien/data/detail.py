"""Compare the fine detail of two images: the correlation of what a high-pass filter leaves of them.

Faces look alike at low resolution; only duplicates share the fine detail. Each image is high-pass
filtered, windowed and Fourier transformed once per scale; a pair then costs one product of spectra
and a few small matrix products, since the inverse transform is needed at a few shifts only.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANVAS = 48
"""Side at which details are compared, in pixels."""
SCALES = (1.0, 0.97, 0.94, 0.91, 0.88)
"""Scales of the one image that are compared with the other: fractions of its side that are kept."""
REACH = 4
"""Largest shift that is compared, in pixels; beyond it the two would overlap too little."""
BLUR = 3.0
"""Standard deviation of the Gaussian that is subtracted, in pixels."""
BLOCK = 512
"""Pairs, or images, that are computed at once: few enough for the processor's cache."""
MIN_DETAIL = 0.81
"""Minimum correlation of the fine detail of a near-duplicate; measured in docs/log.md."""
SCREEN_BAND, SCREEN_SCALES, MIN_SCREEN = 10, (0.97, 0.91), 0.7
"""A fast comparison of the lower frequencies comes first. Of 5,982 pairs of duplicates in FER2013
the lowest scored 0.767 in it, of 112,834 other candidates about 2% more than 0.7."""


def compare_details(images_nhw: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the correlation of the pairs' fine detail, float32 [m], 0 to 1.

    Pairs that the screening rejects get 0, since only scores of MIN_DETAIL and more matter.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        pairs: int64 [m, 3], (i, j, mirrored).
    """
    scores = np.zeros(len(pairs), np.float32)
    close = np.arange(len(pairs))
    for band, scales, minimum in (
        (SCREEN_BAND, SCREEN_SCALES, MIN_SCREEN),
        (CANVAS // 2, SCALES, 0.0),
    ):
        # Each image's spectrum is computed once, however many pairs it is in.
        rows, places = np.unique(pairs[close, :2], return_inverse=True)
        here = np.concatenate([places.reshape(-1, 2), pairs[close, 2:]], axis=1)
        found = _best_over_scales(images_nhw[rows], here, band, scales)
        close, found = close[found >= minimum], found[found >= minimum]
    scores[close] = found
    return scores


def _best_over_scales(
    images: NDArray[np.uint8], pairs: NDArray[np.int64], band: int, scales: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return the largest correlation of each pair over the scales, float32 [m]."""
    whole = Details(images, band=band)
    # From 0: an inverted image is no duplicate, so negative correlations do not count.
    best = np.zeros(len(pairs), np.float32)
    for scale in scales:
        if scale == 1:
            np.maximum(best, correlate(whole, whole, pairs), out=best)
            continue
        crops = Details(images, scale, band)
        # Either of the two may be a crop of the other; which one is mirrored does not matter.
        for order in ((0, 1, 2), (1, 0, 2)):
            np.maximum(best, correlate(crops, whole, pairs[:, order]), out=best)
    return best


class Details:
    """Spectra of the fine detail of images at one scale.

    Args:
        images_nhw: uint8 [n, CANVAS, CANVAS].
        scale: fraction of each side that is kept, around the middle, and enlarged again.
        band: highest frequency that is used, in periods per image.
    """

    def __init__(
        self, images_nhw: NDArray[np.uint8], scale: float = 1.0, band: int = CANVAS // 2
    ) -> None:
        rows = _rows_of(band)
        self.band = band
        self.spectra = np.empty((len(images_nhw), len(rows), band + 1), np.complex64)
        left, right = _high_pass(scale)
        for start in range(0, len(images_nhw), BLOCK):
            images = images_nhw[start : start + BLOCK].astype(np.float32)
            kept, blurred = left @ images @ left.T, right @ images @ right.T
            # The window fades the edges: the transform takes the image for a tile that repeats.
            detail = (kept - blurred) * _window()
            detail -= detail.mean(axis=(1, 2), keepdims=True)
            spectrum = np.fft.rfft2(detail).astype(np.complex64)[:, rows, : band + 1]
            power = (_weights(band) * (spectrum.real**2 + spectrum.imag**2)).sum(axis=(1, 2))
            # A floor, so that the rounding noise of flat images does not count as detail.
            norm = np.maximum(np.sqrt(power), 1e-3 * CANVAS)
            self.spectra[start : start + BLOCK] = spectrum / norm[:, None, None]

    def mirrored(self, chosen: NDArray[np.int64]) -> NDArray[np.complex64]:
        """Return the spectra of the chosen images' mirror images."""
        rows = _rows_of(self.band)
        negative = np.argsort(rows)[np.searchsorted(np.sort(rows), -rows % CANVAS)]
        columns = np.arange(self.band + 1)
        # Mirroring pixels 0 to n-1 is a mirroring about 0 and a shift by one pixel.
        phase = np.exp(2j * np.pi * columns / CANVAS).astype(np.complex64)
        flipped: NDArray[np.complex64] = self.spectra[chosen][:, negative].conj() * phase
        return flipped


def correlate(left: Details, right: Details, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the largest correlation over shifts of each pair's detail, float32 [m], -1 to 1.

    Args:
        left: spectra of the images in the pairs' first column.
        right: spectra of the images in the second.
        pairs: int64 [m, 3], (i, j, mirrored), where the left image may be mirrored.
    """
    across, down = _inverse(left.band)
    scores = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK):
        i, j, mirrored = pairs[start : start + BLOCK].T
        first = left.spectra[i]
        turned = np.flatnonzero(mirrored)
        if len(turned):
            first[turned] = left.mirrored(i[turned])
        # Correlation theorem: the product is the spectrum of the correlation over all shifts.
        first *= right.spectra[j].conj()
        # Two products for the few shifts that matter are cheaper than a whole inverse FFT.
        half = (first.reshape(-1, left.band + 1) @ across).reshape(*first.shape[:2], -1)
        half = half.transpose(0, 2, 1).reshape(-1, first.shape[1])
        planes = half.real @ down.real - half.imag @ down.imag
        scores[start : start + BLOCK] = planes.reshape(len(i), -1).max(axis=1)
    return scores


@cache
def _rows_of(band: int) -> NDArray[np.int64]:
    """Return the rows of a spectrum with frequencies up to `band`, negative ones too."""
    if band == CANVAS // 2:
        return np.arange(CANVAS)
    return np.concatenate([np.arange(band + 1), np.arange(CANVAS - band, CANVAS)])


@cache
def _weights(band: int) -> NDArray[np.float32]:
    """Return how often each column of a half spectrum occurs in the whole one."""
    columns = np.arange(band + 1)
    # A real image's spectrum is symmetric: all columns but the first and the last stand for two.
    return np.where((columns == 0) | (columns == CANVAS // 2), 1, 2).astype(np.float32)


@cache
def _inverse(band: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return the inverse transform up to a shift of REACH: across [columns, s], down [rows, s]."""
    shifts = np.arange(-REACH, REACH + 1)
    across = np.exp(2j * np.pi * np.outer(np.arange(band + 1), shifts) / CANVAS)
    down = np.exp(2j * np.pi * np.outer(_rows_of(band), shifts) / CANVAS)
    across = across * _weights(band)[:, None]
    return across.astype(np.complex64), down.astype(np.complex64)


@cache
def _window() -> NDArray[np.float32]:
    """Return the Hann window, float32 [CANVAS, CANVAS]."""
    return np.outer(np.hanning(CANVAS), np.hanning(CANVAS)).astype(np.float32)


@cache
def zoom(cut: float, place: float) -> NDArray[np.float32]:
    """Return the matrix [CANVAS, CANVAS] that crops a line and enlarges it again, bilinearly.

    Args:
        cut: fraction of the line that is cut off, 0 to 1.
        place: where the rest lies, from 0 (start) to 1 (end).
    """
    if cut == 0:
        return np.eye(CANVAS, dtype=np.float32)
    at = place * CANVAS * cut + (np.arange(CANVAS) + 0.5) * (1 - cut) - 0.5
    # Positions outside repeat the edge.
    low = np.clip(np.floor(at), 0, CANVAS - 1).astype(np.int64)
    weight = np.clip(at - low, 0, 1)
    matrix = np.zeros((CANVAS, CANVAS), np.float32)
    rows = np.arange(CANVAS)
    np.add.at(matrix, (rows, low), 1 - weight)
    np.add.at(matrix, (rows, np.minimum(low + 1, CANVAS - 1)), weight)
    return matrix


@cache
def _high_pass(scale: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the matrices that enlarge an image, and that enlarge and blur it."""
    rows = np.arange(CANVAS)
    reach = np.arange(-int(4 * BLUR), int(4 * BLUR) + 1)
    weight = np.exp(-(reach**2) / (2 * BLUR**2))
    blur = np.zeros((CANVAS, CANVAS), np.float32)
    for offset, part in zip(reach, weight / weight.sum(), strict=True):
        np.add.at(blur, (rows, np.clip(rows + offset, 0, CANVAS - 1)), part)  # edges are repeated
    kept = zoom(round(1 - scale, 4), 0.5)
    return kept, blur @ kept
