"""Labels that are likely wrong: confident learning (Northcutt, Jiang, Chuang 2021, JAIR 70).

A logistic regression on a model's features predicts each image by cross-validation, so that it was
not trained on the image or on a duplicate of it. Confident learning compares these predictions with
the labels class by class, so that a class that is difficult as a whole is not called wrong as a
whole; `cleanlab` does that part.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.problem import KEEP, RELABEL, WARNING, Problem
from mien.data.split import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDS = 4
COMPONENTS = 16
"""Principal components of the features: as good as all 224 and twenty times as fast."""
INVERSE_PENALTY = 0.1
"""Inverse of the L2 penalty on the weights of the logistic regression."""
MIN_PER_CLASS = 8
"""Number of independent images below which a class is not checked."""
MIN_RELABEL = 0.95
"""Minimum probability of another label for relabelling to be suggested."""
MAX_OWN = 0.05
"""Maximum probability of the image's own label for relabelling to be suggested."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Out-of-fold predictions: of images by models that were not trained on them.

    Attributes:
        rows: int64 [m], rows of the predicted images.
        probs_mk: float64 [m, k], probabilities of all labels; 0 for classes that were not checked.
        unchecked: names of classes with too few images.
        reason: why there are no predictions, or ''.
    """

    rows: NDArray[np.int64]
    probs_mk: NDArray[np.float64]
    unchecked: tuple[str, ...] = ()
    reason: str = ""


def predict_out_of_fold(
    features_nd: NDArray[np.float32],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    seed: int = 0,
) -> OutOfFold:
    """Return predictions by cross-validation; duplicates and known subjects stay in one fold.

    Args:
        features_nd: float32 [n, d], of any model.
        labels_n: int64 [n], -1 for none.
        label_names: names of the labels.
        groups_n: int64 [n], duplicates share a number.
        subjects_n: str [n], '' where unknown.
        seed: seed of the folds.
    """
    from sklearn.linear_model import LogisticRegression

    unit_n = units(groups_n, subjects_n)
    enough = [
        c for c in range(len(label_names)) if len(np.unique(unit_n[labels_n == c])) >= MIN_PER_CLASS
    ]
    unchecked = tuple(n for c, n in enumerate(label_names) if c not in enough)
    rows = np.flatnonzero(np.isin(labels_n, enough))
    if len(enough) < 2:
        reason = f"fewer than two classes have {MIN_PER_CLASS} independent images"
        return OutOfFold(np.zeros(0, np.int64), np.zeros((0, len(label_names))), unchecked, reason)
    points, labels = _whitened(features_nd[rows]), labels_n[rows]
    fold_m = _folds(unit_n[rows], labels, seed)
    probs = np.zeros((len(rows), len(label_names)))
    for fold in range(FOLDS):
        out = fold_m == fold
        # A regression needs two classes; without them these images keep probabilities of 0.
        known = np.unique(labels[~out])
        if not out.any() or len(known) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stopping before convergence is good enough here
            model = LogisticRegression(C=INVERSE_PENALTY, max_iter=100)
            model.fit(points[~out], labels[~out])
        probs[np.ix_(out, model.classes_)] = model.predict_proba(points[out])
    return OutOfFold(rows, probs, unchecked)


def check_labels(
    predicted: OutOfFold, labels_n: NDArray[np.int64], label_names: Sequence[str]
) -> list[Problem]:
    """Return the labels that are likely wrong, with the predicted label.

    Args:
        predicted: out-of-fold predictions.
        labels_n: int64 [n], -1 for none.
        label_names: names of the labels.
    """
    from cleanlab.filter import find_label_issues

    if not len(predicted.rows):
        return []
    labels = labels_n[predicted.rows]
    classes = np.unique(labels)
    probs = predicted.probs_mk[:, classes]
    # cleanlab expects rows that sum to 1.
    probs = probs / np.maximum(probs.sum(axis=1, keepdims=True), 1e-12)
    # 'both' was the most precise of cleanlab's rules, see docs/log.md.
    wrong = find_label_issues(np.searchsorted(classes, labels), probs, filter_by="both", n_jobs=1)
    problems = []
    for m in np.flatnonzero(wrong):
        best_label = int(predicted.probs_mk[m].argmax())
        own, best = (
            float(predicted.probs_mk[m, labels[m]]),
            float(predicted.probs_mk[m, best_label]),
        )
        # cleanlab may list an image whose own label is still the most probable one.
        if best_label == labels[m]:
            continue
        text = f"labelled {label_names[labels[m]]} ({own:.0%}), predicted {label_names[best_label]}"
        # Both: where two labels are likely, a person should look, not the table decide.
        relabel = best >= MIN_RELABEL and own <= MAX_OWN
        problems.append(
            Problem(
                int(predicted.rows[m]),
                "likely-wrong-label",
                WARNING,
                f"{text} ({best:.0%})",
                RELABEL if relabel else KEEP,
                label_names[best_label],
                score=best - own,
            )
        )
    return problems


def _whitened(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the leading principal components with unit variance, float64 [n, COMPONENTS]."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    # Directions without variance would be divided by nearly zero.
    real = values > 1e-9 * max(float(values[0]), 1e-12)
    whitened: NDArray[np.float64] = centred @ vectors[:, real] / np.sqrt(values[real])
    return whitened


def _folds(unit_m: NDArray[np.int64], labels_m: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return each image's fold, int64 [m]: whole units, each class spread evenly."""
    _, first, inverse = np.unique(unit_m, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    fold = np.zeros(len(first), np.int64)
    for label in np.unique(labels_m):
        own = order[labels_m[first[order]] == label]
        # In turn, class by class, so that the folds hold nearly as many units of each.
        fold[own] = np.arange(len(own)) % FOLDS
    return fold[inverse.ravel()]
