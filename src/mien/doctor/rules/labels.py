"""The rules about single classes, for the labels of a multi-label task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Finding, Plot
from mien.errors import counted
from mien.evaluate.bootstrap import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.doctor.programs.measurements import LabelScore
    from mien.doctor.thresholds import Thresholds

MIN_PREDICTABLE = 20
"""Validation examples with a label below which it may be missed by chance."""
MIN_EXAMPLES = 50
"""Training examples from which a label that none of them has is missing."""
MISSED = 0.5
"""Upper bound of the recall up to which a rare label is missed."""
BASELINE_FINDS = 0.2
"""Recall of the baseline from which the inputs show a label."""


def rare_label(
    labels: Sequence[LabelScore], limits: Thresholds, *, weighted: bool
) -> Finding | None:
    """Return the finding on a label that is missing or rare in training and mostly missed."""
    worst = min(labels, key=lambda label: label.rate)
    if worst.count == 0 and max(label.count for label in labels) >= MIN_EXAMPLES:
        return _finding(
            "class-imbalance", "serious", f"{worst.name} is missing from training",
            f"No kept training example has the label {worst.name}.",
            "Add examples of it, or correct the mapping of the labels.", labels, worst,
        )  # fmt: skip
    rare = [
        label
        for label in labels
        if 0 < label.rate < 1 / (1 + limits.imbalance_ratio)
        and label.positives >= MIN_PREDICTABLE
        and wilson(label.found, label.positives).high < MISSED
    ]
    if weighted or not rare:
        return None
    worst = min(rare, key=lambda label: label.found / label.positives)
    examples = round(worst.count / worst.rate)
    return _finding(
        "class-imbalance", "warning",
        f"{worst.name} is rare in training, and nothing compensates for it",
        f"{counted(worst.count, 'example')} of {examples:,} in training have the label "
        f"{worst.name}; on validation {worst.found} of {worst.positives} are found.",
        "Use BCEWithLogitsLoss(pos_weight=negatives / positives), add examples, or lower the "
        "threshold of this label.", labels, worst,
    )  # fmt: skip


def label_never_predicted(labels: Sequence[LabelScore], limits: Thresholds) -> Finding | None:
    """Return the finding on a label that the network does not predict and the baseline does."""
    missed = [
        label
        for label in labels
        if label.positives >= MIN_PREDICTABLE
        and label.found < limits.never_predicted_recall * label.positives
        # A label that the inputs do not tell stays below one half in a sound training as well.
        and (label.baseline or 0) > BASELINE_FINDS * label.positives
    ]
    if not missed:
        return None
    worst = min(missed, key=lambda label: label.found / label.positives)
    return _finding(
        "class-never-predicted", "warning",
        f"the network hardly ever predicts {' or '.join(label.name for label in missed)}",
        f"It finds {worst.found} of the {worst.positives} validation examples with the label "
        f"{worst.name}; the baseline finds {worst.baseline}. {worst.rate:.1%} of the training "
        "examples have it.",
        "Train longer, weight the label (pos_weight), or check its column of the targets.",
        labels, worst,
    )  # fmt: skip


def _finding(
    name: str, severity: str, title: str, evidence: str, remedy: str,
    labels: Sequence[LabelScore], worst: LabelScore,
) -> Finding:  # fmt: skip
    recalls = [label.found / label.positives if label.positives else None for label in labels]
    return Finding(
        name,
        severity,  # type: ignore[arg-type]
        title,
        evidence,
        remedy,
        (),
        {"class": worst.name, "rate": worst.rate, "found": worst.found, "n": worst.positives},
        Plot("bars", "recall on validation", [label.name for label in labels],
             {"recall": recalls}, xlabel=""),
    )  # fmt: skip
