"""How many seeds an undecided claim probably needs: the cheapest claims are decided first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.study.power import smallest
from mien.study.sequential import EQUAL, MIN_EQUAL, critical_t

if TYPE_CHECKING:
    from mien.study.verdict import ClaimOutcome, ComparisonOutcome


def seeds_until_decided(claim: ClaimOutcome) -> float:
    """Return the seeds that decide a claim if mean and deviation of its differences stay the same.

    It only orders the trainings: the tests are valid whatever it says.

    Returns:
        2 or more; 0 where no difference is known yet, inf where more than MAX_SEEDS are needed.
    """
    compared = claim.comparisons
    if any(c.difference is None or math.isnan(c.difference.deviation) for c in compared):
        return 0.0
    # All comparisons support a claim, and any one refutes it.
    supported = max(_seeds(c, supports=True) for c in compared)
    return min(supported, *(_seeds(c, supports=False) for c in compared))


def _seeds(compared: ComparisonOutcome, *, supports: bool) -> float:
    found, claimed = compared.difference, compared.comparison
    assert found is not None  # noqa: S101 - checked by the caller
    mean, deviation = found.mean.value, found.deviation
    # What is missing to the boundary: 0 for support, the smallest difference for refutation.
    distance = mean if supports else claimed.min_difference - mean
    # A mean just below the smallest difference may exceed it after the next seeds.
    reach = mean + deviation / math.sqrt(found.mean.n)
    if distance <= 0 or (supports and claimed.at_least and reach < claimed.min_difference):
        return math.inf
    # A spread takes two seeds for each of its pairs.
    factor = 2 if claimed.spread else 1
    if deviation < EQUAL:
        return math.inf if supports else factor * MIN_EQUAL
    alpha = compared.alpha if supports else 1 - compared.level
    n = smallest(lambda n: distance * math.sqrt(n) / deviation > critical_t(n, alpha))
    return math.inf if n is None else factor * n
