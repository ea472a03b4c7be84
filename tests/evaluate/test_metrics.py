from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.evaluate.bootstrap import group_weights, headline_estimates, paired_difference, wilson
from mien.evaluate.class_metrics import class_metrics
from mien.evaluate.metrics import BINS, FIGURES, Rows, confusion_matrix, per_class


def sample(seed: int = 0, n: int = 300, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = rng.integers(0, classes, n)
    probs = rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[right]
    return right, (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def test_parity_with_scikit_learn() -> None:
    right, probs = sample()
    rows = Rows.of(right, probs)
    ours = dict(zip(FIGURES, rows.figures(), strict=True))
    answers = probs.argmax(axis=1)
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(right, answers))
    assert ours["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(right, answers)
    )
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(right, answers, average="macro"))
    doubles = probs.astype(np.float64)
    doubles /= doubles.sum(axis=1, keepdims=True)
    assert ours["log_loss"] == pytest.approx(reference.log_loss(right, doubles), rel=1e-5)
    table = confusion_matrix(right, answers, 3)
    assert np.array_equal(table, reference.confusion_matrix(right, answers))
    precision, recall, f1, _ = reference.precision_recall_fscore_support(right, answers)
    for own, theirs in zip(per_class(table), (precision, recall, f1), strict=True):
        np.testing.assert_allclose(own, theirs)


def test_by_hand() -> None:
    right = np.array([0, 0, 0, 1, 1, 1])
    probs = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]], np.float32
    )
    rows = Rows.of(right, probs)
    accuracy, balanced, f1, log_loss, brier = rows.figures()
    assert accuracy == balanced == f1 == pytest.approx(4 / 6)
    own = [0.9, 0.8, 0.3, 0.6, 0.9, 0.4]
    assert log_loss == pytest.approx(-np.log(own).mean(), rel=1e-6)
    assert brier == pytest.approx(2 * np.mean([(1 - p) ** 2 for p in own]), rel=1e-6)


def rows_of(y_true: list[int], y_pred: list[int], classes: int) -> Rows:
    probs = 0.1 + 0.7 * np.eye(classes, dtype=np.float32)[y_pred]
    return Rows.of(np.array(y_true), probs)


def test_classes_by_hand() -> None:
    # Ground truth: 4 a, 3 b, 0 c; predictions: 3 of a and 2 of b are right, one a is called c.
    rows = rows_of([0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 2, 1, 1, 0], 3)
    a, b, c = class_metrics(rows, np.arange(7), ("a", "b", "c"))
    assert (a.n, a.n_predicted, a.recall.value, a.precision.value) == (4, 4, 0.75, 0.75)
    assert (b.n, b.n_predicted, b.precision.value) == (3, 2, 1.0)
    assert b.recall.value == pytest.approx(2 / 3)
    # Wilson for 3 of 4: (0.75 + z2 / 8 -+ z sqrt(0.75 0.25 / 4 + z2 / 64)) / (1 + z2 / 4).
    assert a.recall.low == pytest.approx(0.300642, abs=1e-5)
    assert a.recall.high == pytest.approx(0.954413, abs=1e-5)
    assert b.f1.value == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert (c.n, c.n_predicted, c.precision.value) == (0, 1, 0.0)
    assert not c.recall.is_defined
    assert not c.f1.is_defined


def test_classes_agree_with_scikit_learn() -> None:
    right, probs = sample(3, 200, 5)
    rows = Rows.of(right, probs)
    found = class_metrics(rows, np.arange(200), tuple("abcde"))
    theirs = reference.precision_recall_fscore_support(right, probs.argmax(axis=1))
    ours = [[one.precision.value, one.recall.value, one.f1.value, one.n] for one in found]
    np.testing.assert_allclose(np.transpose(ours), theirs)
    for one in found:
        for estimate in (one.precision, one.recall, one.f1):
            assert estimate.low < estimate.value < estimate.high


def test_duplicates_count_once_in_the_intervals_of_classes() -> None:
    rows = rows_of([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], 2)
    tied = class_metrics(rows, np.array([0, 0, 1, 1, 2, 2]), ("a", "b"))[0]
    assert (tied.n, tied.recall.value) == (4, 0.5)
    assert tied.recall == wilson(1, 2)


def test_averages_over_classes_are_not_defined_where_a_class_has_no_image() -> None:
    probs = np.tile(np.array([0.1, 0.8, 0.1], np.float32), (40, 1))
    rows = Rows.of(np.ones(40, int), probs)  # a model that says only one thing, and is graded on it
    values = dict(zip(FIGURES, rows.figures(), strict=True))
    assert values["accuracy"] == 1
    assert np.isnan(values["balanced_accuracy"])
    assert np.isnan(values["macro_f1"])
    accuracy, balanced, macro, *_ = headline_estimates(rows, np.arange(40), resamples=50)
    assert not balanced.is_defined
    assert macro.to_dict() == {"value": None, "low": None, "high": None}
    # Wilson's lower limit for 40 of 40 is 40 / (40 + z^2).
    assert (accuracy.value, accuracy.high) == (1, 1)
    assert accuracy.low == pytest.approx(40 / (40 + 1.959964**2))


def test_no_interval_collapses_at_no_error() -> None:
    right = np.repeat([0, 1], [50, 40])
    rows = Rows.of(right, np.where(np.eye(2)[right] > 0, 0.9, 0.1).astype(np.float32))
    accuracy, balanced, macro, *_ = headline_estimates(rows, np.arange(90), resamples=50)
    assert accuracy.low == pytest.approx(wilson(90, 90).low)
    # The mean of two shares: their distances to the lower limits, added as squares, halved.
    below = np.hypot(1 - wilson(50, 50).low, 1 - wilson(40, 40).low) / 2
    assert balanced.low == pytest.approx(1 - below)
    assert macro.low < macro.value == 1
    sure = Rows.of(right, np.eye(2, dtype=np.float32)[right])  # right 90 times, by 100%
    error = headline_estimates(sure, np.arange(90), resamples=50)[-1]
    assert (error.value, error.low) == (0, 0)
    assert error.high == pytest.approx(1 - wilson(90, 90).low)
    tied = headline_estimates(rows, np.arange(90) // 2, resamples=50)[0]
    assert tied.low == pytest.approx(wilson(45, 45).low)  # copies count once


def test_intervals_of_averages_cover_the_truth_with_few_errors() -> None:
    covered, truth = 0, (0.98 + 0.9 + 0.8) / 3
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = np.repeat([0, 1, 2], [60, 40, 20])
        hit = rng.random(120) < np.array([0.98, 0.9, 0.8])[right]
        answers = np.where(hit, right, (right + 1) % 3)
        rows = Rows.of(right, (0.1 + 0.7 * np.eye(3)[answers]).astype(np.float32))
        balanced = headline_estimates(rows, np.arange(120), resamples=2)[1]
        covered += balanced.low <= truth <= balanced.high
    assert 0.91 <= covered / 200 <= 0.99


def sure_of(n: int, power: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences c of two classes, whether right (accuracy 1/2 + (2c - 1)^power / 2), and gaps."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 1.2, n) / 2 + 0.5
    true = 0.5 + 0.5 * (2 * confidence - 1) ** power
    return confidence, rng.random(n) < true, confidence - true


@pytest.mark.parametrize("power", [1.0, 1.3, 2.0])  # calibrated; too sure; far too sure
def test_the_calibration_error_lies_in_its_interval_which_covers_the_truth(power: float) -> None:
    confidence, _, gaps = sure_of(1_000_000, power, 99)
    bins = np.ceil(confidence * BINS).astype(int) - 1
    counts, sums = np.bincount(bins, minlength=BINS), np.bincount(bins, gaps, BINS)
    truth = np.sqrt((sums[counts > 0] ** 2 / counts[counts > 0]).sum() / len(gaps))
    found = []
    for seed in range(60):
        confidence, hit, _ = sure_of(400, power, seed)
        probs = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
        rows = Rows.of(np.where(hit, 0, 1), probs)
        found.append(headline_estimates(rows, np.arange(400), resamples=100)[-1])
    assert all(one.low <= one.value <= one.high for one in found)
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9
    # The squared estimate is unbiased where it is not cut at 0; the plug-in one is 0.05 at truth 0.
    assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_ranges_and_order(seed: int, classes: int) -> None:
    right, probs = sample(seed, 40, classes)
    values = Rows.of(right, probs).figures()
    # Means over classes are not defined where a class was not drawn.
    absent = len(np.unique(right)) < classes
    assert np.isnan(values).tolist() == [False, absent, absent, False, False]
    assert (np.nan_to_num(values) >= 0).all()
    assert (np.nan_to_num(values[:3]) <= 1 + 1e-9).all()
    assert values[4] <= 2
    order = np.random.default_rng(seed).permutation(40)
    np.testing.assert_allclose(Rows.of(right[order], probs[order]).figures(), values)


def test_weights_are_repetitions() -> None:
    right, probs = sample(n=20)
    weights = np.random.default_rng(0).integers(0, 4, 20)
    repeated = np.repeat(np.arange(20), weights)
    weighted = Rows.of(right, probs).figures(weights.astype(float))
    np.testing.assert_allclose(weighted, Rows.of(right[repeated], probs[repeated]).figures())


def test_intervals_hold_the_value_and_are_seeded() -> None:
    right, probs = sample()
    rows, groups = Rows.of(right, probs), np.arange(300)
    first = headline_estimates(rows, groups, resamples=200)
    assert first == headline_estimates(rows, groups, resamples=200)
    for estimate in first[:5]:
        assert estimate.low <= estimate.value <= estimate.high


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        right = np.zeros(200, int)
        hit = rng.random(200) < 0.8
        probs = np.where(hit[:, None], [0.9, 0.1], [0.1, 0.9]).astype(np.float32)
        accuracy = headline_estimates(Rows.of(right, probs), np.arange(200), resamples=200)[0]
        covered += accuracy.low <= 0.8 <= accuracy.high
    assert 0.88 <= covered / 150 <= 0.99


def test_copies_widen_the_interval() -> None:
    right, probs = sample(n=100)
    right, probs = np.repeat(right, 5), np.repeat(probs, 5, axis=0)
    rows = Rows.of(right, probs)
    apart = headline_estimates(rows, np.arange(500), resamples=300)[0]
    tied = headline_estimates(rows, np.repeat(np.arange(100), 5), resamples=300)[0]
    assert tied.high - tied.low > 1.7 * (apart.high - apart.low)


def test_whole_groups_are_drawn() -> None:
    groups = np.array([7, 7, 3, 3, 3, 9])
    for weights in group_weights(groups, 20, seed=0):
        assert weights[0] == weights[1]
        assert weights[2] == weights[3] == weights[4]
        assert weights[0] + weights[2] + weights[5] == 3


def test_paired_differences_are_narrower_than_the_difference_of_two_intervals() -> None:
    right, probs = sample()
    better = probs + 0.15 * np.eye(3, dtype=np.float32)[right]
    better = better / better.sum(axis=1, keepdims=True)
    first, second = Rows.of(right, better), Rows.of(right, probs)
    groups = np.arange(300)
    difference = paired_difference(first, second, groups, resamples=200)[0]
    alone = headline_estimates(second, groups, resamples=200)[0]
    assert difference.value > 0
    assert difference.low > 0
    assert difference.high - difference.low < alone.high - alone.low
    same = paired_difference(first, first, groups, resamples=50)[0]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_wilson_by_the_book() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    estimate = wilson(81, 263)
    assert estimate.low == pytest.approx(0.2553, abs=2e-4)
    assert estimate.high == pytest.approx(0.3662, abs=2e-4)
    assert wilson(20, 20).high == 1
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)
