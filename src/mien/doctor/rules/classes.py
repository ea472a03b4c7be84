"""Rules about single classes: rare in training, never predicted, or found far less often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import class_recalls
from mien.doctor.finding import Finding, Plot
from mien.doctor.requirements import CLASS_COUNTS, NAMED_CLASSES, VALIDATION_PREDICTIONS
from mien.doctor.rule import LEARNS_NOTHING, Abstention, rule
from mien.doctor.rules.encoding import label_encoding
from mien.doctor.rules.labels import MISSED, label_never_predicted, rare_label
from mien.errors import counted
from mien.evaluate.evaluate import MIN_TRUSTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds
    from mien.evaluate.bootstrap import Estimate

POORLY_TRAINED = LEARNS_NOTHING | {
    "dead-units",
    "batch-norm-statistics",
    "domain-shift",
    "underfitting",
    "model-too-small",
    "label-encoding",
    "class-weights-reversed",
}
"""Findings after which a class that is not found is no surprise."""
MERGED = 0.6
"""Fraction of a missing class that another one must seem to hold."""
MIN_PREDICTABLE = 20
"""Validation images of a class below which it may be missed by chance."""


@rule(
    "class-imbalance",
    needs=(CLASS_COUNTS, NAMED_CLASSES),
    severities=("serious", "warning"),
    explained_by={"positions-mixed", "masks-misaligned"},
)  # fmt: skip
def class_imbalance(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Some predicted classes are rare in training, and nothing compensates for it."""
    weighted = evidence.recipe.loss.class_weights != "none"
    if evidence.program is not None and evidence.program.labels:
        return rare_label(evidence.program.labels, limits, weighted=weighted)
    labels = evidence.recipe.predicted_labels
    counts = evidence.class_counts_k[: len(labels)].copy()
    ignored = None if evidence.program is None else evidence.program.ignored
    if ignored is not None and 0 <= ignored < len(counts):
        # Padding, or pixels without a label, have no label on purpose.
        counts[ignored] = np.median(np.delete(counts, ignored))
    rarest, commonest = int(counts.argmin()), int(counts.argmax())
    ratio = float(counts[commonest] / max(counts[rarest], 1e-9))
    if ratio < limits.imbalance_ratio or weighted:
        return None
    recalls = class_recalls(evidence.validation)
    found = ""
    if recalls is not None and recalls[rarest].is_defined:
        low, high = recalls[rarest].value, recalls[commonest].value
        # A watched loop's rare class has few validation examples: its interval counts.
        best = low if evidence.program is None else recalls[rarest].high
        # Of positions the rare class is small in all examples: it counts if most of it is missed.
        enough = MISSED if evidence.validation.constant_nk is not None else high - 0.05
        if counts[rarest] > 0 and best > enough:
            return None  # rare, and learnt as well as the most common class
        found = f"; on validation {low:.0%} of them are found"
    missing = counts[rarest] == 0
    if missing and evidence.program is not None and label_encoding(evidence, limits):
        return None  # no label is encoded so, in either split
    merged, seen = _merged_into(evidence, rarest) if missing else (None, "")
    return Finding(
        "class-imbalance",
        "serious" if missing else "warning",
        f"{labels[rarest]} is {'missing from' if missing else 'rare in'} training, and nothing "
        "compensates for it",
        f"Training holds {counted(round(counts[rarest]), 'image')} of {labels[rarest]} and "
        f"{counts[commonest]:,.0f} of {labels[commonest]}{found}.{seen}",
        "Add images of it to the source of mien data import."
        if missing
        else "Add images of it, or weight the loss by class.",
        () if missing else ("loss.class_weights=balanced",),
        {"ratio": None if missing else ratio, "class": labels[rarest], "merged_into": merged},
        Plot("bars", "training images", labels, {"images": [float(n) for n in counts]},
             xlabel=""),
    )  # fmt: skip


def _merged_into(evidence: Evidence, missing: int) -> tuple[str | None, str]:
    """Return which class a class without a training example seems to be labelled as, and why.

    Its validation examples are taken for that class, which is as much more common in training than
    in validation as the missing one should be. None and '' where nothing shows such a class.
    """
    held, labels = evidence.validation, evidence.recipe.predicted_labels
    rows = held.y_true_n == missing
    if evidence.program is None or held.probs_nk is None or rows.sum() < MIN_PREDICTABLE:
        return None, ""
    taken = np.bincount(held.probs_nk[rows].argmax(axis=1), minlength=len(labels)) / rows.sum()
    other = int(taken.argmax())
    counts = evidence.class_counts_k[: len(labels)]
    trained, own = counts[other] / counts.sum(), float((held.y_true_n == other).mean())
    if other == missing or taken[other] < MERGED or trained < own + MERGED * rows.mean():
        return None, ""
    text = (
        f" {taken[other]:.0%} of its validation examples are predicted as {labels[other]}, which "
        f"makes up {trained:.0%} of training and {own:.0%} of validation."
    )
    return labels[other], text


@rule(
    "class-never-predicted",
    needs=(VALIDATION_PREDICTIONS, NAMED_CLASSES),
    explained_by=POORLY_TRAINED | {"class-imbalance", "class-confusion"},
)
def class_never_predicted(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network hardly ever predicts one of its classes, though validation holds it."""
    if evidence.program is not None and evidence.program.labels:
        return label_never_predicted(evidence.program.labels, limits)
    labels, recalls = evidence.recipe.predicted_labels, class_recalls(evidence.validation) or []
    counts = np.bincount(evidence.validation.y_true_n, minlength=len(labels))
    missed = [
        k
        for k, recall in enumerate(recalls)
        if recall.value < limits.never_predicted_recall and counts[k] >= MIN_PREDICTABLE
    ]
    if not missed:
        return None
    worst = min(missed, key=lambda k: recalls[k].value)
    return Finding(
        "class-never-predicted",
        "warning",
        f"the network hardly ever predicts {' or '.join(labels[k] for k in missed)}",
        f"It finds {recalls[worst].value:.0%} of the {counts[worst]} validation images of "
        f"{labels[worst]}; training holds {evidence.class_counts_k[worst]:,.0f} of them among "
        f"{float(evidence.class_counts_k[: len(labels)].sum()):,.0f}.",
        "Weight the loss by class, train longer, or check that class's labels with mien data "
        "audit.",
        ("loss.class_weights=balanced",) if evidence.recipe.loss.class_weights == "none" else (),
        {"class": labels[worst], "recall": recalls[worst].value, "n": int(counts[worst])},
        _recall_plot(labels, recalls, limits.never_predicted_recall),
    )


@rule(
    "class-recall",
    needs=(VALIDATION_PREDICTIONS, NAMED_CLASSES),
    explained_by=POORLY_TRAINED | {"class-imbalance", "class-never-predicted", "class-confusion"},
)
def class_recall(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """One class's recall is far below that of all others, beyond what its sample size explains."""
    if evidence.program is not None and evidence.program.labels:
        return Abstention("the recalls of labels with other base rates cannot be compared")
    labels, recalls = evidence.recipe.predicted_labels, class_recalls(evidence.validation) or []
    counts = np.bincount(evidence.validation.y_true_n, minlength=len(labels))
    # A class with few images has an interval that says nothing about its recall.
    judged = [k for k in range(len(labels)) if counts[k] >= MIN_TRUSTED]
    few = [f"{labels[k]} (n = {counts[k]})" for k in range(len(labels)) if counts[k] < MIN_TRUSTED]
    unjudged = f"fewer than {MIN_TRUSTED} validation images of {', '.join(few)}"
    if len(judged) < 2:
        return Abstention(unjudged)
    # The upper bound, not the recall: a small class with a wide interval is not accused.
    worst = min(judged, key=lambda k: recalls[k].high)
    # All other classes must be clearly better, so that one hard pair of classes is no alarm.
    lowest = min(recalls[k].low for k in judged if k != worst)
    gap = lowest - recalls[worst].high
    missed = evidence.validation.constant_nk is None or recalls[worst].high < MISSED
    if gap <= limits.recall_gap or not missed:
        return Abstention(f"the recall of some classes: {unjudged}") if few else None
    listed = ", ".join(
        f"{labels[k]} {recalls[k].value:.1%} (n = {counts[k]}, 95% interval {recalls[k].low:.1%} "
        f"to {recalls[k].high:.1%})"
        for k in judged
    )
    return Finding(
        "class-recall",
        "warning",
        f"the network finds {labels[worst]} far less often than the other classes",
        f"Recall on validation: {listed}. The interval of {labels[worst]} ends {100 * gap:.0f} "
        "points below all others." + (f" Not judged: {unjudged}." if few else ""),
        f"Sample or weight the classes equally in training (a logit-adjusted loss does the same), "
        f"add training images of {labels[worst]}, or correct the class priors at prediction time.",
        _equal_weights(evidence),
        {
            "class": labels[worst],
            "gap": gap,
            **{f"recall_{labels[k]}": recalls[k].value for k in judged},
            **{f"n_{labels[k]}": int(counts[k]) for k in judged},
        },
        _recall_plot(labels, recalls),
    )


def _equal_weights(evidence: Evidence) -> tuple[str, ...]:
    """Return the settings that make classes count the same and that the recipe lacks."""
    settings = []
    if evidence.recipe.loss.class_weights == "none":
        settings.append("loss.class_weights=balanced")
    if evidence.recipe.fit.select != "balanced_accuracy":
        settings.append("fit.select=balanced_accuracy")
    return tuple(settings)


def _recall_plot(
    labels: Sequence[str], recalls: Sequence[Estimate], limit: float | None = None
) -> Plot:
    def known(values: list[float]) -> list[float | None]:
        pairs = zip(values, recalls, strict=True)
        return [value if recall.is_defined else None for value, recall in pairs]

    return Plot(
        "bars",
        "recall on validation",
        labels,
        {"recall": known([r.value for r in recalls])},
        limit=limit,
        xlabel="",
        low={"recall": known([r.low for r in recalls])},
        high={"recall": known([r.high for r in recalls])},
    )
