from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mien.study.claims import Claim, Comparison
from mien.study.forecast import seeds_until_decided
from mien.study.sequential import confidence_sequence, critical_t, e_values
from mien.study.statistics import Difference, Mean
from mien.study.verdict import ClaimOutcome, ComparisonOutcome

COMPARISON = Comparison("a", "b", "accuracy", 0.01)


def outcome(
    *found: tuple[float, float], spread: bool = False, at_least: bool = False
) -> ClaimOutcome:
    comparison = replace(COMPARISON, spread=spread, at_least=at_least)
    compared = tuple(
        ComparisonOutcome(
            comparison,
            Difference(Mean(mean, -math.inf, math.inf, 4), 1.0, 0.0, 4, deviation),
            1.0,
            "undecided",
        )
        for mean, deviation in found
    )
    return ClaimOutcome(Claim("", tuple(c.comparison for c in compared)), compared, "undecided")


def differences(n: int, mean: float, deviation: float) -> list[float]:
    """Return values with exactly this mean and standard deviation."""
    values = np.random.default_rng(0).normal(size=n)
    values = (values - values.mean()) / values.std(ddof=1)
    return list(mean + deviation * values)


@pytest.mark.parametrize(("mean", "deviation"), [(0.03, 0.02), (0.05, 0.01), (0.02, 0.03)])
def test_support_is_expected_where_the_e_value_gives_it(mean: float, deviation: float) -> None:
    n = int(seeds_until_decided(outcome((mean, deviation))))
    assert e_values(differences(n, mean, deviation))[-1] > 1 / 0.05
    assert e_values(differences(n - 1, mean, deviation))[-1] < 1 / 0.05


def test_refutation_is_expected_where_the_interval_gives_it() -> None:
    mean, deviation = -0.01, 0.02
    n = int(seeds_until_decided(outcome((mean, deviation))))
    for seeds, refuted in ((n, True), (n - 1, False)):
        reach = critical_t(seeds, 0.05) * deviation / math.sqrt(seeds)
        assert (mean + reach < COMPARISON.min_difference) == refuted
    # As the verdict has it: the interval of all looks is no wider than that of the last one.
    high = confidence_sequence(differences(n, mean, deviation), 0.05)[1]
    assert high < COMPARISON.min_difference


def test_all_comparisons_support_a_claim_and_one_refutes_it() -> None:
    clear, weak, wrong = (0.05, 0.01), (0.02, 0.03), (-0.05, 0.01)
    assert seeds_until_decided(outcome(clear, weak)) == seeds_until_decided(outcome(weak))
    assert seeds_until_decided(outcome(weak, wrong)) == seeds_until_decided(outcome(wrong))


def test_a_spread_takes_two_seeds_for_each_pair() -> None:
    once = seeds_until_decided(outcome((0.05, 0.02)))
    assert seeds_until_decided(outcome((0.05, 0.02), spread=True)) == 2 * once


def test_at_least_a_difference_needs_a_mean_that_may_reach_it() -> None:
    # With four seeds the standard error is half the deviation.
    above, below = (
        seeds_until_decided(outcome((mean, 0.004), at_least=True)) for mean in (0.0101, 0.0099)
    )
    assert above <= below <= above + 2
    # 0.008 is more than a standard error of 0.001 below 0.01: then only the interval decides.
    assert seeds_until_decided(outcome((0.008, 0.002), at_least=True)) == 15
    assert seeds_until_decided(outcome((0.008, 0.002))) == 4


def test_a_difference_at_the_minimum_is_never_refuted() -> None:
    # Support needs about as many seeds as the difference 0.01 does.
    need = seeds_until_decided(outcome((0.0099999, 0.02)))
    assert need == seeds_until_decided(outcome((0.01, 0.02)))


def test_without_a_difference_nothing_is_expected() -> None:
    assert seeds_until_decided(outcome((0.05, math.nan))) == 0
