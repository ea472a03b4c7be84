"""Rules about a learning rate that is too high: steps that overshoot, a loss that diverges.

A step's reduction ratio is its actual over its predicted loss reduction, see train/loop/signals.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    at_full_rate,
    beside_chance,
    chance_loss,
    decay_dominates,
    initial_loss,
    learned_well,
    loss_curve,
    loss_spike,
    may_rise,
    median_known,
    median_updates,
    min_first_half,
    start_loss,
    start_signals,
    weight_growth,
)
from mien.doctor.finding import Finding
from mien.doctor.plots import loss_plot, rate_plot
from mien.doctor.requirements import LOSSES, MEASURED_STEPS, STEPS_OR_LOSSES
from mien.doctor.rule import NO_CHANCE, UNSOUND_LOOP, Abstention, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds
    from mien.train.loop.signals import EpochSignals

MIN_WORSE = 3
"""Steps that must have increased the loss of their own batch for their fraction to count."""
NOT_LEARNT = 0.75
"""Loss at the end over that of a constant prediction above which next to nothing was learnt; in the
regressions and classes tried here a network with living units ends below 0.5."""
SOUND_UPDATE = 0.01
"""Update-to-weight ratio of a first step that leaves ReLU units alive."""
HARMLESS = 0.05
"""Number of steps times the largest relative change of the loss by one, up to which no step is too
long: all of them together change next to nothing."""
RISEN = 1.2
"""Loss at the end over the first one from which a watched loop's loss has risen."""
LOGITS = (
    "Return logits, without the last activation, and use BCEWithLogitsLoss (CrossEntropyLoss for "
    "several classes), which computes the same without a logarithm of 0. If the loss diverges all "
    "the same, lower the learning rate"
)


@rule(
    "diverged",
    needs=(LOSSES,),
    severities=("serious",),
    explained_by=UNSOUND_LOOP,
    follows={"invalid-inputs"},
)
def diverged(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The loss became NaN or infinite, or ended above the chance-level loss."""
    curve = loss_curve(evidence)
    chance = chance_loss(evidence)
    broke = evidence.status == "failed" and ("nan" in evidence.reason or "inf" in evidence.reason)
    # A median, so that one bad batch at the end is no divergence.
    end = float(np.median(curve[-8:])) if curve else math.nan
    if not broke and math.isnan(chance):
        return Abstention(NO_CHANCE)
    if not broke and (not end > 1.5 * chance or may_rise(evidence)):
        return None
    if not broke and (_never_rose(evidence, end) or _in_order_of_classes(evidence, limits)):
        return None
    rate = max((e.lr for e in evidence.signals), default=0.0)
    log_of_zero = _log_of_zero(evidence, broke=broke)
    how = evidence.reason if broke else f"the training loss ended at {end:.2f}"
    return Finding(
        "diverged",
        "serious",
        "the training diverged",
        f"{how[:1].upper()}{how[1:]}{beside_chance(evidence)}.{log_of_zero}"
        f"{beside_range_test(evidence, rate)}",
        f"{LOGITS}, to about {rate / 30:.2g}."
        if log_of_zero
        else "Lower the learning rate by far, and clip the gradient's norm.",
        (
            f"optimizer.lr={found_rate(evidence, below=rate) or rate / 30:.2g}",
            "optimizer.clip_norm=1.0",
        ),
        {"loss_at_end": end if math.isfinite(end) else None, "lr": rate,
         "cause": "log of 0" if log_of_zero else None},
        loss_plot(evidence),
    )  # fmt: skip


def _log_of_zero(evidence: Evidence, *, broke: bool) -> str:
    """Return that the loss takes the logarithm of rounded probabilities, a sentence; or ''."""
    outputs = None if evidence.program is None else evidence.program.outputs
    if outputs is None or outputs.last_activation not in ("Sigmoid", "Softmax"):
        return ""
    if not (broke or outputs.low == 0 or outputs.high == 1):
        return ""
    return (
        f" The loss received a {outputs.last_activation.lower()}'s outputs, from {outputs.low:.3g} "
        f"to {outputs.high:.7g} in the measured steps: where one is rounded to 0 or 1, its "
        "logarithm is infinite, or its gradient 0."
    )


def _never_rose(evidence: Evidence, end: float) -> bool:
    """Return whether the loss was as high at the start: far above the chance level, and stuck."""
    first = initial_loss(evidence)
    program = evidence.program
    # A watched loop's single batches vary by a tenth or so: that is no rise. A sum begins far above
    # the chance level of one example, and stays there where its steps overshoot.
    varies = program is not None and program.settings.reduction != "sum"
    return end < first * (RISEN if varies else 1)


def _in_order_of_classes(evidence: Evidence, limits: Thresholds) -> bool:
    """Return whether the examples come class by class, which raises the loss at each change."""
    runs = None if evidence.program is None else evidence.program.class_runs
    return runs is not None and runs > limits.class_runs


@rule(
    "learning-rate-too-high",
    needs=(STEPS_OR_LOSSES,),
    severities=("serious",),
    explained_by={"diverged", "learning-rate-too-low", "vanishing-gradients"} | UNSOUND_LOOP,
    # A rate that suits scaled inputs is too high for large ones.
    follows={"invalid-inputs"},
)
def learning_rate_too_high(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Steps reduce the loss by far less than predicted, or increase it."""
    if learned_well(evidence) or _dead_before(evidence, limits):
        return None
    if not at_full_rate(evidence) and not blew_up(evidence, limits):
        return Abstention(MEASURED_STEPS.otherwise)
    steps = _steps_at_full_rate(evidence)
    grew = steps.grown > limits.weight_growth or steps.spike > limits.loss_spike
    if decay_dominates(evidence, limits.decay_per_step) and not grew:
        return None  # weight decay, not the gradient, moves the weights: it makes them smaller
    overshoots = steps.ratio is not None and steps.ratio < limits.min_reduction_ratio
    # Batches that got worse count even where the mean reduction looks fine.
    worsens = steps.worse > limits.worse_fraction and (
        steps.ratio is None or steps.ratio < limits.linear_reduction_ratio - 0.1
    )
    if not (overshoots or worsens or blew_up(evidence, limits)):
        return _killed_units(evidence, steps.rate, limits)
    if evidence.program is not None and not _signs_agree(evidence, steps, limits):
        return _killed_units(evidence, steps.rate, limits)
    rate = steps.rate
    smaller = smaller_rate(rate, steps.ratio, steps.grown, spiked=steps.spike > limits.loss_spike)
    return Finding(
        "learning-rate-too-high",
        "serious",
        "the learning rate is too high: steps overshoot",
        f"At lr {rate:g} {_signs(steps, limits)}.{beside_range_test(evidence, rate)}",
        "Lower the learning rate.",
        (f"optimizer.lr={found_rate(evidence, below=rate) or smaller:.2g}",),
        {
            "lr": rate,
            "reduction_ratio": steps.ratio,
            "worse_fraction": steps.worse,
            "weight_growth": steps.grown,
            "loss_spike": steps.spike,
            "update_ratio": steps.update,
        },
        rate_plot(evidence, limits.min_reduction_ratio),
    )


def _dead_before(evidence: Evidence, limits: Thresholds) -> bool:
    """Return whether a layer's units are dead and cut the first layers off before any step."""
    before = start_signals(evidence)
    if evidence.program is None or before is None or not before.gradients:
        return False
    dead = max(evidence.signals[-1].stuck.values(), default=0.0) >= limits.dead_layer
    return dead and min_first_half(before.gradients) == 0


def _killed_units(evidence: Evidence, rate: float, limits: Thresholds) -> Finding | None:
    """Return the finding where the first step was long, a layer's units died and nothing is learnt.

    Dead units get no gradient: the later steps are short, and do what is predicted.
    """
    update = None if evidence.program is None else evidence.program.first_update
    if update is None or update < limits.killing_update:
        return None
    stuck = evidence.signals[-1].stuck
    name = max(stuck, key=lambda n: stuck[n], default="")
    curve = loss_curve(evidence)
    if not name or stuck[name] < limits.dead_layer or not curve:
        return None
    end, chance = float(np.median(curve[-6:])), chance_loss(evidence)
    # Also where there is no chance level.
    if not end >= NOT_LEARNT * chance:
        return None
    return Finding(
        "learning-rate-too-high",
        "serious",
        "the learning rate is too high: the first steps killed the units",
        f"At lr {rate:g} the first step changed the weights by {update:.0%} of their norm (0.1% is "
        f"usual), at the end {stuck[name]:.0%} of the units of layer {name} are dead, and the loss "
        f"is {end:.3g}, {chance:.3g} for a constant prediction.",
        "Lower the learning rate.",
        (f"optimizer.lr={rate * min(0.1, SOUND_UPDATE / update):.2g}",),
        {"lr": rate, "update_ratio": update, "dead": stuck[name]},
        loss_plot(evidence),
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps at the full rate: see `Thresholds` for the figures; None where not measurable."""

    rate: float
    ratio: float | None
    worse: float
    update: float | None
    grown: float
    spike: float
    level: str  # what `spike` is a multiple of


def _steps_at_full_rate(evidence: Evidence) -> _Steps:
    epochs = at_full_rate(evidence)
    return _Steps(
        max(e.lr for e in epochs or evidence.signals),
        median_known([e.gain for e in epochs]),
        float(np.mean([e.worse for e in epochs])) if epochs else 0.0,
        median_known(list(median_updates(epochs).values())),
        weight_growth(evidence),
        loss_spike(evidence),
        "its initial value"
        if initial_loss(evidence) >= chance_loss(evidence)
        else "the chance-level loss",
    )


def _signs_agree(evidence: Evidence, steps: _Steps, limits: Thresholds) -> bool:
    """Return whether a watched loop's measurements agree that its steps are too long.

    On a quadratic a step converges as long as its reduction ratio is positive: a low ratio alone
    shows a long step, not a harmful one. A long update alone shows a small network.
    """
    blown = steps.grown > limits.weight_growth or steps.spike > limits.loss_spike
    course = None if evidence.program is None else evidence.program.progress.course
    # Steps that change next to nothing may be uphill for a batch by chance, as momentum's are.
    if course is not None and course.moved < HARMLESS and not blown:
        return False
    if steps.ratio is None:
        # No step could be measured: only a loss that rose and stayed there is left.
        curve = loss_curve(evidence)
        return blown and bool(curve) and float(np.median(curve[-8:])) > initial_loss(evidence)
    counted = round(sum(e.measured * (e.worse or 0.0) for e in at_full_rate(evidence)))
    # Of few measured steps one or two may have increased the loss by chance.
    hurts = steps.worse >= limits.worse_fraction / 2 and counted >= MIN_WORSE
    hurts = hurts or steps.ratio < 0
    shortened = steps.ratio < limits.linear_reduction_ratio - 0.1
    return hurts and (shortened or blown)


def _signs(steps: _Steps, limits: Thresholds) -> str:
    """Return the measurements that show too long a step, in words; no others."""
    found = []
    if steps.ratio is not None and steps.ratio < limits.min_reduction_ratio:
        found.append(
            f"the actual / predicted loss reduction was {steps.ratio:.3g} (1/2 is the longest "
            "useful step)"
        )
    if steps.worse >= limits.worse_fraction / 2:
        found.append(f"{steps.worse:.0%} of the steps increased the loss of their own batch")
    if steps.update is not None and steps.update > limits.first_update:
        found.append(f"the median update-to-weight ratio was {steps.update:.1e} (1e-3 is usual)")
    if steps.grown > limits.weight_growth:
        found.append(
            f"the median norm of the weights grew to {_times(steps.grown)} times its initial value "
            "in the first epoch"
        )
    if steps.spike > limits.loss_spike:
        found.append(f"the loss rose to {_times(steps.spike)} times {steps.level}")
    if not found:  # the first epoch's updates alone: later ones are shorter
        found.append("the first epoch's median update-to-weight ratio was above "
                     f"{limits.first_update:g} (1e-3 is usual)")  # fmt: skip
    return f"{', '.join(found[:-1])}, and {found[-1]}" if len(found) > 1 else found[0]


def _times(factor: float) -> str:
    return f"{factor:.1f}" if factor < 1000 else f"{factor:.1e}"


def blew_up(evidence: Evidence, limits: Thresholds) -> bool:
    """Return whether the first steps blew weights or loss up; not where they were large before."""
    measured = [e for e in evidence.signals if e.measured][:1]
    update = median_known(list(median_updates(measured).values())) or 0.0
    if evidence.recipe.optimizer.name == "muon":
        update = 0.0  # the length of its steps is the learning rate: the threshold is for others
    spike = loss_spike(evidence)
    if evidence.program is not None:
        # Tiny networks take long steps, and the loss of small batches varies.
        if _steps_as_predicted(measured, limits):
            update = spike = 0.0
        elif all(e.gain is None for e in measured):
            update = 0.0  # nothing shows that the long steps were too long
    blown = (
        weight_growth(evidence) > limits.weight_growth
        or spike > limits.loss_spike
        or update > limits.first_update
    )
    return blown and initial_loss(evidence) < 2 * start_loss(evidence)


def _steps_as_predicted(epochs: Sequence[EpochSignals], limits: Thresholds) -> bool:
    ratio = median_known([e.gain for e in epochs])
    worse = float(np.mean([e.worse for e in epochs])) if epochs else 1.0
    return (
        ratio is not None
        and ratio > limits.min_reduction_ratio
        and worse < limits.worse_fraction / 2
    )


def beside_range_test(evidence: Evidence, rate: float) -> str:
    """Return how the rate compares with a range test's, a sentence; empty where none was made."""
    if evidence.range_test is None:
        return ""
    found = evidence.range_test.suggestion
    times = (
        f"this rate is {_multiple(rate / found)} times that"
        if rate >= found
        else f"that is {_multiple(found / max(rate, 1e-12))} times this rate"
    )
    return f" A range test suggests {found:g}: {times}."


def _multiple(factor: float) -> str:
    return f"{factor:,.0f}" if 1000 <= factor < 1e6 else f"{factor:.3g}"


def found_rate(evidence: Evidence, *, below: float = math.inf, above: float = 0.0) -> float | None:
    """Return the rate that a range test suggests, if it lies between `above` and `below`."""
    test = evidence.range_test
    return test.suggestion if test is not None and above < test.suggestion < below else None


def smaller_rate(rate: float, ratio: float | None, grown: float, *, spiked: bool) -> float:
    """Return the rate at which the reduction ratio would be 0.8, at most a third of `rate`.

    A tenth where the loss spiked: the ratio is a median, and misses the few steps that blew it up.

    On a quadratic, one minus the reduction ratio is proportional to the rate.

    Args:
        rate: the learning rate that is too high.
        ratio: the reduction ratio at that rate; None where unknown.
        grown: norm of the weights after the first epoch over the initial one.
        spiked: whether the loss rose to many times its initial value.
    """
    fraction = 0.1 if spiked else 1 / 3
    if ratio is not None and ratio < 1:
        # A ratio of 0.8 leaves 0.2, which is proportional to the rate.
        fraction = min(fraction, 0.2 / (1 - ratio))
    if grown > 2:
        fraction = min(fraction, 0.1 / grown)
    return rate * max(fraction, 1e-3)
