"""Evaluate a model on one split of a dataset: read `evaluate` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, DataError, did_you_mean
from mien.evaluate.bootstrap import Estimate, headline_estimates
from mien.evaluate.class_metrics import ClassMetrics, class_metrics
from mien.evaluate.columns import group_values
from mien.evaluate.confidence import Confidence, measure_confidence
from mien.evaluate.metrics import HEADLINES, Rows, confusion_matrix
from mien.evaluate.predictions import PredictionTable, Scorer, ground_truth_of, predict_table
from mien.evaluate.raters import RaterAgreement, rater_agreement
from mien.evaluate.subgroups import ColumnGroups, GradedRows, group_metrics
from mien.evaluate.words import GROUND_TRUTHS, NAMES, in_words
from mien.report.cell import Table, cell_html

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

MIN_IMAGES = 10
"""Images with ground truth below which a split is not evaluated."""
SPLITS = ("train", "validation", "test")
"""Splits that a model can be evaluated on."""
MIN_TRUSTED = 30
"""Images of a class below which its intervals cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """A model against one ground truth.

    Attributes:
        n: number of images.
        headlines: estimate of each of metrics.HEADLINES, by name, over all `n` images.
        labels: the classes, in the order of `confusion`.
        classes: precision, recall and F1 of each class.
        confusion: int64 [k, k], rows are the ground truth, columns the predictions.
        rows: per-row terms, which the plots need.
        confidence: prediction sets and confidence thresholds.
    """

    n: int
    headlines: dict[str, Estimate]
    labels: tuple[str, ...]
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    rows: Rows
    confidence: Confidence

    @property
    def absent(self) -> tuple[str, ...]:
        """Labels without an image in the graded split."""
        counts = zip(self.labels, self.rows.support_k, strict=True)
        return tuple(label for label, n in counts if n == 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust these figures, a sentence each."""
        found = []
        if self.absent:
            found.append(
                f"no image of {', '.join(self.absent)} in the evaluated split: averages over "
                "classes (balanced accuracy, macro F1) are not defined"
            )
        few = [
            f"{label} (n = {n})"
            for label, n in zip(self.labels, self.rows.support_k, strict=True)
            if 0 < n < MIN_TRUSTED
        ]
        if few:
            found.append(
                f"fewer than {MIN_TRUSTED} images of {', '.join(few)}: the intervals of averages "
                "over classes and of these classes cannot be trusted"
            )
        # A model that says one word may look accurate where one class is common.
        predicted = np.unique(self.rows.y_pred_n)
        if len(predicted) == 1:
            found.append(f"the model predicts {self.labels[predicted[0]]} for every image")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON types; null for what is not defined."""
        return {
            "n": self.n,
            **{name: estimate.to_dict() for name, estimate in self.headlines.items()},
            "warnings": list(self.warnings),
            "classes_without_images": list(self.absent),
            "per_class": {one.label: one.to_dict() for one in self.classes},
            "confusion": self.confusion.tolist(),
            "confidence": self.confidence.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on one split: against the raw labels and, where there are votes, the consensus.

    Attributes:
        model: the model's name.
        data: the dataset's name.
        fingerprint: the dataset's fingerprint.
        split: 'train', 'validation' or 'test'.
        labels: labels that were predicted.
        raw: against the dataset's own labels; None where too few images of the split have one.
        consensus: against the raters' majority; None without votes.
        groups: metrics by group, for each column that was asked for.
        raters: pooled human raters against the others' majority, where they were asked for.
    """

    model: str
    data: str
    fingerprint: str
    split: str
    labels: tuple[str, ...]
    raw: Metrics | None
    consensus: Metrics | None
    groups: tuple[ColumnGroups, ...] = ()
    raters: tuple[RaterAgreement, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON types; the metrics at the top level are the raw labels'."""
        about = {
            "model": self.model,
            "data": {"name": self.data, "fingerprint": self.fingerprint, "split": self.split},
            "labels": list(self.labels),
        }
        raw = self.raw.to_dict() if self.raw is not None else {"n": 0}
        consensus = self.consensus.to_dict() if self.consensus is not None else None
        groups = {one.column: one.to_dict() for one in self.groups}
        more: dict[str, Any] = {"groups": groups} if groups else {}
        if self.raters:
            more["raters"] = [one.to_dict() for one in self.raters]
        return {**about, **raw, "consensus": consensus, **more}

    def _repr_html_(self) -> str:
        """Return the headline metrics and the recalls for a notebook cell, with intervals."""
        graded = {"consensus": self.consensus, "raw": self.raw}
        known = {GROUND_TRUTHS[name]: m for name, m in graded.items() if m is not None}
        metrics = [
            [title, *(in_words(m.headlines[key]) for m in known.values())]
            for key, title in NAMES.items()
        ]
        recalls = [
            [f"recall {label}", *(in_words(m.classes[i].recall) for m in known.values())]
            for i, label in enumerate(self.labels)
        ]
        heads = ["metric", *(f"{name}, n = {m.n:,}" for name, m in known.items())]
        return cell_html(
            f"{self.model} on {self.data}, {self.split}; 95% intervals",
            lines=[f"warning ({n}): {text}" for n, m in known.items() for text in m.warnings],
            tables=[Table(heads, [*metrics, *recalls])],
        )


def evaluate(
    scorer: Scorer,
    dataset: Dataset,
    split: str,
    labels: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    by: Sequence[str] = (),
    *,
    raters: bool = False,
) -> Evaluation:
    """Classify a split's images and compare the predictions with the ground truth.

    Args:
        scorer: the model.
        dataset: images with labels, votes or both.
        split: 'train', 'validation' or 'test'.
        labels: labels to choose among; empty for all of the model's.
        progress: progress callback, called with (done, total).
        by: columns whose groups are evaluated too, against the consensus where there are votes.
        raters: also measure pooled human raters, see `rater_agreement`.

    Raises:
        DataError: the dataset has no such split, too few of its images carry one of the labels, or
            a column of `by` has no values, a single one, or too many.
        ConfigError: an unknown split or column, or a label that the model does not have.
    """
    # 'excluded' is a split too, of images that nothing may be measured on.
    if split not in SPLITS:
        raise ConfigError(
            f"split: there is no split {split!r}",
            hint=did_you_mean(split, SPLITS) + f"choose one of: {', '.join(SPLITS)}",
        )
    chosen = dataset.split(split)
    for column in by:  # before the split is classified, which may take minutes
        group_values(chosen, column)
    table = predict_table(scorer, chosen, labels, progress)
    raw = grade(table, table.raw_n)
    consensus = grade(table, table.consensus_n) if table.consensus_n is not None else None
    # Either is enough: a test set may have votes and no labels, or labels and no votes.
    if raw is None and consensus is None:
        raise DataError(
            f"fewer than {MIN_IMAGES} images of {dataset.name}'s {split} split carry one of "
            f"{', '.join(table.labels)}",
            hint="evaluate on more images",
        )
    groups = _groups(table, chosen, by) if by else ()
    return Evaluation(
        scorer.name, dataset.name, dataset.fingerprint, split, table.labels, raw, consensus, groups,
        rater_agreement(chosen, table.labels, y_pred_n=table.logits_nk.argmax(axis=1))
        if raters else (),
    )  # fmt: skip


def _groups(table: PredictionTable, split: Dataset, by: Sequence[str]) -> tuple[ColumnGroups, ...]:
    """Return the groups of each column over the images that have ground truth."""
    truth, y_true_n = ground_truth_of(table)
    if (y_true_n >= 0).sum() < MIN_IMAGES:
        # Too few images have a consensus: groups of a handful would say nothing.
        truth, y_true_n = "raw", table.raw_n
    known = y_true_n >= 0
    graded = split.subset(known)
    rows = GradedRows(
        y_true_n[known], table.logits_nk[known].argmax(axis=1), table.labels, graded.groups_n,
        graded.subjects_n,
    )  # fmt: skip
    # A column that is given twice is measured once, in the order of the options.
    names = dict.fromkeys(column.strip().lower() for column in by)
    return tuple(group_metrics(rows, group_values(graded, name), name, truth) for name in names)


def grade(table: PredictionTable, y_true_n: NDArray[np.int64]) -> Metrics | None:
    """Return the metrics over rows with ground truth (not -1); None below MIN_IMAGES of them."""
    known = y_true_n >= 0
    if int(known.sum()) < MIN_IMAGES:
        return None
    y_true, probs, groups = y_true_n[known], table.probs_nk[known], table.groups_n[known]
    rows = Rows.of(y_true, probs)
    estimates = headline_estimates(rows, groups)
    confusion = confusion_matrix(rows.y_true_n, rows.y_pred_n, rows.classes)
    return Metrics(
        n=len(rows.y_true_n),
        headlines=dict(zip(HEADLINES, estimates, strict=True)),
        labels=table.labels,
        classes=class_metrics(rows, groups, table.labels),
        confusion=confusion.astype(np.int64),
        rows=rows,
        confidence=measure_confidence(probs, y_true, groups, table.labels),
    )
