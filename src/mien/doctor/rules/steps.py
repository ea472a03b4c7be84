"""Rules about gradients, activations and running statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    accuracy,
    beside_chance,
    chance_loss,
    decay_dominates,
    initial_loss,
    learned_well,
    loss_curve,
    majority_accuracy,
    min_first_half,
    relative_gradients,
    start_loss,
    start_signals,
)
from mien.doctor.finding import Finding, Plot
from mien.doctor.plots import gradient_plot, statistics_plot
from mien.doctor.programs.bars import listed
from mien.doctor.requirements import (
    ACTIVATIONS,
    EPOCHS,
    GRADIENT_NORMS,
    LAYERS,
    TRAIN_PREDICTIONS,
)
from mien.doctor.rule import NO_CHANCE, UNSOUND_LOOP, Abstention, rule
from mien.doctor.rules.rates import blew_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

MAX_NAMES = 4
"""Batch norms that a sentence names."""


@rule(
    "exploding-gradients",
    needs=(GRADIENT_NORMS,),
    severities=("serious",),
    explained_by=UNSOUND_LOOP | {"invalid-inputs"},
)
def exploding_gradients(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The gradient is far longer than any step could use."""
    norms = [e.gradient_norm for e in evidence.signals if e.gradient_norm is not None]
    if learned_well(evidence):
        return None
    if decay_dominates(evidence, limits.decay_per_step):
        return None  # decay shrinks the weights, and gradients grow as they do
    largest, first, before = max(norms), initial_loss(evidence), start_signals(evidence)
    if math.isnan(chance_loss(evidence)) and bool(loss_curve(evidence)):
        return Abstention(NO_CHANCE)  # gradients have the scale of their loss
    # A first prediction of 0 is far off where the targets' mean is large, and that is all.
    counts = evidence.program is None or (
        evidence.program.kind != "regression" and bool(loss_curve(evidence))
    )
    high = counts and first >= limits.initial_loss * start_loss(evidence)
    norm = None if before is None else before.gradient_norm
    if norm is not None and norm < limits.exploding_norm / 4 and blew_up(evidence, limits):
        return None  # sound before the first step: a learning rate too high made them explode
    if largest < limits.exploding_norm and not high:
        return None
    return Finding(
        "exploding-gradients",
        "serious",
        "gradients explode",
        f"The gradient norm was {largest:.3g} in its worst epoch (median over that epoch's "
        f"measured steps; 0.1 to 10 is usual), and the first batches had a loss of {first:.3g}"
        f"{beside_chance(evidence)}.",
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
    if ratio == 0 and evidence.program is not None:
        return _cut_off(evidence, limits)
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


def _cut_off(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Return the finding on gradients of exactly 0, which no saturated activation gives.

    None where the dead units are seen: 'dead-units' names them.
    """
    if max(evidence.signals[-1].stuck.values(), default=0.0) >= limits.dead_layer:
        return None
    return Finding(
        "vanishing-gradients",
        "serious",
        "no gradient reaches the first layers",
        "The gradient of a layer of the network's first half is exactly 0 in most epochs: between "
        "it and the loss all units have a slope of 0 for all examples.",
        "Look for a torch.relu or clamp whose inputs are all below its limit, such as a ReLU on "
        "the outputs, or biases far below 0: leave it out, use LeakyReLU, or start at biases of 0.",
        (),
        {"ratio": 0.0, "cause": "zero-slope"},
        gradient_plot(evidence),
    )


@rule(
    "dead-units",
    needs=(ACTIVATIONS,),
    explained_by={"diverged", "vanishing-gradients", "exploding-gradients", "saturated-activations",
                  "learning-rate-too-high", "data-not-shuffled", "dropout-too-strong",
                  "tokens-unknown", "penalty-too-strong"}
    | UNSOUND_LOOP,
    follows={"invalid-inputs"},
)  # fmt: skip
def dead_units(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Units have the same output for every image, or are saturated."""
    epochs = [e for e in evidence.signals if e.stuck]
    # The last epoch: units that recover during training are not dead.
    stuck = epochs[-1].stuck
    name = max(stuck, key=lambda n: stuck[n])
    if stuck[name] < limits.dead_fraction or learned_well(evidence):
        return None
    curve = loss_curve(evidence)
    learns = bool(curve) and float(np.median(curve[-6:])) < 0.5 * chance_loss(evidence)
    if evidence.program is not None and learns and stuck[name] < limits.dead_layer:
        return None
    return Finding(
        "dead-units",
        "warning",
        "units are dead: their output is the same for every image",
        f"In layer {name}, {stuck[name]:.0%} of the units had the same output for all images of a "
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
    still = None if evidence.program is None else evidence.program.still_norms
    why = f" {_without_momentum(still)}" if still else ""
    return Finding(
        "batch-norm-statistics",
        "serious",
        "batch normalisation's running statistics do not fit",
        f"In training mode the loss was {last.loss:.3f}; in evaluation mode, on the same training "
        f"images, it is {last.train_loss:.3f} and the accuracy {train.value:.1%} (predicting the "
        f"most common class reaches {majority_accuracy(evidence.train):.1%}).{why}",
        "Use larger batches, or train longer so that the statistics settle.",
        (f"fit.batch_size={max(32, evidence.recipe.fit.batch_size * 4)}",),
        {
            "loss_training_mode": last.loss,
            "loss_evaluation_mode": last.train_loss,
            "still": len(still or ()),
        },
        statistics_plot(evidence),
    )


def _without_momentum(still: Mapping[str, float]) -> str:
    """Return which batch norms keep their statistics, a sentence."""
    names, momentum = list(still), max(still.values())
    if len(names) == 1:
        which, whose = f"norm {names[0]} has", "its"
    elif len(names) > MAX_NAMES:
        which, whose = f"norms {listed(names, MAX_NAMES)} have", "their"
    else:
        which, whose = f"norms {', '.join(names[:-1])} and {names[-1]} have", "their"
    most = f"{momentum:g}" if len(set(still.values())) == 1 else f"{momentum:g} or less"
    return (
        f"The batch {which} a momentum of {most}: {whose} running statistics stay as they were at "
        "the start."
    )
