from __future__ import annotations

import numpy as np
import pytest

from mien import ConfigError
from mien.video.smooth import METHODS, Viterbi, make_smoother

HAPPY, SAD = np.array([0.9, 0.05, 0.05], np.float32), np.array([0.05, 0.05, 0.9], np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_stay_probabilities(method: str) -> None:
    rng = np.random.default_rng(0)
    smoother = make_smoother(method)
    for k in range(50):
        value = smoother.add(k * 0.05, rng.dirichlet([1, 1, 1]).astype(np.float32))
        assert value.sum() == pytest.approx(1, abs=1e-5)
        assert (value >= -1e-6).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [5, 15, 60])
def test_a_change_shows_within_a_quarter_of_a_second(method: str, rate: int) -> None:
    smoother = make_smoother(method)
    for k in range(rate * 2):
        smoother.add(k / rate, HAPPY)
    k = rate * 2
    while smoother.add(k / rate, SAD).argmax() != 2:
        k += 1
    assert k / rate - 2 <= 0.25


def test_exponential_depends_on_seconds_not_on_frames() -> None:
    ends = []
    for rate in (10, 20, 80):
        smoother = make_smoother("exponential", 0.3)
        smoother.add(0.0, HAPPY)
        for k in range(1, rate + 1):
            value = smoother.add(k / rate, SAD)
        ends.append(value[0])
    assert ends == pytest.approx([ends[0]] * 3, abs=1e-5)
    assert ends[0] == pytest.approx(0.05 + 0.85 * np.exp(-1 / 0.3), abs=1e-5)


@pytest.mark.parametrize("method", ["exponential", "one-euro"])
def test_flicker_is_smoothed_and_a_gap_forgets(method: str) -> None:
    rng = np.random.default_rng(1)
    raw = [rng.dirichlet([6, 2, 2]).astype(np.float32) for _ in range(200)]
    smoother = make_smoother(method)
    smooth = [smoother.add(k / 30, value) for k, value in enumerate(raw)]
    assert np.diff(smooth, axis=0).std() < 0.6 * np.diff(raw, axis=0).std()
    assert np.array_equal(smoother.add(60.0, SAD), SAD)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ConfigError, match="smooth: 'expo' is not a method"):
        make_smoother("expo")
    with pytest.raises(ConfigError, match="smooth_s: -1 is out of range"):
        make_smoother("exponential", -1)


def whole_viterbi(probs: np.ndarray, gap: float, rate: float) -> list[int]:
    """The textbook's algorithm over the whole sequence, as a reference."""
    change = 1 - np.exp(-gap * rate)
    moves = np.full((3, 3), np.log(change / 2))
    np.fill_diagonal(moves, np.log(1 - change))
    scores, backs = np.log(np.maximum(probs[0], 1e-4)), []
    for row in probs[1:]:
        candidates = scores[:, None] + moves
        backs.append(candidates.argmax(axis=0))
        scores = candidates.max(axis=0) + np.log(np.maximum(row, 1e-4))
    path = [int(scores.argmax())]
    for back in reversed(backs):
        path.append(int(back[path[-1]]))
    return path[::-1]


def test_viterbi_equals_the_textbooks_and_forgets_flicker() -> None:
    rng = np.random.default_rng(2)
    means = np.repeat([[6, 1, 1], [1, 1, 6], [1, 6, 1]], 40, axis=0)
    probs = np.array([rng.dirichlet(m) for m in means]).astype(np.float32)
    probs[60] = HAPPY
    viterbi = Viterbi(3, changes_per_s=0.5, lag_s=1e9)
    decided = [x for k, row in enumerate(probs) for x in viterbi.add(k * 0.1, row)]
    assert decided == []
    decided = viterbi.finish()
    assert [t for t, _ in decided] == pytest.approx(np.arange(120) * 0.1)
    path = [label for _, label in decided]
    assert path == whole_viterbi(probs.astype(np.float64), 0.1, 0.5)
    assert path == [0] * 40 + [2] * 40 + [1] * 40


def test_viterbi_decides_with_a_fixed_lag() -> None:
    viterbi = Viterbi(3, lag_s=1.0)
    decided = []
    for k in range(100):
        new = viterbi.add(k * 0.1, HAPPY if k < 50 else SAD)
        assert all(time_s <= k * 0.1 - 1.0 + 1e-9 for time_s, _ in new)
        decided += new
    assert len(decided) == 90
    decided += viterbi.finish()
    assert [label for _, label in decided] == [0] * 50 + [2] * 50
