"""Evaluate a model on one split of a dataset: read `evaluate` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, DataError, did_you_mean
from mien.evaluate.bootstrap import Estimate, headline_estimates
from mien.evaluate.confidence import Confidence, measure_confidence
from mien.evaluate.metrics import HEADLINES, Rows, confusion_matrix, per_class
from mien.evaluate.predictions import PredictionTable, Scorer, predict_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

FEWEST = 10
"""Images below which a figure would say nothing."""
GRADED = ("train", "validation", "test")
"""Splits that a model can be graded on."""
TRUSTED = 30
"""Images of a class below which no interval of it can be trusted."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """A model against one yardstick.

    Attributes:
        n: images.
        headlines: estimate of each of metrics.HEADLINES, by name.
        labels: of the classes below.
        confusion: int64 [k, k], rows the right answers, columns the model's.
        rows: what the plots need.
        confidence: whether it can be relied on.
    """

    n: int
    headlines: dict[str, Estimate]
    labels: tuple[str, ...]
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
        """What a careful colleague would say of these figures, a sentence each."""
        said = []
        if self.absent:
            said.append(
                f"no image of {', '.join(self.absent)} in the graded split: averages over classes "
                "(balanced accuracy, macro F1) are not defined"
            )
        few = [
            f"{label} (n = {n})"
            for label, n in zip(self.labels, self.rows.support_k, strict=True)
            if 0 < n < TRUSTED
        ]
        if few:
            said.append(
                f"fewer than {TRUSTED} images of {', '.join(few)}: the intervals of averages over "
                "classes and of these classes cannot be trusted"
            )
        answered = np.unique(self.rows.y_pred_n)
        if len(answered) == 1:
            said.append(f"the model answers {self.labels[answered[0]]} for every image")
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON types; null for what is not defined."""
        precision, recall, f1 = per_class(self.confusion.astype(np.float64))
        support, answered = self.confusion.sum(axis=1), self.confusion.sum(axis=0)

        def share(value: float, n: int) -> float | None:
            return round(float(value), 6) if n else None

        return {
            "n": self.n,
            **{name: estimate.to_dict() for name, estimate in self.headlines.items()},
            "warnings": list(self.warnings),
            "classes_without_images": list(self.absent),
            "per_class": {
                label: {
                    "precision": share(precision[i], answered[i]),
                    "recall": share(recall[i], support[i]),
                    "f1": share(f1[i], support[i]),
                    "n": int(support[i]),
                }
                for i, label in enumerate(self.labels)
            },
            "confusion": self.confusion.tolist(),
            "confidence": self.confidence.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on one split: against the labels and, where there are votes, the raters' panel.

    Attributes:
        model: its name.
        data: the dataset's name.
        fingerprint: the dataset's.
        split: 'train', 'validation' or 'test'.
        labels: that were chosen among.
        raw: against the data set's labels; None where no image of the split has one.
        panel: against the raters' majority; None without votes.
    """

    model: str
    data: str
    fingerprint: str
    split: str
    labels: tuple[str, ...]
    raw: Metrics | None
    panel: Metrics | None

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON types: the raw metrics on top, the panel's beneath."""
        about = {
            "model": self.model,
            "data": {"name": self.data, "fingerprint": self.fingerprint, "split": self.split},
            "labels": list(self.labels),
        }
        raw = self.raw.to_dict() if self.raw is not None else {"n": 0}
        return {**about, **raw, "panel": self.panel.to_dict() if self.panel is not None else None}


def evaluate(
    scorer: Scorer,
    dataset: Dataset,
    split: str,
    labels: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Let a model answer a split's images and grade it.

    Args:
        scorer: the model.
        dataset: whose `split` is taken.
        split: 'train', 'validation' or 'test'.
        labels: to choose among, where fewer than the model's.
        progress: called with (done, total) now and then.

    Raises:
        DataError: no such split, or too few images in it carry one of the labels.
        ConfigError: no name of a split, or a label that the model does not know.
    """
    if split not in GRADED:
        raise ConfigError(
            f"split: there is no split {split!r}",
            hint=did_you_mean(split, GRADED) + f"choose one of: {', '.join(GRADED)}",
        )
    chosen = dataset.split(split)
    table = predict_table(scorer, chosen, labels, progress)
    raw = grade(table, table.raw_n)
    panel = grade(table, table.panel_n) if table.panel_n is not None else None
    if raw is None and panel is None:
        raise DataError(
            f"fewer than {FEWEST} images of {dataset.name}'s {split} split carry one of "
            f"{', '.join(table.labels)}",
            hint="too few to say anything; evaluate on more images",
        )
    return Evaluation(
        scorer.name, dataset.name, dataset.fingerprint, split, table.labels, raw, panel
    )


def grade(table: PredictionTable, y_true_n: NDArray[np.int64]) -> Metrics | None:
    """Return the metrics over the rows that have a right answer; None below FEWEST of them."""
    known = y_true_n >= 0
    if int(known.sum()) < FEWEST:
        return None
    right, probs, groups = y_true_n[known], table.probs_nk[known], table.groups_n[known]
    rows = Rows.of(right, probs)
    estimates = headline_estimates(rows, groups)
    confusion = confusion_matrix(rows.y_true_n, rows.y_pred_n, rows.classes)
    return Metrics(
        n=len(rows.y_true_n),
        headlines=dict(zip(HEADLINES, estimates, strict=True)),
        labels=table.labels,
        confusion=confusion.astype(np.int64),
        rows=rows,
        confidence=measure_confidence(probs, right, groups, table.labels),
    )
