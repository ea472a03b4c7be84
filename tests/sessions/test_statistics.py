"""Effective sizes, intervals and synchrony against what is known of drawn series."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mien.sessions.effective import MeanOf, effective_size, quantile_975
from mien.sessions.synchrony import SynchronyOptions, on_grid, synchrony

OPTIONS = SynchronyOptions(window_s=20.0, max_lag_s=2.0, step_s=0.2, surrogates=199)


def series(n: int, keep: float, rng: np.random.Generator) -> np.ndarray:
    """Return an autoregressive series of variance 1: x_t = keep x_(t-1) + noise."""
    x = np.empty(n)
    x[0] = rng.standard_normal()
    for t, noise in enumerate(rng.standard_normal(n - 1) * np.sqrt(1 - keep**2), 1):
        x[t] = keep * x[t - 1] + noise
    return x


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_the_effective_size_is_that_of_theory(keep: float, rng: np.random.Generator) -> None:
    found = [effective_size(series(4000, keep, rng)) for _ in range(40)]
    assert np.mean(found) == pytest.approx(4000 * (1 - keep) / (1 + keep), rel=0.12)


def test_edge_cases_of_the_effective_size() -> None:
    assert effective_size(np.zeros(0)) == 0
    assert effective_size(np.ones(1)) == 1
    assert effective_size(np.ones(50)) == 1
    assert effective_size(np.tile([1.0, -1.0], 20)) == 40


def test_intervals_hold_the_truth_95_times_in_100(rng: np.random.Generator) -> None:
    hits = plain = 0
    for _ in range(300):
        rest, task = series(750, 0.9, rng), series(1500, 0.9, rng) + 0.7
        found = MeanOf.of(task).minus(MeanOf.of(rest))
        hits += found.low <= 0.7 <= found.high
        half = 1.96 * np.sqrt(rest.var() / 750 + task.var() / 1500)
        plain += abs(task.mean() - rest.mean() - 0.7) <= half
    # An interval that takes frames for independent misses the truth most of the time.
    assert 0.90 <= hits / 300 <= 0.99
    assert plain / 300 < 0.6


def test_quantiles_of_student() -> None:
    for df in (2.0, 3.0, 5.5, 30.0, 1e6):
        assert quantile_975(df) == pytest.approx(stats.t.ppf(0.975, df), rel=0.02)


def test_pooling_keeps_counts_and_empties(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(100), rng.standard_normal(300) + 1
    pooled = MeanOf.pooled([MeanOf.of(x), MeanOf.of(np.zeros(0)), MeanOf.of(y)])
    assert pooled.n == 400
    assert pooled.mean == pytest.approx(np.concatenate([x, y]).mean())
    nothing = MeanOf.pooled([])
    assert np.isnan(nothing.minus(pooled).value)
    short = MeanOf.of(np.array([1.0, 2.0])).minus(pooled)
    assert np.isnan(short.low)
    assert not np.isnan(short.value)


def test_synchrony_with_a_lag_is_found(rng: np.random.Generator) -> None:
    a = series(3000, 0.9, rng)
    b = np.roll(a, 4) + 0.7 * series(3000, 0.9, rng)
    found = synchrony(a, b, OPTIONS)
    assert found.windows == (3000 - 20) // 100
    assert found.p == 1 / 200
    assert found.effect > 3
    assert found.peak_lag_s == pytest.approx(0.8)
    assert found.peak_r > found.r
    assert synchrony(b, a, OPTIONS).peak_lag_s == pytest.approx(-0.8)


def test_independent_series_are_seldom_synchronous(rng: np.random.Generator) -> None:
    p = [synchrony(series(1500, 0.9, rng), series(1500, 0.9, rng), OPTIONS).p for _ in range(100)]
    # 5 of 100 are expected at 0.05; 12 or more have a probability of 0.4%.
    assert np.mean(np.array(p) <= 0.05) <= 0.11
    assert 0.35 < np.mean(p) < 0.65


def test_gaps_and_short_series(rng: np.random.Generator) -> None:
    a, b = series(1500, 0.9, rng), series(1500, 0.9, rng)
    whole = synchrony(a, b, OPTIONS).windows
    a[300:420] = np.nan
    found = synchrony(a, b, OPTIONS)
    assert whole - 3 <= found.windows < whole
    assert not np.isnan(found.z)
    assert np.isnan(synchrony(a[:200], b[:200], OPTIONS).z)
    assert np.isnan(synchrony(np.zeros(1500), b, OPTIONS).z)
    assert synchrony(a[:5], b[:5], OPTIONS).windows == 0


def test_a_grid_averages_frames() -> None:
    time = np.arange(10) / 10
    values = np.arange(10.0)
    values[4:6] = np.nan
    grid = on_grid(time + 5, values, 0.2)
    assert np.array_equal(grid, [0.5, 2.5, np.nan, 6.5, 8.5], equal_nan=True)
