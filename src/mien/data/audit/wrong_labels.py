"""Labels that are likely wrong: confident learning (Northcutt, Jiang, Chuang 2021, JAIR 70).

A plain classifier on a model's features answers for each image without having learnt from it or
from a copy of it. Confident learning compares these answers with the labels, class by class, so
that a class that is hard as a whole is not called wrong as a whole; `cleanlab` does that part.
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
STRENGTH = 0.1
"""Inverse of the penalty on the classifier's weights."""
FEWEST = 8
"""Independent images of a class, below which it is not checked."""
SURE = 0.95
"""Probability of another label from which relabelling is suggested, not only shown."""
UNLIKELY = 0.05
"""Probability of the own label below which one that is likely wrong is shown as such."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """Answers for images that were left out of learning.

    Attributes:
        rows: int64 [m], the images that were answered for.
        probs_mk: float64 [m, k] over all label names; 0 for classes that were not checked.
        left_out: names of classes with too few images.
        reason: why there are no answers, or ''.
    """

    rows: NDArray[np.int64]
    probs_mk: NDArray[np.float64]
    left_out: tuple[str, ...] = ()
    reason: str = ""


def left_out_opinions(
    features_nd: NDArray[np.float32],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    seed: int = 0,
) -> Opinions:
    """Return answers by cross-validation; copies and known subjects stay in one fold.

    Args:
        features_nd: float32 [n, d], of any model.
        labels_n: int64 [n], -1 for none.
        label_names: of the classes.
        groups_n: int64 [n], copies share a number.
        subjects_n: str [n], '' where unknown.
        seed: of the folds.
    """
    from sklearn.linear_model import LogisticRegression

    unit_n = units(groups_n, subjects_n)
    enough = [c for c in range(len(label_names)) if len(np.unique(unit_n[labels_n == c])) >= FEWEST]
    left_out = tuple(n for c, n in enumerate(label_names) if c not in enough)
    rows = np.flatnonzero(np.isin(labels_n, enough))
    if len(enough) < 2:
        reason = f"fewer than two classes have {FEWEST} independent images"
        return Opinions(np.zeros(0, np.int64), np.zeros((0, len(label_names))), left_out, reason)
    points, labels = _whitened(features_nd[rows]), labels_n[rows]
    fold_m = _folds(unit_n[rows], labels, seed)
    probs = np.zeros((len(rows), len(label_names)))
    for fold in range(FOLDS):
        out = fold_m == fold
        known = np.unique(labels[~out])
        if not out.any() or len(known) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped early changes nothing here
            fitted = LogisticRegression(C=STRENGTH, max_iter=100).fit(points[~out], labels[~out])
        probs[np.ix_(out, fitted.classes_)] = fitted.predict_proba(points[out])
    return Opinions(rows, probs, left_out)


def check_labels(
    opinions: Opinions, labels_n: NDArray[np.int64], label_names: Sequence[str]
) -> list[Problem]:
    """Return the labels that are likely wrong, with what the model would answer."""
    from cleanlab.filter import find_label_issues

    if not len(opinions.rows):
        return []
    labels = labels_n[opinions.rows]
    classes = np.unique(labels)
    probs = opinions.probs_mk[:, classes]
    probs = probs / np.maximum(probs.sum(axis=1, keepdims=True), 1e-12)
    wrong = find_label_issues(np.searchsorted(classes, labels), probs, filter_by="both", n_jobs=1)
    problems = []
    for m in np.flatnonzero(wrong):
        answer = int(opinions.probs_mk[m].argmax())
        own, best = float(opinions.probs_mk[m, labels[m]]), float(opinions.probs_mk[m, answer])
        if answer == labels[m]:
            continue
        text = f"labelled {label_names[labels[m]]} ({own:.0%}), a model says {label_names[answer]}"
        sure = best >= SURE and own <= UNLIKELY
        problems.append(
            Problem(
                int(opinions.rows[m]),
                "likely-wrong-label",
                WARNING,
                f"{text} ({best:.0%})",
                RELABEL if sure else KEEP,
                label_names[answer],
                score=best - own,
            )
        )
    return problems


def _whitened(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the leading principal components, each of deviation 1, float64 [n, COMPONENTS]."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    real = values > 1e-9 * max(float(values[0]), 1e-12)
    whitened: NDArray[np.float64] = centred @ vectors[:, real] / np.sqrt(values[real])
    return whitened


def _folds(unit_m: NDArray[np.int64], labels_m: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return each image's fold: whole units, each class spread evenly."""
    _, first, inverse = np.unique(unit_m, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    fold = np.zeros(len(first), np.int64)
    for label in np.unique(labels_m):
        own = order[labels_m[first[order]] == label]
        fold[own] = np.arange(len(own)) % FOLDS
    return fold[inverse.ravel()]
