"""The rule about a learning rate that is too low: tiny steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import at_full_rate, learned_well, loss_curve, median_known, median_updates
from mien.doctor.finding import Finding
from mien.doctor.plots import loss_plot, rate_plot
from mien.doctor.requirements import MEASURED_STEPS
from mien.doctor.rule import UNSOUND_LOOP, Abstention, rule
from mien.doctor.rules.rates import beside_range_test, found_rate

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

UNCHANGED = 0.7
"""Loss of the last steps over that of the first ones above which a training has hardly begun."""

MOVES, LONGEST = 3.0, 0.01
"""Times their own size that all steps together move the weights, if all go one way; longest
update-to-weight ratio that is suggested for that."""


@rule(
    "learning-rate-too-low",
    needs=(MEASURED_STEPS,),
    severities=("serious",),
    explained_by=UNSOUND_LOOP | {"clipping-always"},
)
def learning_rate_too_low(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Steps are so small that the loss still falls when the training ends."""
    epochs = at_full_rate(evidence)
    ratio = median_known([e.gain for e in epochs])
    updates = median_updates(epochs)
    if ratio is None or not updates:
        return Abstention("no measured step was predicted to reduce the loss")
    update = float(np.median(list(updates.values())))
    slow = update > limits.min_update and _falls_slowly(evidence, update, limits)
    if (
        learned_well(evidence)
        or ratio < limits.linear_reduction_ratio
        or (update > limits.min_update and not slow)
    ):
        return None
    rate = max(e.lr for e in epochs)
    if evidence.program is not None and update < limits.min_update * rate:
        return None  # even a rate of 1 would take tiny steps: the gradients vanish, or units died
    larger = rate * (10.0 if slow else _factor(evidence, update))
    return Finding(
        "learning-rate-too-low",
        "serious",
        "the learning rate is too low: steps are tiny",
        f"At lr {rate:g} the median update-to-weight ratio was {update:.1e} (1e-3 is usual), and "
        f"the actual / predicted loss reduction was {ratio:.2f}: the loss is still linear "
        f"over such a step. It ended at {loss_curve(evidence)[-1]:.3f}."
        f"{_course(evidence, limits) if slow else ''}{beside_range_test(evidence, rate)}",
        "Raise the learning rate.",
        (f"optimizer.lr={found_rate(evidence, above=rate) or larger:.2g}",),
        {"lr": rate, "reduction_ratio": ratio, "update_ratio": update},
        rate_plot(evidence, limits.linear_reduction_ratio)
        if evidence.range_test
        else loss_plot(evidence),
    )


def _factor(evidence: Evidence, update: float) -> float:
    """Return by how much the rate is raised for an update-to-weight ratio of 1e-3.

    A training of few steps needs longer ones: all of them together must be able to move the weights
    by some times their own size.
    """
    if evidence.program is None:
        return min(100.0, 1e-3 / max(update, 1e-9))
    usual = min(LONGEST, max(1e-3, MOVES / max(1, evidence.program.steps)))
    return min(1000.0, usual / max(update, 1e-9))


def _falls_slowly(evidence: Evidence, update: float, limits: Thresholds) -> bool:
    """Return whether a watched loop's steps, together, could hardly lower its loss.

    The loss falls surely all the same, or a baseline shows that it can: longer steps would lower it
    faster, as it is linear over those that were taken.
    """
    program = evidence.program
    course = None if program is None else program.progress.course
    if program is None or course is None:
        return False
    if update > limits.slow_update or course.reach > limits.reach or course.kept < UNCHANGED:
        return False
    score, baseline = program.train_score, program.baseline_score
    known = score is not None and baseline is not None and score < baseline - limits.r2_gap
    return known or course.certainty > limits.falling


def _course(evidence: Evidence, limits: Thresholds) -> str:
    """Return how far the steps could bring the loss, and how it fell, after another sentence."""
    program = evidence.program
    course = None if program is None else program.progress.course
    if program is None or course is None:
        return ""
    text = (
        f" All {program.steps:,} steps together could lower the loss by {course.reach:.0%}, to "
        "first order."
    )
    if course.certainty > limits.falling:
        text += (
            f" It fell by {course.fall:.1%} over the last half, steadily ({course.certainty:.1f} "
            "standard errors)."
        )
    return text
