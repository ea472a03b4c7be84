"""How well human raters predict the consensus of other raters: read `rater_agreement` first.

A model is judged by the raters' majority; these figures are what people reach on the same task, and
so a ceiling for what a higher score of a model can mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.ground_truth import consensus_targets
from mien.errors import ConfigError, DataError
from mien.evaluate.bootstrap import FEW, LEVEL, RESAMPLES, group_weights
from mien.intervals import UNDEFINED, Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

POOLED = (1, 2, 3, 4, 5)
"""Numbers of raters whose votes are pooled."""
REPEATS = 20
"""Random choices of the pooled raters, for each image."""


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """Pooled raters against the consensus of the other raters.

    Attributes:
        raters: number of raters pooled, k.
        n: images whose other raters have a clear majority, mean over the repeats.
        accuracy: fraction of those images where the pooled vote is the others' consensus.
        balanced_accuracy: mean recall over the labels; not defined where a label has no image.
        labels: labels that can be the consensus.
        recall: recall of each label, in that order.
        n_by_label: images whose consensus is the label, mean over the repeats.
        model_accuracy: accuracy of a model's predictions against the very same consensus labels;
            None without a model.
        model_balanced_accuracy: its mean recall over the labels.
    """

    raters: int
    n: float
    accuracy: Estimate
    balanced_accuracy: Estimate
    labels: tuple[str, ...]
    recall: tuple[Estimate, ...]
    n_by_label: tuple[float, ...]
    model_accuracy: Estimate | None = None
    model_balanced_accuracy: Estimate | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; null for what is not defined."""
        per_class = zip(self.labels, self.recall, self.n_by_label, strict=True)
        values: dict[str, Any] = {
            "raters": self.raters,
            "n": round(self.n, 1),
            "accuracy": self.accuracy.to_dict(),
            "balanced_accuracy": self.balanced_accuracy.to_dict(),
            "per_class": {
                label: {"n": round(n, 1), "recall": recall.to_dict()}
                for label, recall, n in per_class
            },
        }
        if self.model_accuracy is not None and self.model_balanced_accuracy is not None:
            values["model"] = {
                "accuracy": self.model_accuracy.to_dict(),
                "balanced_accuracy": self.model_balanced_accuracy.to_dict(),
            }
        return values


def rater_agreement(
    split: Dataset,
    labels: Sequence[str],
    *,
    pooled: Sequence[int] = POOLED,
    y_pred_n: NDArray[np.int64] | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[RaterAgreement, ...]:
    """Compare k pooled raters of each image with the clear majority of its other raters.

    For each image k of its raters are chosen at random, `repeats` times. Their prediction is the
    one of `labels` with the most votes; of m labels with equally many each counts 1/m, which is
    what breaking ties at random gives in the mean. Raters who voted for none of `labels` are
    wrong. The ground truth is `consensus_targets` of the other raters: at least half of their
    votes, and no tie; images without it, or with fewer than k + 1 raters, are left out.

    Args:
        split: images with votes; votes are whole numbers of raters.
        labels: labels that can be the consensus.
        pooled: numbers k of raters to pool, each at least 1.
        y_pred_n: int64 [n], a model's predictions as indices into `labels`, to be measured against
            the same consensus; None without a model.
        repeats: random choices of raters, at least 1.
        seed: seed of the choices and of the bootstrap.
        progress: progress callback, called with (done, total) after each k.

    Returns:
        The agreement for each k. Intervals are 95%, by bootstrap over groups of duplicates; where
        fewer than 10 predictions are wrong, or right, Wilson's.

    Raises:
        ConfigError: `pooled` or `repeats` is out of range.
        DataError: the images have no votes, votes that are no whole numbers, or too few raters.
    """
    _refuse(pooled, repeats)
    votes = _whole_votes(split)
    names = tuple(labels)
    found = []
    for number, k in enumerate(pooled, start=1):
        counts = _count(votes, split.vote_names, names, k, y_pred_n, repeats, seed)
        if not counts.graded_nk.any():
            raise DataError(
                f"no image of {split.name} has more than {k} raters of whom the others agree",
                hint="pool fewer raters, or take data with more votes for each image",
            )
        found.append(_agreement(k, counts, split.groups_n, names, seed))
        progress(number, len(pooled))
    return tuple(found)


def _refuse(pooled: Sequence[int], repeats: int) -> None:
    if repeats < 1 or min(pooled, default=0) < 1:
        raise ConfigError(
            f"pooled and repeats must be at least 1, got {tuple(pooled)} and {repeats}",
            hint="for example pooled=(1, 2, 3), repeats=20",
        )


@dataclass(frozen=True, slots=True)
class _Counts:
    """Sums over the repeats, float64 [n, k] by image and consensus label.

    Attributes:
        graded_nk: repeats in which the label was the consensus of the other raters.
        hits_nk: in how many of those the pooled raters predicted it.
        model_nk: in how many of those the model predicted it; None without a model.
        repeats: number of repeats.
    """

    graded_nk: NDArray[np.float64]
    hits_nk: NDArray[np.float64]
    model_nk: NDArray[np.float64] | None
    repeats: int


def _whole_votes(split: Dataset) -> NDArray[np.int64]:
    if split.votes_nk is None:
        raise DataError(
            f"{split.name} has no votes of single raters", hint="take data with votes, as FERPlus"
        )
    # Datasets store votes as float32; here they are counted out to raters one by one.
    votes: NDArray[np.int64] = np.rint(split.votes_nk).astype(np.int64)
    if (votes != split.votes_nk).any():
        raise DataError(
            f"the votes of {split.name} are not whole numbers of raters",
            hint="take the raters' counts, not fractions of them",
        )
    return votes


def _count(
    votes_nv: NDArray[np.int64],
    vote_names: Sequence[str],
    labels: tuple[str, ...],
    k: int,
    y_pred_n: NDArray[np.int64] | None,
    repeats: int,
    seed: int,
) -> _Counts:
    # By k too: the figure for three raters is the same whatever other numbers are asked for.
    rng = np.random.default_rng((seed, k))
    # At least one other rater must be left to judge the chosen ones.
    enough = votes_nv.sum(axis=1) > k
    graded = np.zeros((len(votes_nv), len(labels)))
    hits, model = np.zeros_like(graded), np.zeros_like(graded)
    for _ in range(repeats):
        chosen = _choose(votes_nv, k, rng)
        others = (votes_nv - chosen).astype(np.float32)
        # Of the other raters only: a vote must not be compared with itself.
        truth = consensus_targets(others, vote_names, labels)
        rows = np.flatnonzero(enough & (truth >= 0))
        columns = truth[rows]
        graded[rows, columns] += 1
        hits[rows, columns] += _credit(chosen, vote_names, labels)[rows, columns]
        if y_pred_n is not None:
            model[rows, columns] += y_pred_n[rows] == columns
    return _Counts(graded, hits, model if y_pred_n is not None else None, repeats)


def _choose(votes_nv: NDArray[np.int64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the votes of k raters of each image, chosen without replacement, int64 [n, v].

    The multivariate hypergeometric distribution, one column after the other. An image with fewer
    than k raters gives all that it has.
    """
    chosen = np.zeros_like(votes_nv)
    rest = votes_nv.sum(axis=1)
    left = np.minimum(k, rest)
    for column in range(votes_nv.shape[1]):
        own = votes_nv[:, column]
        rest = rest - own
        # Drawing without replacement from counts, label by label: a multivariate hypergeometric.
        chosen[:, column] = rng.hypergeometric(own, rest, left)
        left = left - chosen[:, column]
    return chosen


def _credit(
    chosen_nv: NDArray[np.int64], vote_names: Sequence[str], labels: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return the probability that the pooled raters predict each label, float64 [n, k]."""
    columns = np.zeros((len(chosen_nv), len(labels)))
    for place, label in enumerate(labels):
        if label in vote_names:
            columns[:, place] = chosen_nv[:, list(vote_names).index(label)]
    top = columns.max(axis=1, keepdims=True)
    best = (columns == top) & (top > 0)
    # Raters who tie would have to guess: each of the tied labels gets its share.
    credit: NDArray[np.float64] = best / np.maximum(best.sum(axis=1, keepdims=True), 1)
    return credit


def _agreement(
    k: int, counts: _Counts, groups_n: NDArray[np.int64], labels: tuple[str, ...], seed: int
) -> RaterAgreement:
    # Images that are never graded would only widen the interval.
    used = counts.graded_nk.any(axis=1)
    weights = np.stack(list(group_weights(groups_n[used], RESAMPLES, seed)))
    graded = counts.graded_nk[used]
    accuracy, balanced, recall = _estimates(counts.hits_nk[used], graded, weights, counts.repeats)
    n_by_label = graded.sum(axis=0) / counts.repeats
    found = RaterAgreement(
        k,
        float(n_by_label.sum()),
        accuracy,
        balanced,
        labels,
        recall,
        tuple(map(float, n_by_label)),
    )
    if counts.model_nk is None:
        return found
    own, own_balanced, _ = _estimates(counts.model_nk[used], graded, weights, counts.repeats)
    return RaterAgreement(
        k, found.n, accuracy, balanced, labels, recall, found.n_by_label, own, own_balanced
    )


def _estimates(
    hits_nk: NDArray[np.float64],
    graded_nk: NDArray[np.float64],
    weights_rn: NDArray[np.float64],
    repeats: int,
) -> tuple[Estimate, Estimate, tuple[Estimate, ...]]:
    """Return accuracy, balanced accuracy and each label's recall."""
    hits_k, graded_k = hits_nk.sum(axis=0), graded_nk.sum(axis=0)
    hits_rk, graded_rk = weights_rn @ hits_nk, weights_rn @ graded_nk
    with np.errstate(invalid="ignore"):  # 0 / 0 in a resample that lacks a rare label
        recall_rk = hits_rk / graded_rk
    recall = tuple(
        _estimate(hits, graded, recall_rk[:, label], repeats)
        for label, (hits, graded) in enumerate(zip(hits_k, graded_k, strict=True))
    )
    accuracy_r = hits_rk.sum(axis=1) / graded_rk.sum(axis=1)
    accuracy = _estimate(hits_k.sum(), graded_k.sum(), accuracy_r, repeats)
    if not graded_k.all():
        return accuracy, UNDEFINED, recall
    low, high = np.nanquantile(recall_rk.mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return accuracy, Estimate(float(np.mean(hits_k / graded_k)), float(low), float(high)), recall


def _estimate(hits: float, graded: float, draws: NDArray[np.float64], repeats: int) -> Estimate:
    if graded == 0:
        return UNDEFINED
    # The repeats are not independent: n is the number of images, and not of repeats.
    correct, n = hits / repeats, graded / repeats
    if min(correct, n - correct) < FEW:
        return wilson(correct, n)
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(hits / graded), float(low), float(high))
