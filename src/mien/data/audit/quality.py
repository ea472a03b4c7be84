"""Images of low quality: blank, mostly flat, blurred, too dark, too bright.

Blank and flat images are found by fixed limits. Blur and exposure are outliers of the dataset, by
the modified z-score: 0.6745 times the distance from the median over the median absolute deviation,
beyond 3.5 (Iglewicz and Hoaglin 1993).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.problem import DROP, NOTE, SEVERE, WARNING, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLANK_DEVIATION = 4.0
"""Standard deviation of an image's pixels, in grey levels, below which it is blank."""
MAX_BLACK, MIN_WHITE = 16.0, 239.0
"""Grey levels: an image is blank where its 99th percentile is below the first, or its 1st
percentile above the second."""
EVEN = 3
"""Grey levels within which an area counts as even."""
FLAT_FRACTION = 0.6
"""Minimum fraction of a mostly flat image that is one grey level, plus or minus EVEN."""
BORDER_FRACTION = 0.35
"""Minimum fraction of an image that even borders take, for it to be listed as mostly flat."""
OUTLIER = 3.5
"""Modified z-score of an outlier."""
MIN_IMAGES = 30
"""Number of images below which there are no outliers."""
BLOCK = 2048
"""Images that are measured at once, to bound the memory."""


def check_quality(images_nhw: NDArray[np.uint8]) -> list[Problem]:
    """Return the blank, flat, blurred, dark and bright images among uint8 [n, size, size]."""
    blocks = [
        _measure(np.asarray(images_nhw[start : start + BLOCK]))
        for start in range(0, len(images_nhw), BLOCK)
    ]
    if not blocks:
        return []
    m = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    blank = m["deviation"] < MAX_BLANK_DEVIATION
    blank |= (m["high"] < MAX_BLACK) | (m["low"] > MIN_WHITE)
    problems = [
        Problem(int(i), "blank", SEVERE, _blank(m, int(i)), DROP, score=-float(m["deviation"][i]))
        for i in np.flatnonzero(blank)
    ]
    flat = ~blank & ((m["even"] >= FLAT_FRACTION) | (m["border"] >= BORDER_FRACTION))
    for i in np.flatnonzero(flat):
        words = f"{m['even'][i]:.0%} one grey level, even borders {m['border'][i]:.0%}"
        score = float(max(m["even"][i], m["border"][i]))
        problems.append(Problem(int(i), "mostly-flat", WARNING, words, score=score))
    # Blank images would widen the deviations by which the others are judged.
    rest = np.flatnonzero(~blank)
    for check, name, sign, words in (
        ("blurred", "sharpness", -1, "sharpness"),
        ("too-dark", "mean", -1, "mean grey level"),
        ("too-bright", "mean", 1, "mean grey level"),
    ):
        z = modified_z(m[name][rest])
        for i, far in zip(rest[z * sign > OUTLIER], z[z * sign > OUTLIER], strict=True):
            text = f"{words} {m[name][i]:.3g}, {abs(far):.1f} deviations from the median"
            problems.append(Problem(int(i), check, NOTE, text, score=abs(float(far))))
    return problems


def modified_z(values_n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the modified z-scores, float64 [n]; all 0 for fewer than MIN_IMAGES values."""
    if len(values_n) < MIN_IMAGES:
        return np.zeros(len(values_n))
    distance = values_n - np.median(values_n)
    # Median absolute deviation (Iglewicz and Hoaglin 1993): outliers do not hide themselves by it.
    spread = float(np.median(np.abs(distance)))
    # 0.6745 is the normal distribution's upper quartile, which turns the spread into deviations.
    return 0.6745 * distance / spread if spread > 0 else np.zeros(len(values_n))


def _measure(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return measures of each image, float64 [n] each, for uint8 [n, size, size]."""
    n, side = images.shape[:2]
    pixels = images.astype(np.float32)
    variance = pixels.var(axis=(1, 2))
    # The variance of the Laplacian: blur removes the second derivatives first.
    around = pixels[:, 2:, 1:-1] + pixels[:, :-2, 1:-1] + pixels[:, 1:-1, 2:] + pixels[:, 1:-1, :-2]
    laplacian = (around - 4 * pixels[:, 1:-1, 1:-1]).var(axis=(1, 2))
    # Sorted once: both percentiles are positions in it.
    levels = np.sort(images.reshape(n, -1), axis=1)
    return {
        "mean": pixels.mean(axis=(1, 2), dtype=np.float64),
        "deviation": np.sqrt(variance, dtype=np.float64),
        # Percentiles and not extremes: a single bright pixel on black is still a blank image.
        "low": levels[:, int(0.01 * side * side)].astype(np.float64),
        "high": levels[:, int(0.99 * side * side)].astype(np.float64),
        # Logarithmic, since sharpness spans magnitudes; over the variance, which is contrast.
        "sharpness": np.log((laplacian + 0.1) / (variance + 1.0)).astype(np.float64),
        "even": _even_fraction(images),
        "border": _border_fraction(images),
    }


def _even_fraction(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the largest fraction of pixels within EVEN grey levels around one level, [n]."""
    n = len(images)
    # One histogram per image: each image's levels are shifted to bins of their own.
    offsets = (np.arange(n) * 256)[:, None] + images.reshape(n, -1)
    counts = np.bincount(offsets.ravel(), minlength=256 * n).reshape(n, 256)
    sums = np.cumsum(np.pad(counts, ((0, 0), (1, 2 * EVEN))), axis=1)
    # Differences of the running sum: every window in one subtraction.
    window = sums[:, 2 * EVEN + 1 :] - sums[:, : -2 * EVEN - 1]
    fraction: NDArray[np.float64] = window.max(axis=1) / images[0].size
    return fraction


def _border_fraction(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the fraction of the image outside of the smallest box that is not even, [n]."""
    spread_rows = np.ptp(images, axis=2) > 2 * EVEN
    spread_columns = np.ptp(images, axis=1) > 2 * EVEN
    # Rows times columns that remain, as fractions: the area of the box.
    kept = np.ones(len(images))
    for uneven in (spread_rows, spread_columns):
        first, last = uneven.argmax(axis=1), uneven[:, ::-1].argmax(axis=1)
        length = np.where(uneven.any(axis=1), uneven.shape[1] - first - last, 0)
        kept *= length / uneven.shape[1]
    return 1 - kept


def _blank(m: dict[str, NDArray[np.float64]], i: int) -> str:
    """Return the evidence that image `i` is blank."""
    kind = "black" if m["high"][i] < MAX_BLACK else "white" if m["low"][i] > MIN_WHITE else "grey"
    return f"{kind}: mean grey level {m['mean'][i]:.0f}, deviation {m['deviation'][i]:.1f}"
