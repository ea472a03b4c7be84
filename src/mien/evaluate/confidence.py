"""Whether a model's confidence can be relied on: sets of a chosen coverage, and abstaining.

Limits are fitted on one half of the faces and tried on the other, many times over (cross-fitting;
copies of one image stay together), so that what is reported is what new faces like these get.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.evaluate.bootstrap import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


LEVELS = (*(round(0.80 + 0.01 * i, 2) for i in range(20)), 0.995)
"""Coverages that limits are fitted for."""
SHOWN = (0.90, 0.95, 0.99)
ERRORS = (0.01, 0.02, 0.05)
"""Errors among the answered faces for which a threshold of confidence is sought."""
HALVINGS = 200


@dataclass(frozen=True, slots=True)
class SetCoverage:
    """Sets of one coverage, fitted on one half and tried on the other.

    Attributes:
        asked: the coverage asked for.
        got: share of faces whose set holds the right label: mean and 95% range over the halvings.
        size: mean number of labels in a set.
        single: share of sets with one label.
        by_label: share of sets that hold it, for the faces of each label: the promise is kept
            over all faces, and not for each label.
    """

    asked: float
    got: Estimate
    size: float
    single: float
    by_label: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "asked": self.asked,
            "got": self.got.to_dict(),
            "mean_size": round(self.size, 4),
            "single": round(self.single, 4),
            "by_label": {label: round(share, 4) for label, share in self.by_label.items()},
        }


@dataclass(frozen=True, slots=True)
class Abstaining:
    """Answering only above a confidence, for a chosen error among what is answered.

    Attributes:
        error: that was asked for.
        min_confidence: fitted on all faces.
        answered: share of faces answered, on the other half.
        got: error among them there: mean and 95% range over the halvings.
    """

    error: float
    min_confidence: float
    answered: float
    got: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "error": self.error,
            "min_confidence": round(self.min_confidence, 4),
            "answered": round(self.answered, 4),
            "got": self.got.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a model's confidence can be relied on.

    Attributes:
        n: faces.
        least: the probability from which on a label is in a set, by coverage; fitted on all faces.
        sets: for each of SHOWN.
        abstaining: for each of ERRORS that can be reached.
    """

    n: int
    least: dict[str, float]
    sets: tuple[SetCoverage, ...]
    abstaining: tuple[Abstaining, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "n": self.n,
            "least": self.least,
            "sets": [one.to_dict() for one in self.sets],
            "abstaining": [one.to_dict() for one in self.abstaining],
        }


def fit_limits(
    probs_nk: NDArray[np.float32], y_true_n: NDArray[np.int64], levels: tuple[float, ...] = LEVELS
) -> dict[str, float]:
    """Return, for each coverage, the probability from which on a label belongs to the set.

    The k-th largest probability of a right answer, k = ceil((n + 1) x coverage): then a new face's
    set holds its right label at least so often (Vovk et al. 2005). 0, every label, where n is too
    small to promise that.

    Args:
        probs_nk: float32 [n, k], of faces that the model was not trained on.
        y_true_n: int64 [n], their right answers.
        levels: the coverages.
    """
    own = np.sort(probs_nk[np.arange(len(y_true_n)), y_true_n].astype(np.float64))[::-1]
    limits = {}
    for level in levels:
        k = math.ceil((len(own) + 1) * level - 1e-9)
        # Rounded down: a set may only grow by it.
        limits[f"{level:g}"] = math.floor(own[k - 1] * 1e6) / 1e6 if k <= len(own) else 0.0
    return limits


def measure_confidence(
    probs_nk: NDArray[np.float32],
    y_true_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    labels: tuple[str, ...],
    *,
    seed: int = 0,
) -> Confidence:
    """Fit on one half, try on the other, HALVINGS times.

    Args:
        probs_nk: float32 [n, k].
        y_true_n: int64 [n], the right answers.
        groups_n: int64 [n]; copies of one image share a number and stay together.
        labels: of the columns.
        seed: of the halvings.
    """
    least = fit_limits(probs_nk, y_true_n)
    if len(np.unique(groups_n)) < 2:
        return Confidence(len(y_true_n), least, (), ())
    halves = list(_halves(groups_n, seed))
    sets = tuple(_cross_fit_sets(probs_nk, y_true_n, labels, halves, level) for level in SHOWN)
    confidence_n = probs_nk.max(axis=1)
    wrong_n = probs_nk.argmax(axis=1) != y_true_n
    tried = (_cross_fit_threshold(confidence_n, wrong_n, halves, error) for error in ERRORS)
    # One threshold may serve several errors asked for: said once, for the least of them.
    rules = {one.min_confidence: one for one in reversed([t for t in tried if t is not None])}
    return Confidence(len(y_true_n), least, sets, tuple(reversed(rules.values())))


def accuracy_when_answering(
    confidence_n: NDArray[np.float64], y_true_n: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of faces answered, float64 [n], and the accuracy among those.

    From the surest face alone to all of them (the risk-coverage curve; Geifman and El-Yaniv 2017,
    arXiv:1705.08500).
    """
    order = np.argsort(-confidence_n, kind="stable")
    counts = np.arange(1, len(order) + 1)
    return counts / len(order), np.cumsum(y_true_n[order]) / counts


def _halves(groups_n: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.bool_]]:
    _, inverse = np.unique(groups_n, return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(HALVINGS):
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
    got, sizes, single = [], [], []
    by_label: list[list[float]] = [[] for _ in labels]
    for half in halves:
        least = fit_limits(probs_nk[half], y_true_n[half], (level,))[f"{level:g}"]
        held = ((own_n >= least) | (best_n == y_true_n))[~half]
        size = np.maximum((probs_nk[~half] >= least).sum(axis=1), 1)  # never none
        got.append(held.mean())
        sizes.append(size.mean())
        single.append((size == 1).mean())
        for label, shares in enumerate(by_label):
            if (own := y_true_n[~half] == label).any():
                shares.append(float(held[own].mean()))
    shares_of = zip(labels, by_label, strict=True)
    means = {label: float(np.mean(shares)) for label, shares in shares_of if shares}
    return SetCoverage(level, _range(got), float(np.mean(sizes)), float(np.mean(single)), means)


def _cross_fit_threshold(
    confidence_n: NDArray[np.float32],
    wrong_n: NDArray[np.bool_],
    halves: list[NDArray[np.bool_]],
    error: float,
) -> Abstaining | None:
    threshold = _threshold(confidence_n, wrong_n, error)
    got, answered = [], []
    for half in halves:
        chosen = ~half & (confidence_n >= _threshold(confidence_n[half], wrong_n[half], error))
        answered.append(chosen.sum() / max((~half).sum(), 1))
        if chosen.any():
            got.append(wrong_n[chosen].mean())
    if not got or not np.isfinite(threshold):
        return None
    return Abstaining(error, threshold, float(np.mean(answered)), _range(got))


def _threshold(
    confidence_n: NDArray[np.float32], wrong_n: NDArray[np.bool_], error: float
) -> float:
    """Return the lowest confidence above which no more than that share is wrong; inf if none."""
    order = np.argsort(-confidence_n, kind="stable")
    ranked = confidence_n[order]
    share = np.cumsum(wrong_n[order]) / np.arange(1, len(order) + 1)
    last = np.append(ranked[1:] < ranked[:-1], True)  # equal confidences are answered together
    allowed = np.flatnonzero(last & (share <= error))
    return float(ranked[allowed[-1]]) if len(allowed) else float("inf")


def _range(values: list[float]) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high))
