"""Synchrony of two people in one video: windowed cross-correlation and a surrogate test.

Windows as in Boker, Xu, Rotondo and King (2002, "Windowed cross-correlation and peak picking for
the analysis of variability in the association between behavioral time series"); the measure and
the surrogates as in Ramseyer and Tschacher (2011, "Nonverbal synchrony in psychotherapy"): the mean
of the absolute Fisher's z over windows and lags, against pseudo-synchrony, in which each window of
one person meets another window of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_WINDOWS = 4
"""Windows below which a surrogate test could not show anything."""
MAX_R = 0.9999
"""Correlations are kept below it: Fisher's z of 1 is infinite."""
MIN_SEEN = 0.8
"""Fraction of a window in which both must be seen."""


@dataclass(frozen=True, slots=True)
class SynchronyOptions:
    """How synchrony is measured.

    Attributes:
        window_s: length of a window in seconds.
        max_lag_s: largest lag in seconds.
        step_s: step of the even grid in seconds.
        surrogates: number of shuffles.
        seed: of the shuffles.
    """

    window_s: float = 30.0
    max_lag_s: float = 5.0
    step_s: float = 0.2
    surrogates: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Synchrony:
    """The synchrony of two series.

    Attributes:
        windows: that were used.
        z: mean absolute Fisher's z over windows and lags; nan where there are too few windows.
        pseudo_z: mean of the surrogates.
        pseudo_sd: their standard deviation.
        effect: (z - pseudo_z) / pseudo_sd.
        p: one-sided; (1 + surrogates of at least z) / (1 + surrogates).
        r: mean correlation without a lag, by Fisher's z.
        peak_lag_s: lag of the largest mean correlation; positive where the second follows.
        peak_r: that correlation.
    """

    windows: int
    z: float = np.nan
    pseudo_z: float = np.nan
    pseudo_sd: float = np.nan
    effect: float = np.nan
    p: float = np.nan
    r: float = np.nan
    peak_lag_s: float = np.nan
    peak_r: float = np.nan


def on_grid(
    time_n: NDArray[np.float64], x_n: NDArray[np.float64], step_s: float
) -> NDArray[np.float64]:
    """Return a series' mean in each step of an even grid, float64 [steps]; nan where unseen.

    Args:
        time_n: float64 [n], seconds in order.
        x_n: float64 [n], nan where the person was not seen.
        step_s: of the grid, which starts at the first time.
    """
    place = np.floor((time_n - time_n[0]) / step_s + 1e-6).astype(np.int64)
    steps = int(place[-1]) + 1
    seen = ~np.isnan(x_n)
    total = np.bincount(place[seen], weights=x_n[seen], minlength=steps)
    count = np.bincount(place[seen], minlength=steps)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def synchrony(
    a_n: NDArray[np.float64], b_n: NDArray[np.float64], options: SynchronyOptions
) -> Synchrony:
    """Return the synchrony of two series on one even grid.

    Args:
        a_n: float64 [n], nan where the first person was not seen.
        b_n: float64 [n], the same of the second.
        options: windows, lags and surrogates; `step_s` is the grid's.
    """
    width = max(3, round(options.window_s / options.step_s))
    lags = round(options.max_lag_s / options.step_s)
    starts = np.arange(lags, len(a_n) - width - lags + 1, width)
    wide = np.arange(-lags, width + lags)
    a_wn = a_n[starts[:, None] + np.arange(width)] if len(starts) else np.zeros((0, width))
    b_wn = b_n[starts[:, None] + wide] if len(starts) else np.zeros((0, len(wide)))
    kept = (np.isnan(a_wn).mean(axis=1) <= 1 - MIN_SEEN) & (
        np.isnan(b_wn).mean(axis=1) <= 1 - MIN_SEEN
    )
    a_wn, b_wn = _filled(a_wn[kept]), _filled(b_wn[kept])
    windows = len(a_wn)
    if windows < MIN_WINDOWS:
        return Synchrony(windows)
    each_ww, own_lw = _fisher_z(a_wn, b_wn, width, lags)
    own = np.arange(windows)
    value = float(_mean(each_ww[own, own]))
    rng = np.random.default_rng(options.seed)
    pseudo = np.array([
        float(_mean(each_ww[own, _deranged(windows, rng)])) for _ in range(options.surrogates)
    ])  # fmt: skip
    mean_l = _mean(own_lw, axis=1)
    if np.isnan(value) or np.isnan(mean_l).all():
        return Synchrony(windows)
    peak = int(np.nanargmax(mean_l))
    spread = float(pseudo.std(ddof=1)) if len(pseudo) > 1 else np.nan
    return Synchrony(
        windows=windows, z=value, pseudo_z=float(pseudo.mean()), pseudo_sd=spread,
        effect=(value - float(pseudo.mean())) / spread if spread > 0 else np.nan,
        p=float((1 + (pseudo >= value).sum()) / (1 + len(pseudo))),
        r=float(np.tanh(mean_l[lags])), peak_lag_s=(peak - lags) * options.step_s,
        peak_r=float(np.tanh(mean_l[peak])),
    )  # fmt: skip


def _fisher_z(
    a_wn: NDArray[np.float64], b_wn: NDArray[np.float64], width: int, lags: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean |z| over lags of all pairs of windows, and the z of each window's own pair.

    All pairs of windows at once: a shuffle then only picks among them.

    Returns:
        float64 [w, w], window of `a` by window of `b`; and float64 [2 * lags + 1, w].
    """
    a = _standardised(a_wn)
    total = np.zeros((len(a), len(a)))
    count = np.zeros((len(a), len(a)), np.int64)
    own = []
    for lag in range(2 * lags + 1):
        with np.errstate(invalid="ignore"):
            r = a @ _standardised(b_wn[:, lag : lag + width]).T / width
        z = np.arctanh(np.clip(r, -MAX_R, MAX_R))
        own.append(np.diagonal(z).copy())
        known = ~np.isnan(z)
        total += np.where(known, np.abs(z), 0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), np.stack(own)


def _standardised(x_wn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return windows of mean 0 and variance 1; nan where a window is constant."""
    centered = x_wn - x_wn.mean(axis=1, keepdims=True)
    deviation = centered.std(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation > 1e-9, centered / deviation, np.nan)


def _filled(x_wn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return windows with gaps filled by lines between their ends."""
    filled = x_wn.copy()
    grid = np.arange(x_wn.shape[1])
    for row in filled:
        gaps = np.isnan(row)
        if gaps.any():
            row[gaps] = np.interp(grid[gaps], grid[~gaps], row[~gaps])
    return filled


def _deranged(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random order in which nothing has its own place (Sattolo 1986)."""
    order = np.arange(n)
    for last in range(n - 1, 0, -1):
        other = int(rng.integers(last))
        order[last], order[other] = order[other], order[last]
    return order


def _mean(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Return the mean without nan; nan of nothing, without a warning."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=axis)
    total = np.where(seen, values, 0).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
