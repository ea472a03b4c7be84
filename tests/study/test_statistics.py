from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mien.study.statistics import Difference, Mean, holm, mean_interval, paired
from mien.study.verdict import verdict_of


def test_the_interval_is_scipy_s_t_interval() -> None:
    values = [0.61, 0.64, 0.60, 0.66, 0.63]
    low, high = stats.t.interval(
        0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / math.sqrt(5)
    )
    mean = mean_interval(values)
    assert mean.low == pytest.approx(low)
    assert mean.high == pytest.approx(high)
    assert mean.n == 5


def test_few_values_have_no_interval() -> None:
    assert mean_interval([0.5]) == Mean(0.5, -math.inf, math.inf, 1)
    assert math.isnan(mean_interval([]).value)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == Mean(0.5, 0.5, 0.5, 3)


def test_the_interval_is_clipped_to_the_range_of_the_measure() -> None:
    assert mean_interval([0.2, 0.9], (0.0, 1.0)) == Mean(0.55, 0.0, 1.0, 2)


def test_the_paired_test_and_effect_size_by_hand() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.02, 0.03, 5), rng.normal(0, 0.03, 5)
    ours = paired(first.tolist(), second.tolist())
    spread = (first - second).std(ddof=1)
    t = (first - second).mean() / (spread / math.sqrt(5))
    assert ours.p_value == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert ours.hedges_g == pytest.approx((first - second).mean() / spread * (1 - 3 / 15))
    assert ours.wins == int((first > second).sum())


def test_equal_differences_do_not_divide_by_zero() -> None:
    assert paired([1.0, 2.0], [1.0, 2.0]).p_value == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0]).p_value == 0.0
    with pytest.raises(ValueError, match="cannot be paired"):
        paired([1.0], [1.0, 2.0])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def difference(low: float, value: float, high: float) -> Difference:
    return Difference(Mean(value, low, high, 5), 0.0, 1.0, 5)


def test_verdicts_follow_the_rule() -> None:
    assert verdict_of(difference(0.02, 0.04, 0.06), 0.01, 0.01) == "supported"
    assert verdict_of(difference(0.02, 0.04, 0.06), 0.2, 0.01) == "undecided"
    assert verdict_of(difference(0.001, 0.002, 0.003), 0.001, 0.01) == "not supported"
    assert verdict_of(difference(-0.06, -0.04, -0.02), 0.001, 0.01) == "not supported"
    assert verdict_of(difference(-0.01, 0.005, 0.02), 0.4, 0.01) == "undecided"
    # Clearly above 0, and perhaps at least 0.01: supported, unless the claim is of 0.01 or more.
    assert verdict_of(difference(0.002, 0.009, 0.016), 0.01, 0.01) == "supported"
    assert verdict_of(difference(0.002, 0.009, 0.016), 0.01, 0.01, at_least=True) == "undecided"
    assert verdict_of(difference(0.003, 0.011, 0.019), 0.01, 0.01, at_least=True) == "supported"
    assert verdict_of(difference(-0.016, -0.009, 0.02), 0.01, 0.01) == "undecided"
    assert verdict_of(None, 1.0, 0.01) == "undecided"


def test_where_nothing_differs_hardly_anything_is_supported() -> None:
    rng = np.random.default_rng(1)
    supported = 0
    for _ in range(400):
        x, y = rng.normal(0.7, 0.01, (2, 5))
        found = paired(x.tolist(), y.tolist())
        supported += verdict_of(found, found.p_value, 0.002) == "supported"
    assert supported / 400 < 0.05


def test_what_does_differ_is_supported() -> None:
    rng = np.random.default_rng(2)
    verdicts = []
    for _ in range(100):
        x, y = rng.normal(0.75, 0.01, 5), rng.normal(0.70, 0.01, 5)
        found = paired(x.tolist(), y.tolist())
        verdicts.append(verdict_of(found, found.p_value, 0.01))
    assert verdicts.count("supported") > 90
