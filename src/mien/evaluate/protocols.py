"""Ground truth as the literature takes it: FERPlus's eight classes, FER2013's seven raw labels.

The rules of FERPlus are those of Barsoum et al. 2016 (arXiv:1608.01041) in the form of the authors'
code (github.com/microsoft/FERPlus, src/ferplus.py, commit 06447e0). In all of them a class with a
single vote first loses it as an outlier. Images without a label are removed.

majority     the class with more than half of the remaining votes of all ten columns; none if no
             class has so many, or if it is 'unknown' or 'not_face'. The authors' code evaluates
             with this rule, whatever it trained with.
plurality    the class with most remaining votes, without the need for half; none for a tie, and
             none if 'unknown' or 'not_face' has most. A rule of reimplementations.
probability  the classes by falling votes until they hold 75% of the remaining votes, three are
             taken, or 'unknown' or 'not_face' comes up; none if they hold half or less, or are more
             than three. The label is the most frequent of them; a tie goes to the first column of
             FERPlus.

That commit keeps a label only where its column is below `emotion_count - 2` and sets
`emotion_count` to 8, which removes fear and contempt too. The paper has eight classes, so they stay
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.ground_truth import label_targets
from mien.errors import DataError
from mien.evaluate.bootstrap import headline_estimates
from mien.evaluate.class_metrics import class_metrics
from mien.evaluate.metrics import Rows
from mien.labels import EIGHT, FERPLUS_VOTES, SEVEN
from mien.model.classifier import softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.evaluate.class_metrics import ClassMetrics
    from mien.intervals import Estimate

EXPRESSIONS = len(EIGHT)
"""Columns of FERPLUS_VOTES before 'unknown' and 'not_face'."""
HELD, MAX_CLASSES = 0.75, 3
"""The probability rule stops at this fraction of the votes, or at so many classes."""


@dataclass(frozen=True, slots=True)
class Score:
    """A model under one protocol, on the images that have a label in it.

    Attributes:
        n: number of images.
        accuracy: fraction predicted rightly.
        balanced_accuracy: mean recall of the classes; not defined where one has no image.
        macro_f1: mean F1 of the classes; not defined where one has no image.
        classes: n, recall, precision and F1 of each class.
    """

    n: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    classes: tuple[ClassMetrics, ...]


def majority(votes_nk: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the majority labels as indices into EIGHT, int64 [n], -1 for none.

    Args:
        votes_nk: float32 [n, 10], counts of raters in the order of FERPLUS_VOTES.
    """
    votes = _without_outliers(votes_nk)
    more_than_half = votes.max(axis=1) > 0.5 * votes.sum(axis=1)
    return _in_eight(np.where(more_than_half, votes.argmax(axis=1), -1))


def plurality(votes_nk: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the plurality labels, with the argument and result of `majority`."""
    votes = _without_outliers(votes_nk)
    single = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return _in_eight(np.where(single, votes.argmax(axis=1), -1))


def probability(votes_nk: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the top labels of the probability rule, with the argument and result of `majority`."""
    kept = [_leading(votes) for votes in _without_outliers(votes_nk)]
    return _in_eight(np.array([k.argmax() if k.any() else -1 for k in kept], np.int64))


RULES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.int64]]] = {
    "majority": majority,
    "plurality": plurality,
    "probability": probability,
}
"""FERPlus's rules by name."""


def ferplus_targets(split: Dataset, rule: str) -> NDArray[np.int64]:
    """Return the labels of a split under one of RULES as indices into EIGHT, -1 for none.

    Raises:
        DataError: the split lacks one of FERPlus's ten columns of votes.
    """
    lacking = [name for name in FERPLUS_VOTES if name not in split.vote_names]
    if split.votes_nk is None or lacking:
        raise DataError(
            f"{split.name} has no votes for {', '.join(lacking or FERPLUS_VOTES)}",
            hint=f"FERPlus's protocol needs votes for {', '.join(FERPLUS_VOTES)}",
        )
    columns = [split.vote_names.index(name) for name in FERPLUS_VOTES]
    return RULES[rule](split.votes_nk[:, columns])


def raw_targets(split: Dataset) -> NDArray[np.int64]:
    """Return FER2013's own labels of a split as indices into SEVEN, int64 [n], -1 for none."""
    return label_targets(split.labels_n, split.label_names, SEVEN)


def seen_in_training(dataset: Dataset, split: Dataset) -> NDArray[np.bool_]:
    """Return which images of a split have a duplicate in the source's training split, bool [n].

    Those that mien excluded from its own training split count too.
    """
    return np.isin(split.groups_n, dataset.groups_n[dataset.source_splits_n == "train"])


def score(
    y_true_n: NDArray[np.int64],
    logits_nk: NDArray[np.float32],
    groups_n: NDArray[np.int64],
    labels: tuple[str, ...],
) -> Score:
    """Return the figures on the images that have a label, with 95% intervals.

    Args:
        y_true_n: int64 [n], indices into `labels`; -1 removes the image.
        logits_nk: float32 [n, k], columns in the order of `labels`.
        groups_n: int64 [n], duplicates of one image share a number.
        labels: the classes.

    Raises:
        DataError: no image has a label.
    """
    kept = y_true_n >= 0
    if not kept.any():
        raise DataError(
            f"y_true_n: none of {len(y_true_n):,} images is labelled {', '.join(labels)}",
            hint="take data that hold at least one of these classes",
        )
    rows, groups = Rows.of(y_true_n[kept], softmax(logits_nk[kept])), groups_n[kept]
    accuracy, balanced, f1 = headline_estimates(rows, groups)[:3]
    return Score(int(kept.sum()), accuracy, balanced, f1, class_metrics(rows, groups, labels))


def _without_outliers(votes_nk: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(votes_nk <= 1, np.float32(0), votes_nk)


def _leading(votes_k: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the votes that the probability rule keeps, float32 [10]; all 0 for none."""
    total, left = votes_k.sum(), votes_k.copy()
    kept = np.zeros_like(left)
    expression = np.arange(len(left)) < EXPRESSIONS
    while kept.sum() < HELD * total and (kept > 0).sum() < MAX_CLASSES:
        tied = left == left.max()
        kept[tied & expression] = left.max()
        if (tied & ~expression).any():
            break
        left[tied] = 0
    # A tie may have taken more classes at once than the rule allows.
    enough = kept.sum() > 0.5 * total and (kept > 0).sum() <= MAX_CLASSES
    return kept if enough else np.zeros_like(kept)


def _in_eight(columns_n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return indices into EIGHT for columns of FERPLUS_VOTES; -1 for -1 and the last two."""
    lookup = [EIGHT.index(name) if name in EIGHT else -1 for name in FERPLUS_VOTES]
    return np.array([*lookup, -1], np.int64)[columns_n]
