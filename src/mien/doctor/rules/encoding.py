"""The rule about labels that do not fit the outputs: off by one, or an output without any."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import watched
from mien.doctor.finding import Finding, Plot
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence, Predictions
    from mien.doctor.thresholds import Thresholds


MAX_MOVED = 6
"""Classes in another order that are named."""


@rule(
    "label-encoding",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    explained_by={"positions-mixed", "masks-misaligned"},
)
def label_encoding(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Labels are numbered otherwise, between splits or to the network's outputs."""
    program = watched(evidence)
    k = len(evidence.recipe.predicted_labels)
    plot = Plot(
        "bars",
        "training examples",
        evidence.recipe.predicted_labels,
        {"examples": [float(c) for c in evidence.class_counts_k]},
        xlabel="",
    )
    if program.label_offset:
        right, shifted = _shifted_accuracy(evidence.validation, program.label_offset)
        title = "validation labels are off by one"
        text = (
            f"The prediction plus {program.label_offset} matches {shifted:.1%} of the validation "
            f"labels, the prediction itself {right:.1%}."
        )
        plot = bars(
            "accuracy on validation",
            {"prediction": right, f"prediction {program.label_offset:+d}": shifted},
        )
    elif program.label_mapping:
        title = "validation labels are numbered in another order"
        text, plot = _in_another_order(evidence)
    # The first or the last output only: any other may be a class that is rare in a small sample.
    elif (
        program.unused_outputs in ((0,), (k - 1,))
        and k > 2
        and evidence.images >= 50
        # A class that validation has is missing from training, as 'class-imbalance' says.
        and program.unused_outputs[0] not in evidence.validation.y_true_n
    ):
        title = "an output has no label"
        text = (
            f"No training label is {program.unused_outputs[0]}, though the network has {k} outputs."
        )
    else:
        return None
    differ = bool(program.label_offset or program.label_mapping)
    return Finding(
        "label-encoding",
        "serious" if differ else "warning",
        title,
        text,
        "Encode labels as 0 to k - 1, by one mapping for all splits, and give the network k "
        "outputs.",
        (),
        {"offset": program.label_offset, "unused": len(program.unused_outputs)},
        plot,
        "high" if differ else "medium",
    )  # fmt: skip


def _in_another_order(evidence: Evidence) -> tuple[str, Plot]:
    """Return which label each predicted class has on validation, in words and as a plot."""
    held, names = evidence.validation, evidence.recipe.predicted_labels
    order = np.array(watched(evidence).label_mapping)
    assert held.probs_nk is not None  # noqa: S101 - the mapping was found in them
    guess = held.probs_nk.argmax(axis=1)
    right, mapped = (float((g == held.y_true_n).mean()) for g in (guess, order[guess]))
    moved = [f"{names[c]} has the label {names[v]}" for c, v in enumerate(order) if c != v]
    text = (
        f"What is predicted as {listed(moved, MAX_MOVED)}: with this order {mapped:.1%} of the "
        f"validation labels are predicted, as they are {right:.1%}."
    )
    return text, bars("accuracy on validation", {"as they are": right, "in this order": mapped})


def _shifted_accuracy(held: Predictions, offset: int) -> tuple[float, float]:
    """Return the accuracy of the predictions, and of the predictions plus `offset`."""
    if held.probs_nk is None or not len(held.y_true_n):
        return math.nan, math.nan
    predicted, k = held.probs_nk.argmax(axis=1), held.probs_nk.shape[1]
    right = float((predicted == held.y_true_n).mean())
    return right, float(((predicted + offset) % k == held.y_true_n).mean())
