"""Rules about a watched loop's learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import curve
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds

MIN_STEPS = 20
"""Steps below which nothing can be said about a schedule."""


@rule(
    "learning-rate-vanishes",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    explained_by={"optimizer-not-stepped"},
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
    text = (
        f"In {gone:.0%} of the {program.steps:,} steps the learning rate was below "
        f"{limits.vanished_rate:g} of its maximum {peak:g}; it ended at {rates[-1]:.2g}."
    )
    remedy = (
        "Step the scheduler once an epoch if its settings count epochs, or count its decay in "
        "steps; a decay of 0.1 to 0.5 every third of the training is usual."
    )
    if peak == 0:
        text = f"In all {program.steps:,} steps the learning rate was 0."
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


def _step_axis(program: Program) -> str:
    return "step" if len(program.rates) == program.steps else "step, condensed"
