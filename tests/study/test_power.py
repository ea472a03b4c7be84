from __future__ import annotations

import math

import numpy as np
import pytest

from mien.study.power import MAX_SEEDS, detectable_difference, fixed_t, seeds_needed
from mien.study.sequential import e_values


def test_the_detectable_difference_is_detected_in_four_of_five_studies() -> None:
    n, alpha, deviation = 6, 0.05 / 2, 0.03
    shift = detectable_difference(n, deviation, alpha, sequential=False)
    x = np.random.default_rng(0).normal(shift, deviation, (20_000, n))
    t = x.mean(1) / (x.std(1, ddof=1) / math.sqrt(n))
    assert (t > fixed_t(n, alpha)).mean() == pytest.approx(0.8, abs=0.01)


def test_sequential_looks_detect_it_at_least_as_often() -> None:
    n, alpha, deviation = 10, 0.05, 0.02
    shift = detectable_difference(n, deviation, alpha, sequential=True)
    values = e_values(np.random.default_rng(1).normal(shift, deviation, (20_000, n)))
    assert (values[:, -1] >= 1 / alpha).mean() == pytest.approx(0.8, abs=0.01)
    assert 0.8 < (values.max(axis=1) >= 1 / alpha).mean() < 0.9


@pytest.mark.parametrize("sequential", [False, True])
def test_seeds_needed_are_the_fewest_that_detect(sequential: bool) -> None:
    needed = seeds_needed(0.02, 0.03, 0.05, sequential=sequential)
    assert needed is not None
    assert detectable_difference(needed, 0.03, 0.05, sequential=sequential) <= 0.02
    assert detectable_difference(needed - 1, 0.03, 0.05, sequential=sequential) > 0.02


def test_the_limits_of_power() -> None:
    assert seeds_needed(1e-6, 1.0, 0.05, sequential=True) is None
    assert detectable_difference(1, 0.1, 0.05, sequential=False) == math.inf
    assert detectable_difference(3, 0.1, 0.05, sequential=True) == math.inf
    assert detectable_difference(8, 0.0, 0.05, sequential=True) == 0.0
    assert MAX_SEEDS == 1000
