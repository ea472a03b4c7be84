"""Rules about the validation split: is it large enough, and does it hold every class?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.finding import Finding, Plot
from mien.doctor.plots import width_plot
from mien.doctor.requirements import VALIDATION_LABELS
from mien.doctor.rule import Abstention, rule
from mien.evaluate.bootstrap import wilson
from mien.evaluate.evaluate import MIN_TRUSTED

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("validation-too-small", needs=(VALIDATION_LABELS,))
def validation_too_small(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The interval of the validation accuracy is too wide to compare anything by."""
    n = len(evidence.validation.y_true_n)
    if evidence.history:
        n = evidence.history[-1].validation_n
    # Without an epoch the accuracy is unknown; one half has the widest interval.
    accuracy = evidence.history[-1].validation_accuracy if evidence.history else 0.5
    interval = wilson(accuracy * n, n)
    half = (interval.high - interval.low) / 2
    if half < limits.half_width:
        return None
    # n for a half width of 3 points in the worst case, an accuracy of 1/2.
    wanted = int(np.ceil(0.25 * (1.96 / 0.03) ** 2 / 100) * 100)
    return Finding(
        "validation-too-small",
        "warning",
        "the validation split is too small",
        f"With n = {n} an accuracy of {accuracy:.1%} has a 95% interval of {interval.low:.1%} to "
        f"{interval.high:.1%}.",
        f"Use a larger validation split: {wanted:,} images give plus or minus 3 points (mien data "
        "import SOURCE OUT --validation 0.3).",
        (),
        {"n": n, "half_width": half},
        width_plot(accuracy, n, limits.half_width),
    )


@rule(
    "validation-class-counts", needs=(VALIDATION_LABELS,), severities=("serious", "warning")
)  # fmt: skip
def validation_class_counts(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Some classes have no validation image, or too few for an interval to be trusted."""
    if evidence.validation.constant_nk is not None:
        return Abstention("positions and labels of validation are a sample of all")
    labels, y_true_n = evidence.recipe.predicted_labels, evidence.validation.y_true_n
    counts = np.bincount(y_true_n, minlength=len(labels))
    absent = [label for label, n in zip(labels, counts, strict=True) if n == 0]
    few = [label for label, n in zip(labels, counts, strict=True) if 0 < n < MIN_TRUSTED]
    if not absent and not few:
        return None
    if evidence.history and evidence.history[-1].validation_n > len(y_true_n):
        return Abstention(
            f"the sample of {len(y_true_n):,} validation images has few of "
            f"{', '.join(absent + few)}; the whole split may have more"
        )
    listed = ", ".join(f"{n} of {label}" for label, n in zip(labels, counts, strict=True))
    title = (
        f"validation has no image of {', '.join(absent)}"
        if absent
        else f"validation has few images of {', '.join(few)}"
    )
    consequence = (
        "macro averages (balanced accuracy, macro F1) are not defined, and the accuracy does not "
        "cover what is missing"
        if absent
        else f"with fewer than {MIN_TRUSTED} an interval cannot be trusted"
    )
    return Finding(
        "validation-class-counts",
        "serious" if absent else "warning",
        title,
        f"It holds {listed}: {consequence}.",
        "Add images of these classes to the source of mien data import, or use a larger "
        "validation split there.",
        (),
        {"absent": ", ".join(absent), "few": ", ".join(few)},
        Plot("bars", "validation images", labels, {"images": [float(n) for n in counts]},
             limit=float(MIN_TRUSTED), xlabel=""),
    )  # fmt: skip
