"""Whether a model's confidence can be relied on: conformal prediction sets, and abstaining.

Thresholds are fitted on one half of the faces and tested on the other, many times (cross-fitting;
duplicates of one image stay together), so the figures are what new faces like these get.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.intervals import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


LEVELS = (*(round(0.80 + 0.01 * i, 2) for i in range(20)), 0.995)
"""Coverages that probability thresholds are fitted for."""
REPORTED_LEVELS = (0.90, 0.95, 0.99)
TARGET_ERRORS = (0.01, 0.02, 0.05)
"""Error rates among the classified faces for which a confidence threshold is searched."""
HALVINGS = 200


@dataclass(frozen=True, slots=True)
class SetCoverage:
    """Prediction sets of one coverage, fitted on one half and tested on the other.

    Attributes:
        coverage: nominal coverage, 0 to 1.
        observed: fraction of faces whose set holds the true label: mean and 95% range over the
            halvings.
        mean_size: mean number of labels in a set.
        single: fraction of sets with one label.
        by_label: observed coverage among the faces of each label: conformal sets keep their
            coverage over all faces, and not for each label.
    """

    coverage: float
    observed: Estimate
    mean_size: float
    single: float
    by_label: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "coverage": self.coverage,
            "observed": self.observed.to_dict(),
            "mean_size": round(self.mean_size, 4),
            "single": round(self.single, 4),
            "by_label": {label: round(fraction, 4) for label, fraction in self.by_label.items()},
        }


@dataclass(frozen=True, slots=True)
class Abstention:
    """Abstaining below a confidence threshold, for a target error among the other faces.

    Attributes:
        target_error: error rate that was asked for, 0 to 1.
        min_confidence: threshold, fitted on all faces, 0 to 1.
        classified: fraction of faces at or above the threshold, on the other half.
        observed_error: error rate among them there: mean and 95% range over the halvings.
    """

    target_error: float
    min_confidence: float
    classified: float
    observed_error: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "target_error": self.target_error,
            "min_confidence": round(self.min_confidence, 4),
            "classified": round(self.classified, 4),
            "observed_error": self.observed_error.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a model's confidence can be relied on.

    Attributes:
        n: number of faces.
        thresholds: probability that a label needs to be in a prediction set, by coverage; fitted
            on all faces.
        prediction_sets: one for each of REPORTED_LEVELS.
        abstention: one for each of TARGET_ERRORS that can be reached.
    """

    n: int
    thresholds: dict[str, float]
    prediction_sets: tuple[SetCoverage, ...]
    abstention: tuple[Abstention, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "n": self.n,
            "thresholds": self.thresholds,
            "prediction_sets": [one.to_dict() for one in self.prediction_sets],
            "abstention": [one.to_dict() for one in self.abstention],
        }


def fit_thresholds(
    probs_nk: NDArray[np.float32], y_true_n: NDArray[np.int64], levels: tuple[float, ...] = LEVELS
) -> dict[str, float]:
    """Return, for each coverage, the probability that a label needs to be in the prediction set.

    It is the k-th largest probability of a true label, k = ceil((n + 1) x coverage): then a new
    face's set holds its true label at least that often (Vovk et al. 2005). It is 0, which lets in
    every label, where n is too small for that guarantee.

    Args:
        probs_nk: float32 [n, k], predicted for faces that the model was not trained on.
        y_true_n: int64 [n], their ground truth.
        levels: coverages, each above 0 and below 1.
    """
    own = np.sort(probs_nk[np.arange(len(y_true_n)), y_true_n].astype(np.float64))[::-1]
    thresholds = {}
    for level in levels:
        # The finite-sample quantile (Vovk et al. 2005); the small term keeps 10 x 0.9 from being
        # rounded up to 10.
        k = math.ceil((len(own) + 1) * level - 1e-9)
        # Rounded down: rounding may only make a set larger.
        threshold = math.floor(own[k - 1] * 1e6) / 1e6 if k <= len(own) else 0.0
        thresholds[f"{level:g}"] = threshold
    return thresholds


def measure_confidence(
    probs_nk: NDArray[np.float32],
    y_true_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    labels: tuple[str, ...],
    *,
    seed: int = 0,
) -> Confidence:
    """Fit on one half and test on the other, HALVINGS times.

    Args:
        probs_nk: float32 [n, k].
        y_true_n: int64 [n], the ground truth.
        groups_n: int64 [n]; duplicates of one image share a number and stay together.
        labels: labels of the columns.
        seed: seed of the halvings.
    """
    thresholds = fit_thresholds(probs_nk, y_true_n)
    if len(np.unique(groups_n)) < 2:
        return Confidence(len(y_true_n), thresholds, (), ())
    halves = list(_halves(groups_n, seed))
    sets = tuple(
        _cross_fit_sets(probs_nk, y_true_n, labels, halves, level) for level in REPORTED_LEVELS
    )
    confidence_n = probs_nk.max(axis=1)
    wrong_n = probs_nk.argmax(axis=1) != y_true_n
    tried = (_cross_fit_threshold(confidence_n, wrong_n, halves, e) for e in TARGET_ERRORS)
    # One threshold may serve several target errors: it is reported once, for the smallest.
    rules = {one.min_confidence: one for one in reversed([t for t in tried if t is not None])}
    return Confidence(len(y_true_n), thresholds, sets, tuple(reversed(rules.values())))


def risk_coverage_curve(
    confidence_n: NDArray[np.float64], correct_n: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fractions of faces classified, float64 [n], and the accuracy among those.

    From the most confident face alone to all of them (the risk-coverage curve; Geifman and
    El-Yaniv 2017, arXiv:1705.08500).
    """
    order = np.argsort(-confidence_n, kind="stable")
    counts = np.arange(1, len(order) + 1)
    return counts / len(order), np.cumsum(correct_n[order]) / counts


def _halves(groups_n: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.bool_]]:
    _, inverse = np.unique(groups_n, return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(HALVINGS):
        # By group of duplicates: one on each side would make the test too easy.
        yield rng.permutation(int(inverse.max()) + 1)[inverse] % 2 == 0


def _cross_fit_sets(
    probs_nk: NDArray[np.float32],
    y_true_n: NDArray[np.int64],
    labels: tuple[str, ...],
    halves: list[NDArray[np.bool_]],
    level: float,
) -> SetCoverage:
    best_n = probs_nk.argmax(axis=1)
    own_n = probs_nk[np.arange(len(y_true_n)), y_true_n]
    observed, sizes, single = [], [], []
    by_label: list[list[float]] = [[] for _ in labels]
    for half in halves:
        threshold = fit_thresholds(probs_nk[half], y_true_n[half], (level,))[f"{level:g}"]
        held = ((own_n >= threshold) | (best_n == y_true_n))[~half]
        # The most probable label is always in the set, so that none is empty.
        size = np.maximum((probs_nk[~half] >= threshold).sum(axis=1), 1)
        observed.append(held.mean())
        sizes.append(size.mean())
        single.append((size == 1).mean())
        for label, fractions in enumerate(by_label):
            if (own := y_true_n[~half] == label).any():
                fractions.append(float(held[own].mean()))
    pairs = zip(labels, by_label, strict=True)
    means = {label: float(np.mean(fractions)) for label, fractions in pairs if fractions}
    return SetCoverage(
        level, _range(observed), float(np.mean(sizes)), float(np.mean(single)), means
    )


def _cross_fit_threshold(
    confidence_n: NDArray[np.float32],
    wrong_n: NDArray[np.bool_],
    halves: list[NDArray[np.bool_]],
    error: float,
) -> Abstention | None:
    threshold = _threshold(confidence_n, wrong_n, error)
    observed, classified = [], []
    for half in halves:
        chosen = ~half & (confidence_n >= _threshold(confidence_n[half], wrong_n[half], error))
        classified.append(chosen.sum() / max((~half).sum(), 1))
        if chosen.any():
            observed.append(wrong_n[chosen].mean())
    if not observed or not np.isfinite(threshold):
        return None
    return Abstention(error, threshold, float(np.mean(classified)), _range(observed))


def _threshold(
    confidence_n: NDArray[np.float32], wrong_n: NDArray[np.bool_], error: float
) -> float:
    """Return the lowest confidence above which at most `error` are wrong; inf if there is none."""
    order = np.argsort(-confidence_n, kind="stable")
    ranked = confidence_n[order]
    errors = np.cumsum(wrong_n[order]) / np.arange(1, len(order) + 1)
    # Faces of equal confidence lie on the same side of any threshold.
    last = np.append(ranked[1:] < ranked[:-1], True)
    allowed = np.flatnonzero(last & (errors <= error))
    return float(ranked[allowed[-1]]) if len(allowed) else float("inf")


def _range(values: list[float]) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high))
