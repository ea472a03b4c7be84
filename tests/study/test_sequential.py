from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from mien.study.sequential import (
    PRIOR_VARIANCE,
    anytime_p_value,
    confidence_sequence,
    critical_t,
    e_values,
)
from mien.study.statistics import paired_sequential

ALPHA = 0.05
PATHS, LOOKS = 4000, 200


def null_paths(seed: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, (PATHS, LOOKS))


def test_the_e_value_is_the_bayes_factor_of_the_t_test() -> None:
    x = np.random.default_rng(0).normal(0.4, 1.0, 7)
    n = len(x)
    t = x.mean() / (x.std(ddof=1) / math.sqrt(n))

    def weighted(effect: float) -> float:
        density = stats.nct.pdf(t, n - 1, effect * math.sqrt(n))
        return float(density * stats.norm.pdf(effect, 0, math.sqrt(PRIOR_VARIANCE)))

    marginal, _ = integrate.quad(weighted, -12, 12)
    assert e_values(x)[-1] == pytest.approx(marginal / stats.t.pdf(t, n - 1), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_looking_after_every_seed_holds_the_error_rate(scale: float) -> None:
    largest = e_values(null_paths(1, scale)).max(axis=1)
    rate = float((largest >= 1 / ALPHA).mean())
    # Ville's inequality bounds it by 0.05; far below that, the test would be useless.
    assert 0.01 < rate < ALPHA


def test_a_t_test_after_every_seed_would_not_hold_it() -> None:
    x = null_paths(1)[:, :60]
    n = np.arange(1, 61)
    mean = np.cumsum(x, 1) / n
    deviation = np.sqrt((np.cumsum(x * x, 1) - n * mean**2)[:, 3:] / (n[3:] - 1))
    t = np.abs(mean[:, 3:]) / (deviation / np.sqrt(n[3:]))
    assert (t > stats.t.ppf(1 - ALPHA / 2, n[3:] - 1)).any(axis=1).mean() > 0.2


def test_the_rate_of_a_family_is_held_however_its_claims_depend_on_each_other() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 1, (PATHS, 1, 60))
    x = shared + rng.normal(0, 1, (PATHS, 3, 60))  # three claims against the same cell
    p = 1 / e_values(x).max(axis=2)
    # Holm's first step decides whether anything at all is rejected.
    assert (3 * p.min(axis=1) < ALPHA).mean() < ALPHA


def test_tails_as_heavy_as_student_s_t_with_five_degrees_change_little() -> None:
    x = np.random.default_rng(3).standard_t(5, (PATHS, LOOKS))
    assert (e_values(x).max(axis=1) >= 1 / ALPHA).mean() < ALPHA


def test_effects_that_matter_are_found_with_few_seeds() -> None:
    x = np.random.default_rng(4).normal(1.5, 1.0, (PATHS, 40))
    found = np.maximum.accumulate(e_values(x), axis=1) >= 1 / ALPHA
    assert found[:, 10].mean() > 0.8  # eleven seeds; one t test of as many has power 0.99
    assert found[:, -1].mean() > 0.999
    large = np.random.default_rng(5).normal(5.0, 1.0, (PATHS, 6))
    assert (e_values(large)[:, 4] >= 1 / ALPHA).mean() > 0.9  # five seeds


def test_the_critical_t_is_where_the_e_value_reaches_its_limit() -> None:
    for n in (5, 8, 30):
        t = critical_t(n, ALPHA)
        base = np.arange(n) - (n - 1) / 2
        x = base / base.std(ddof=1) + t / math.sqrt(n)
        assert e_values(x)[-1] == pytest.approx(1 / ALPHA, rel=1e-6)
    assert math.isinf(critical_t(1, ALPHA))
    assert math.isinf(critical_t(3, ALPHA))
    assert critical_t(4, ALPHA) < critical_t(4, 0.03)


def test_the_confidence_sequence_inverts_the_test() -> None:
    x = np.random.default_rng(6).normal(2.0, 1.0, 9)
    low, high = confidence_sequence(x.tolist(), ALPHA)
    for bound in (low, high):
        # The e-value against a mean at the bound just reaches its limit, at one of the looks.
        assert e_values(x - bound)[1:].max() == pytest.approx(1 / ALPHA, rel=1e-6)
    assert low < 2.0 < high


def test_the_confidence_sequence_covers_at_all_times_together() -> None:
    x = np.random.default_rng(7).normal(0.3, 1.0, (300, 40))
    covered = 0
    for path in x:
        bounds = [confidence_sequence(path[:n].tolist(), ALPHA) for n in range(4, 41, 4)]
        assert all(b[0] >= a[0] and b[1] <= a[1] for a, b in itertools.pairwise(bounds))
        covered += all(low <= 0.3 <= high for low, high in bounds)
    assert covered / 300 > 1 - ALPHA


def test_degenerate_differences() -> None:
    assert anytime_p_value([]) == 1.0
    assert anytime_p_value([0.0] * 10) == 1.0
    assert anytime_p_value([5.0]) == 1.0
    assert 0 < anytime_p_value([0.1] * 3) < 1
    assert confidence_sequence([0.1], ALPHA) == (-math.inf, math.inf)
    assert confidence_sequence([0.0] * 9, ALPHA) == (-math.inf, math.inf)
    assert confidence_sequence([0.0] * 10, ALPHA) == (0.0, 0.0)


def test_equal_differences_at_first_do_not_decide_about_later_ones() -> None:
    low, high = confidence_sequence([0.0] * 6 + [4.0, 5.0, 6.0, 5.0, 4.0, 5.0], ALPHA)
    assert low < 2.25 < high
    # Jumps that no Gaussian makes empty the intersection: the present look counts then.
    low, high = confidence_sequence([0.0, 1e-6, 0.0, 1e-6, 0.0, *[5.0 + i / 9 for i in range(40)]],
                                    ALPHA)  # fmt: skip
    assert 3.0 < low < high


def test_the_sequential_difference_is_wider_than_that_of_a_single_look() -> None:
    first, second = [0.61, 0.64, 0.60, 0.66, 0.63, 0.62], [0.58, 0.60, 0.59, 0.60, 0.58, 0.57]
    difference = paired_sequential(first, second)
    assert difference.mean.value == pytest.approx(np.mean(np.subtract(first, second)))
    assert difference.mean.n == 6
    low, high = stats.t.interval(
        0.95, 5, difference.mean.value, stats.sem(np.subtract(first, second))
    )
    assert difference.mean.low < low < high < difference.mean.high
    assert difference.p_value > stats.ttest_rel(first, second).pvalue
