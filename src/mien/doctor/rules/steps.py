"""Rules about steps, gradients and activations: does the optimiser get anywhere?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    accuracy,
    at_full_rate,
    chance,
    decay,
    first_half,
    first_loss,
    gradients,
    growth,
    loss_curve,
    middle,
    spike,
    start,
    updates,
)
from mien.doctor.finding import Finding, Plot
from mien.doctor.plots import gradient_plot, loss_plot, rate_plot, statistics_plot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


def diverged(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loss became NaN or infinite, or ended above that of an untrained network."""
    curve = loss_curve(evidence)
    learnt = math.log(len(evidence.recipe.learnt_labels))
    broke = evidence.status == "failed" and ("nan" in evidence.reason or "inf" in evidence.reason)
    end = float(np.median(curve[-8:])) if curve else math.nan
    if not broke and not end > 1.5 * learnt:
        return None
    rate = max((e.lr for e in evidence.signals), default=0.0)
    how = evidence.reason if broke else f"the training loss ended at {end:.2f}"
    return Finding(
        "diverged",
        "serious",
        "the training diverged",
        f"{how}; a network that knows nothing has {learnt:.2f}.{_place(evidence, rate)}",
        "Take much smaller steps, and limit the gradient's length.",
        (
            f"optimizer.lr={_found_rate(evidence, below=rate) or rate / 30:.2g}",
            "optimizer.clip_norm=1.0",
        ),
        {"loss_at_end": end if math.isfinite(end) else None, "lr": rate},
        loss_plot(evidence),
    )


def step_too_large(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Steps gain little of what the gradient promises, or make their own batch worse."""
    epochs = at_full_rate(evidence)
    if not epochs or decay(evidence) > limits.decay:
        return None
    gain = middle([e.gain for e in epochs])
    worse = float(np.mean([e.worse for e in epochs]))
    grown = growth(evidence)
    overshoots = gain is not None and gain < limits.gain_low
    worsens = worse > limits.worse_share and (gain is None or gain < limits.gain_high - 0.1)
    if not (overshoots or worsens or _blew_up(evidence, limits)):
        return None
    rate = max(e.lr for e in epochs)
    smaller = smaller_rate(rate, gain, grown)
    moved = middle(list(updates(epochs).values())) or 0.0
    return Finding(
        "step-too-large",
        "serious",
        "the learning rate is too large: steps overshoot",
        f"At lr {rate:g} the steps gained {_share(gain)} of what the gradient promised (half is "
        f"the longest useful step), {worse:.0%} of them made their own batch worse, and a typical "
        f"layer moved by {moved:.1e} of its length in each (1e-3 is usual). The "
        f"weights of a typical layer were {grown:.1f} times their first length in the first epoch; "
        f"the loss rose to {spike(evidence):.1f} times what it began with."
        f"{_place(evidence, rate)}",
        "Lower the learning rate.",
        (f"optimizer.lr={_found_rate(evidence, below=rate) or smaller:.2g}",),
        {
            "lr": rate,
            "gain": gain,
            "worse": worse,
            "growth": grown,
            "spike": spike(evidence),
            "update": moved,
        },
        rate_plot(evidence, limits.gain_low),
    )


def _blew_up(evidence: Evidence, limits: Thresholds) -> bool:
    """Whether the first steps blew weights or loss up; not where they were large before."""
    measured = [e for e in evidence.signals if e.measured][:1]
    moved = middle(list(updates(measured).values())) or 0.0
    if evidence.recipe.optimizer.name == "muon":
        moved = 0.0  # its steps have the length that the rate says, and the limit is of the others
    blown = (
        growth(evidence) > limits.growth
        or spike(evidence) > limits.spike
        or moved > limits.first_moves
    )
    return blown and first_loss(evidence) < 2 * math.log(len(evidence.recipe.learnt_labels))


def _place(evidence: Evidence, rate: float) -> str:
    """Return where a range test places the rate, as a sentence; empty where none was made."""
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
    """Return the rate that a range test suggests, if that goes the way that the finding says."""
    test = evidence.range_test
    return test.suggestion if test is not None and above < test.suggestion < below else None


def smaller_rate(rate: float, gain: float | None, grown: float) -> float:
    """Return the rate at which the gain ratio would be 0.8, at most a third of `rate`.

    On a quadratic, one minus the gain ratio grows with the rate.
    """
    share = 1 / 3
    if gain is not None and gain < 1:
        share = min(share, 0.2 / (1 - gain))
    if grown > 2:
        share = min(share, 0.1 / grown)
    return rate * max(share, 1e-3)


def step_too_small(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Steps are so tiny that the loss still falls when the training ends."""
    epochs = at_full_rate(evidence)
    gain = middle([e.gain for e in epochs])
    moved = updates(epochs)
    if gain is None or not moved:
        return None
    most = float(np.median(list(moved.values())))
    if gain < limits.gain_high or most > limits.update_low:
        return None
    rate = max(e.lr for e in epochs)
    larger = rate * min(100.0, 1e-3 / max(most, 1e-9))
    return Finding(
        "step-too-small",
        "serious",
        "the learning rate is too small: steps are tiny",
        f"At lr {rate:g} a typical layer moved by {most:.1e} of its length in a step (1e-3 is "
        f"usual), and the steps gained {_share(gain)} of what the gradient promised: the loss is "
        f"still a straight line at that length. It ended at {loss_curve(evidence)[-1]:.3f}."
        f"{_place(evidence, rate)}",
        "Raise the learning rate.",
        (f"optimizer.lr={_found_rate(evidence, above=rate) or larger:.2g}",),
        {"lr": rate, "gain": gain, "update": most},
        rate_plot(evidence, limits.gain_high) if evidence.range_test else loss_plot(evidence),
    )


def vanishing_gradients(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A layer near the input gets next to no gradient, and did so before any step was taken.

    Steps that are too large can drive a network to where gradients vanish; that is theirs.
    """

    def least(layers: Mapping[str, float]) -> float:
        # Normalised layers' weights have grown in what a training began with, and their gradients
        # have shrunk as much, unlike those of the last layer, which is not normalised.
        learnt = evidence.recipe.fit.warm_start and len(layers) > 2
        return first_half(dict(list(layers.items())[:-1]) if learnt else layers)

    ratios = [least(gradients(e)) for e in evidence.signals if len(e.layers) > 1]
    if not ratios:
        return None
    ratio = float(np.median(ratios))
    before = start(evidence)
    if ratio > limits.vanishing or (before and least(before.gradients) > limits.vanishing):
        return None
    return Finding(
        "vanishing-gradients",
        "serious",
        "gradients vanish on their way to the first layers",
        f"A layer of the network's first half gets {ratio:.1e} of the largest gradient that any "
        "layer gets, each over its weights (median over the epochs).",
        "Use an activation that does not saturate, batch normalisation, or fewer layers.",
        ("network.activation=leaky_relu", "network.batch_norm=true"),
        {"ratio": ratio},
        gradient_plot(evidence),
    )


def exploding_gradients(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The gradient is far longer than any step could use."""
    norms = [e.gradient_norm for e in evidence.signals if e.gradient_norm is not None]
    if not norms or decay(evidence) > limits.decay:
        return None  # decay that rules shrinks the weights, and gradients grow as they do
    largest, first, before = max(norms), first_loss(evidence), start(evidence)
    untrained = math.log(len(evidence.recipe.learnt_labels))
    length = None if before is None else before.gradient_norm
    if length is not None and length < limits.exploding / 4 and _blew_up(evidence, limits):
        return None  # sound before the first step: too large steps made them explode
    if largest < limits.exploding and first < limits.first_loss * untrained:
        return None
    return Finding(
        "exploding-gradients",
        "serious",
        "gradients explode",
        f"The gradient's length was {largest:.3g} in its worst epoch (median over that epoch's "
        f"measured steps; 0.1 to 10 is usual), and the first batches had a loss of {first:.3g}, "
        f"where a network that knows nothing has {untrained:.2f}.",
        "Limit the gradient's length, add batch normalisation, or take smaller steps.",
        ("optimizer.clip_norm=1.0", "network.batch_norm=true"),
        {"gradient_norm": largest, "first_loss": first},
        Plot("lines", "length of the gradient", [e.epoch for e in evidence.signals],
             {"gradient": [e.gradient_norm for e in evidence.signals]}, log=True,
             limit=limits.exploding),
    )  # fmt: skip


def dead_units(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Units give the same answer for every image."""
    epochs = [e for e in evidence.signals if e.stuck]
    if not epochs:
        return None
    stuck = epochs[-1].stuck
    name = max(stuck, key=lambda n: stuck[n])
    if stuck[name] < limits.dead:
        return None
    return Finding(
        "dead-units",
        "warning",
        "units are dead: they answer the same for every image",
        f"In {name}, {stuck[name]:.0%} of the units gave all images of a batch the same answer, "
        "or were saturated, at the end of the training.",
        "Use leaky_relu, a smaller learning rate, or batch normalisation before the activation.",
        ("network.activation=leaky_relu",),
        {"layer": name, "share": stuck[name]},
        Plot("lines", "share of units that are stuck", [e.epoch for e in epochs],
             {n: [e.stuck.get(n) for e in epochs] for n in stuck}, limit=limits.dead),
    )  # fmt: skip


def batch_statistics(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network is good while it trains and bad when it answers: its running statistics."""
    if not evidence.history:
        return None
    last = evidence.history[-1]
    plain = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    learnt = math.log(len(evidence.recipe.learnt_labels))
    if last.loss > 0.6 * learnt or plain is None or last.train_loss < 2 * last.loss + 0.2:
        return None
    return Finding(
        "batch-statistics",
        "serious",
        "batch normalisation's running statistics do not fit",
        f"While learning the loss was {last.loss:.3f}; on the same training images, answering, "
        f"it is {last.train_loss:.3f} and {plain.value:.1%} are right "
        f"(the most common class is {chance(evidence.train):.1%}).",
        "Use larger batches, or train longer so that the statistics settle.",
        (f"fit.batch_size={max(32, evidence.recipe.fit.batch_size * 4)}",),
        {"loss_learning": last.loss, "loss_answering": last.train_loss},
        statistics_plot(evidence),
    )


def _share(value: float | None) -> str:
    return "nothing measurable" if value is None else f"{value:.2f}"


RULES = (
    diverged,
    step_too_large,
    step_too_small,
    exploding_gradients,
    vanishing_gradients,
    dead_units,
    batch_statistics,
)
