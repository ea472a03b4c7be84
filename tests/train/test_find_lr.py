from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError, TrainingError
from mien.train.loop.find_lr import (
    STEPS,
    blown_up,
    draw_range_test,
    find_lr,
    suggest,
    with_found_lr,
)
from tests.train.test_fit import recipe

RATES = np.geomspace(1e-6, 30, STEPS)


Steps = tuple[list[float], list[tuple[float, float]]]


def steps(too_large: float) -> Steps:
    """A quadratic whose steps gain nothing at `too_large`, and its blow-up beyond."""
    losses, changes = [], []
    for rate in RATES.tolist():
        losses.append(1.1 - 0.8 * rate / (rate + too_large / 20) + (rate / too_large) ** 2)
        changes.append((-(1 - rate / too_large) * rate, -rate))
    return losses, changes


@pytest.mark.parametrize("too_large", [1e-2, 1.0])
def test_the_suggestion_is_where_the_gain_ratio_is_still_high(too_large: float) -> None:
    losses, changes = steps(too_large)
    test = suggest(RATES, losses, changes)
    # The gain of this quadratic is 0.85 at 0.15 of the rate that gains nothing.
    assert too_large * 0.1 < test.suggestion < too_large * 0.2 or test.suggestion == pytest.approx(
        test.min_loss_lr / 4, rel=0.05
    )
    assert test.suggestion < test.min_loss_lr
    assert test.gains[0] == pytest.approx(1.0, abs=0.01)


def test_one_low_gain_among_tiny_steps_is_chance() -> None:
    losses, changes = steps(1.0)
    changes[30] = (5e-5, changes[30][1])
    assert suggest(RATES, losses, changes).suggestion > 1e-2


def test_an_easy_first_batch_is_chance() -> None:
    losses, changes = steps(1.0)
    losses[0] = 0.2  # below all that follows
    assert suggest(RATES, losses, changes).suggestion > 1e-2


def test_a_test_ends_when_the_loss_blows_up() -> None:
    assert blown_up([1.0] * 30 + [math.nan])
    assert blown_up([1.0] * 30 + [50.0] * 3)
    assert not blown_up([1.0] * 30 + [1.5] * 3)


def test_numbers_are_needed_to_suggest_anything() -> None:
    with pytest.raises(TrainingError, match="NaN or infinite after 2 steps"):
        suggest(RATES[:3], [1.0, 2.0, math.nan], [(0.0, -1.0)] * 3)


def test_a_found_rate_trains_and_is_the_same_each_time(drawn: Dataset) -> None:
    auto = recipe(optimizer={"lr": "auto"})
    seen: list[int] = []
    first = find_lr(auto, drawn, lambda done, total: seen.append(done))
    assert first == find_lr(auto, drawn)
    assert seen[-1] <= STEPS
    assert 1e-4 < first.suggestion < 3
    resolved, test = with_found_lr(auto, drawn)
    assert test == first
    assert resolved.optimizer.rate == first.suggestion
    assert resolved.to_dict()["optimizer"]["lr"] == first.suggestion


def test_a_number_is_not_tested(drawn: Dataset) -> None:
    plain = recipe(optimizer={"lr": 0.05})
    assert with_found_lr(plain, drawn) == (plain, None)


def test_auto_is_the_only_word_for_a_rate() -> None:
    with pytest.raises(ConfigError, match="a number or 'auto', got 'fast'"):
        recipe(optimizer={"lr": "fast"})
    with pytest.raises(ConfigError, match="no range test has replaced it"):
        _ = recipe(optimizer={"lr": "auto"}).optimizer.rate
    with pytest.raises(ConfigError, match="above 0"):
        recipe(optimizer={"lr": -1})


def test_the_curve_is_an_image(tmp_path: Path) -> None:
    test = suggest(RATES, *steps(1.0))
    assert draw_range_test(test, title="drawn").startswith(b"\x89PNG")
    assert json.loads(json.dumps(test.to_dict()))["suggestion"] == test.suggestion
