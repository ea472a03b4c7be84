"""Rules about optimisation: learning rate, gradients and activations.

A step's reduction ratio is its actual over its predicted loss reduction, see train/loop/signals.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    accuracy,
    at_full_rate,
    chance_loss,
    decay_dominates,
    initial_loss,
    learned_well,
    loss_curve,
    loss_spike,
    majority_accuracy,
    may_rise,
    median_known,
    median_updates,
    min_first_half,
    relative_gradients,
    start_signals,
    weight_growth,
)
from mien.doctor.finding import Finding, Plot
from mien.doctor.plots import gradient_plot, loss_plot, rate_plot, statistics_plot
from mien.doctor.requirements import (
    ACTIVATIONS,
    EPOCHS,
    GRADIENT_NORMS,
    LAYERS,
    LOSSES,
    MEASURED_STEPS,
    TRAIN_PREDICTIONS,
)
from mien.doctor.rule import UNSOUND_LOOP, Abstention, rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds
    from mien.train.loop.signals import EpochSignals


@rule(
    "diverged",
    needs=(LOSSES,),
    severities=("serious",),
    explained_by=UNSOUND_LOOP,
)
def diverged(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loss became NaN or infinite, or ended above the chance-level loss."""
    curve = loss_curve(evidence)
    chance = chance_loss(evidence)
    broke = evidence.status == "failed" and ("nan" in evidence.reason or "inf" in evidence.reason)
    # A median, so that one bad batch at the end is no divergence.
    end = float(np.median(curve[-8:])) if curve else math.nan
    if not broke and (not end > 1.5 * chance or may_rise(evidence)):
        return None
    if not broke and end < initial_loss(evidence):
        return None  # it fell all the time, from a start far above the chance level
    rate = max((e.lr for e in evidence.signals), default=0.0)
    how = evidence.reason if broke else f"the training loss ended at {end:.2f}"
    return Finding(
        "diverged",
        "serious",
        "the training diverged",
        f"{how}; the chance-level loss is {chance:.2f}.{_beside_range_test(evidence, rate)}",
        "Lower the learning rate by far, and clip the gradient's norm.",
        (
            f"optimizer.lr={_found_rate(evidence, below=rate) or rate / 30:.2g}",
            "optimizer.clip_norm=1.0",
        ),
        {"loss_at_end": end if math.isfinite(end) else None, "lr": rate},
        loss_plot(evidence),
    )


@rule(
    "learning-rate-too-high",
    needs=(MEASURED_STEPS,),
    severities=("serious",),
    explained_by={"diverged", "learning-rate-too-low", "vanishing-gradients"} | UNSOUND_LOOP,
)
def learning_rate_too_high(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Steps reduce the loss by far less than predicted, or increase it."""
    epochs = at_full_rate(evidence)
    if learned_well(evidence):
        return None
    if decay_dominates(evidence, limits.decay_per_step):
        return None  # weight decay, not the gradient, moves the weights
    ratio = median_known([e.gain for e in epochs])
    # Batches that got worse count even where the mean reduction looks fine.
    worse = float(np.mean([e.worse for e in epochs]))
    grown = weight_growth(evidence)
    overshoots = ratio is not None and ratio < limits.min_reduction_ratio
    worsens = worse > limits.worse_fraction and (
        ratio is None or ratio < limits.linear_reduction_ratio - 0.1
    )
    if not (overshoots or worsens or _blew_up(evidence, limits)):
        return None
    rate = max(e.lr for e in epochs)
    smaller = smaller_rate(rate, ratio, grown)
    update = median_known(list(median_updates(epochs).values())) or 0.0
    return Finding(
        "learning-rate-too-high",
        "serious",
        "the learning rate is too high: steps overshoot",
        f"At lr {rate:g} the actual / predicted loss reduction was {_ratio_text(ratio)} (1/2 is "
        f"the longest useful step), {worse:.0%} of the steps increased the loss of their own "
        f"batch, and the median update-to-weight ratio was {update:.1e} (1e-3 is usual). In the "
        f"first epoch the median norm of the weights grew to {grown:.1f} times its initial value, "
        f"and the loss rose to {loss_spike(evidence):.1f} times its initial value."
        f"{_beside_range_test(evidence, rate)}",
        "Lower the learning rate.",
        (f"optimizer.lr={_found_rate(evidence, below=rate) or smaller:.2g}",),
        {
            "lr": rate,
            "reduction_ratio": ratio,
            "worse_fraction": worse,
            "weight_growth": grown,
            "loss_spike": loss_spike(evidence),
            "update_ratio": update,
        },
        rate_plot(evidence, limits.min_reduction_ratio),
    )


def _blew_up(evidence: Evidence, limits: Thresholds) -> bool:
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
    return blown and initial_loss(evidence) < 2 * chance_loss(evidence)


def _steps_as_predicted(epochs: Sequence[EpochSignals], limits: Thresholds) -> bool:
    ratio = median_known([e.gain for e in epochs])
    worse = float(np.mean([e.worse for e in epochs])) if epochs else 1.0
    return (
        ratio is not None
        and ratio > limits.min_reduction_ratio
        and worse < limits.worse_fraction / 2
    )


def _beside_range_test(evidence: Evidence, rate: float) -> str:
    """Return how the rate compares with a range test's, a sentence; empty where none was made."""
    if evidence.range_test is None:
        return ""
    found = evidence.range_test.suggestion
    times = (
        f"this rate is {rate / found:.3g} times that"
        if rate >= found
        else f"that is {found / max(rate, 1e-12):.3g} times this rate"
    )
    return f" A range test suggests {found:g}: {times}."


def _found_rate(evidence: Evidence, *, below: float = math.inf, above: float = 0.0) -> float | None:
    """Return the rate that a range test suggests, if it lies between `above` and `below`."""
    test = evidence.range_test
    return test.suggestion if test is not None and above < test.suggestion < below else None


def smaller_rate(rate: float, ratio: float | None, grown: float) -> float:
    """Return the rate at which the reduction ratio would be 0.8, at most a third of `rate`.

    On a quadratic, one minus the reduction ratio is proportional to the rate.

    Args:
        rate: the learning rate that is too high.
        ratio: the reduction ratio at that rate; None where unknown.
        grown: norm of the weights after the first epoch over the initial one.
    """
    fraction = 1 / 3
    if ratio is not None and ratio < 1:
        # A ratio of 0.8 leaves 0.2, which is proportional to the rate.
        fraction = min(fraction, 0.2 / (1 - ratio))
    if grown > 2:
        fraction = min(fraction, 0.1 / grown)
    return rate * max(fraction, 1e-3)


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
    if (
        learned_well(evidence)
        or ratio < limits.linear_reduction_ratio
        or update > limits.min_update
    ):
        return None
    rate = max(e.lr for e in epochs)
    # Towards an update-to-weight ratio of 1e-3, but not by more than two orders.
    larger = rate * min(100.0, 1e-3 / max(update, 1e-9))
    return Finding(
        "learning-rate-too-low",
        "serious",
        "the learning rate is too low: steps are tiny",
        f"At lr {rate:g} the median update-to-weight ratio was {update:.1e} (1e-3 is usual), and "
        f"the actual / predicted loss reduction was {_ratio_text(ratio)}: the loss is still linear "
        f"over such a step. It ended at {loss_curve(evidence)[-1]:.3f}."
        f"{_beside_range_test(evidence, rate)}",
        "Raise the learning rate.",
        (f"optimizer.lr={_found_rate(evidence, above=rate) or larger:.2g}",),
        {"lr": rate, "reduction_ratio": ratio, "update_ratio": update},
        rate_plot(evidence, limits.linear_reduction_ratio)
        if evidence.range_test
        else loss_plot(evidence),
    )


@rule(
    "exploding-gradients",
    needs=(GRADIENT_NORMS,),
    severities=("serious",),
    explained_by=UNSOUND_LOOP | {"invalid-inputs"},
)
def exploding_gradients(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The gradient is far longer than any step could use."""
    norms = [e.gradient_norm for e in evidence.signals if e.gradient_norm is not None]
    if learned_well(evidence):
        return None
    if decay_dominates(evidence, limits.decay_per_step):
        return None  # decay shrinks the weights, and gradients grow as they do
    largest, first, before = max(norms), initial_loss(evidence), start_signals(evidence)
    chance = chance_loss(evidence)
    if evidence.program is not None and (
        evidence.program.kind == "regression" or not loss_curve(evidence)
    ):
        # A first prediction of 0 is far off where the targets' mean is large, and that is all.
        first = 0.0
    norm = None if before is None else before.gradient_norm
    if norm is not None and norm < limits.exploding_norm / 4 and _blew_up(evidence, limits):
        return None  # sound before the first step: a learning rate too high made them explode
    if largest < limits.exploding_norm and first < limits.initial_loss * chance:
        return None
    return Finding(
        "exploding-gradients",
        "serious",
        "gradients explode",
        f"The gradient norm was {largest:.3g} in its worst epoch (median over that epoch's "
        f"measured steps; 0.1 to 10 is usual), and the first batches had a loss of {first:.3g}; "
        f"the chance-level loss is {chance:.2f}.",
        "Clip the gradient's norm, add batch normalisation, or lower the learning rate.",
        ("optimizer.clip_norm=1.0", "network.batch_norm=true"),
        {"gradient_norm": largest, "initial_loss": first},
        Plot("lines", "gradient norm", [e.epoch for e in evidence.signals],
             {"gradient": [e.gradient_norm for e in evidence.signals]}, log=True,
             limit=limits.exploding_norm),
    )  # fmt: skip


@rule(
    "vanishing-gradients",
    needs=(LAYERS,),
    severities=("serious",),
    explained_by={"diverged", "invalid-inputs"} | UNSOUND_LOOP,
)
def vanishing_gradients(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A layer near the input gets next to no gradient, and did so before any step was taken.

    A learning rate too high can drive a network to where gradients vanish; that is its own fault.
    """

    def smallest(layers: Mapping[str, float]) -> float:
        # Normalised layers' weights have grown in an earlier training, and their gradients have
        # shrunk as much, unlike those of the last layer, which is not normalised.
        pretrained = evidence.recipe.fit.warm_start and len(layers) > 2
        return min_first_half(dict(list(layers.items())[:-1]) if pretrained else layers)

    ratios = [smallest(relative_gradients(e)) for e in evidence.signals if len(e.layers) > 1]
    ratio = float(np.median(ratios))
    before = start_signals(evidence)
    if ratio > limits.vanishing_ratio or learned_well(evidence):
        return None
    if before and smallest(before.gradients) > limits.vanishing_ratio:
        return None
    return Finding(
        "vanishing-gradients",
        "serious",
        "gradients vanish on their way to the first layers",
        f"A layer of the network's first half gets {ratio:.1e} of the largest gradient of any "
        "layer, each over its weights (median over the epochs).",
        "Use an activation that does not saturate, batch normalisation, or fewer layers.",
        ("network.activation=leaky_relu", "network.batch_norm=true"),
        {"ratio": ratio},
        gradient_plot(evidence),
    )


@rule(
    "dead-units",
    needs=(ACTIVATIONS,),
    explained_by={"diverged", "vanishing-gradients", "exploding-gradients", "saturated-activations"}
    | UNSOUND_LOOP,
)
def dead_units(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Units have the same output for every image, or are saturated."""
    epochs = [e for e in evidence.signals if e.stuck]
    # The last epoch: units that recover during training are not dead.
    stuck = epochs[-1].stuck
    name = max(stuck, key=lambda n: stuck[n])
    if stuck[name] < limits.dead_fraction or learned_well(evidence):
        return None
    return Finding(
        "dead-units",
        "warning",
        "units are dead: their output is the same for every image",
        f"In {name}, {stuck[name]:.0%} of the units had the same output for all images of a "
        "batch, or were saturated, at the end of the training.",
        "Use leaky_relu, a lower learning rate, or batch normalisation before the activation.",
        ("network.activation=leaky_relu",),
        {"layer": name, "fraction": stuck[name]},
        Plot("lines", "fraction of dead units", [e.epoch for e in epochs],
             {n: [e.stuck.get(n) for e in epochs] for n in stuck}, limit=limits.dead_fraction),
    )  # fmt: skip


@rule(
    "batch-norm-statistics",
    needs=(EPOCHS, TRAIN_PREDICTIONS),
    severities=("serious",),
    explained_by={"diverged", "learning-rate-too-high", "learning-rate-too-low"},
)
def batch_norm_statistics(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network is good in training mode and bad in evaluation mode: its running statistics."""
    last = evidence.history[-1]
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    if last.loss > 0.6 * chance_loss(evidence) or train is None:
        return None
    if evidence.program is not None and not evidence.program.batch_norms:
        return None
    # A watched loop's loss may be no log loss; it then has no counterpart in evaluation mode.
    if not last.train_loss >= 2 * last.loss + 0.2:
        return None
    return Finding(
        "batch-norm-statistics",
        "serious",
        "batch normalisation's running statistics do not fit",
        f"In training mode the loss was {last.loss:.3f}; in evaluation mode, on the same training "
        f"images, it is {last.train_loss:.3f} and the accuracy {train.value:.1%} (predicting the "
        f"most common class reaches {majority_accuracy(evidence.train):.1%}).",
        "Use larger batches, or train longer so that the statistics settle.",
        (f"fit.batch_size={max(32, evidence.recipe.fit.batch_size * 4)}",),
        {"loss_training_mode": last.loss, "loss_evaluation_mode": last.train_loss},
        statistics_plot(evidence),
    )


def _ratio_text(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.2f}"
