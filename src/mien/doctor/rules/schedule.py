"""Rules about a watched loop's learning-rate schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import curve
from mien.doctor.requirements import EPOCHS, PROGRAM
from mien.doctor.rule import rule
from mien.errors import counted

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.losses import Plateau
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds

MIN_STEPS = 20
"""Steps below which nothing can be said about a schedule."""
VANISHED, TINY = 0.01, 1e-5
"""Last rate over the largest below which little is left of it, and below which nothing is."""
FELL, ROSE = 0.9, 0.03
"""Validation loss over the first epoch's, and accuracy above it, from which a training improved."""


@rule(
    "learning-rate-vanishes",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    explained_by={"optimizer-not-stepped", "scheduler-mode"},
)
def learning_rate_vanishes(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """For much of the training the learning rate is practically zero."""
    program = watched(evidence)
    rates = np.array(program.rates)
    peak = float(rates.max(initial=0.0))
    if program.steps < MIN_STEPS or not len(rates):
        return None
    gone = 1.0 if peak == 0 else float((rates < limits.vanished_rate * peak).mean())
    if gone < limits.vanished_steps:
        return None
    # A log's rows may stand for many steps.
    steps = f"{program.steps:,} {'values' if evidence.chance_is_start else 'steps'}"
    text = (
        f"In {gone:.0%} of the {steps} the learning rate was below "
        f"{limits.vanished_rate:g} of its maximum {peak:g}; it ended at {rates[-1]:.2g}."
    )
    remedy = (
        "Step the scheduler once an epoch if its settings count epochs, or count its decay in "
        "steps; a decay of 0.1 to 0.5 every third of the training is usual. If the loss still "
        "falls when the rate drops, let it drop later, or leave the scheduler out."
    )
    if peak == 0:
        text = f"In all {steps} the learning rate was 0."
        remedy = (
            "Look at the factor that the scheduler computes: an integer division, or a warm-up "
            "longer than the training, keeps it at 0."
        )
    elif program.plateau_mode == "max":
        remedy = (
            "ReduceLROnPlateau(mode='max') lowers the rate while its metric does not rise: use "
            "mode='min' for a loss, and 'max' for an accuracy."
        )
    return Finding(
        "learning-rate-vanishes",
        "serious" if peak == 0 or not program.learned_well else "warning",
        "the learning rate is 0" if peak == 0 else "the learning rate decays to zero too early",
        text,
        remedy,
        (),
        {"fraction": gone, "peak": peak, "last": float(rates[-1])},
        curve("learning rate", program.rates, _step_axis(program), log=True),
        "high",
    )


@rule("scheduler-steps", needs=(PROGRAM,), explained_by={"learning-rate-vanishes"})
def scheduler_steps(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A scheduler was stepped far more, or far less often than it was planned for."""
    program = watched(evidence)
    if not program.scheduler or program.steps < MIN_STEPS:
        return None
    return Finding(
        "scheduler-steps",
        "warning",
        "the learning-rate scheduler is stepped wrongly",
        f"{'; '.join(program.scheduler)}.",
        "Call scheduler.step() as often as its settings count: once an epoch, or once a batch "
        "(OneCycleLR), after optimizer.step().",
        (),
        {"schedulers": len(program.scheduler), "steps": program.steps},
        curve("learning rate", program.rates, _step_axis(program)),
        "high",
    )


@rule("scheduler-mode", needs=(PROGRAM, EPOCHS), severities=("serious", "warning"))
def scheduler_mode(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """ReduceLROnPlateau lowers the rate as often as it can, although the training improves."""
    program = watched(evidence)
    found = program.causes.plateau
    if found is None or found.most < 2:
        return None
    # The last cut may come after the last training step, and a tiny rate is cut no further.
    peak, last = max(program.rates), program.rates[-1]
    if found.cuts < found.most - 1 and last > TINY * peak:
        return None
    improved = _improvement(evidence)
    if not improved or _has_right_metric(evidence, found):
        return None
    return Finding(
        "scheduler-mode",
        "serious" if last < VANISHED * peak and not program.learned_well else "warning",
        "the scheduler lowers the learning rate while the training improves",
        f"ReduceLROnPlateau(mode={found.mode!r}, patience={found.patience}) lowered the rate "
        f"{counted(found.cuts, 'time')} in {found.steps} steps, from {peak:g} to {last:.2g}: as "
        f"often as if its metric had never improved on its first value. {improved}",
        "Use mode='min' for a loss and mode='max' for an accuracy, and step the scheduler once an "
        "epoch.",
        (),
        {"cuts": found.cuts, "most": found.most, "rate": last, "mode": found.mode},
        curve("learning rate", program.rates, _step_axis(program), log=True),
        "high",
    )


def _has_right_metric(evidence: Evidence, found: Plateau) -> bool:
    """Return whether the best metric of the scheduler is the validation's best, not its first.

    A training that improves in its first epochs alone is cut as often, and rightly.
    """
    losses = [m.validation_loss for m in evidence.history]
    scores = [m.validation_accuracy for m in evidence.history]
    best, first, lowest = found.best, losses[0], min(losses)
    if not math.isfinite(best):
        return False
    if found.mode == "min":
        # Half of the loss, since the watch evaluates a part of the validation.
        fits = lowest / 2 <= best <= math.sqrt(max(0.0, first * lowest))
        return fits and not abs(best - scores[0]) < abs(best - lowest)
    highest = max(scores)
    fits = (scores[0] + highest) / 2 <= best <= min(1.0, highest + ROSE)
    return fits and not abs(best - max(losses)) < abs(best - highest)


def _improvement(evidence: Evidence) -> str:
    """Return how the validation improved on its first epoch, a sentence; '' where it did not.

    Both the loss and the accuracy, where there is one: whichever the scheduler was given.
    """
    losses = [m.validation_loss for m in evidence.history]
    scores = [m.validation_accuracy for m in evidence.history]
    # The second half: a metric may be worse once without a cut.
    half = len(losses) // 2
    lowest, highest = min(losses[half:]), max(scores[half:])
    if half < 1 or not lowest < FELL * losses[0]:
        return ""
    text = f"The validation loss fell from {losses[0]:.3g} to {lowest:.3g}"
    if math.isnan(scores[0]) or math.isnan(highest):
        return f"{text}."
    if highest < scores[0] + ROSE:
        return ""
    return f"{text}, and the accuracy rose from {scores[0]:.1%} to {highest:.1%}."


def _step_axis(program: Program) -> str:
    return "step" if len(program.rates) == program.steps else "step, condensed"
