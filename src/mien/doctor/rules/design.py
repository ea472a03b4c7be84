"""Rules about a watched network: do layers, initial weights and loss fit each other?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    beside_chance,
    chance_loss,
    initial_loss,
    loss_curve,
    start_loss,
    watched,
)
from mien.doctor.finding import Finding
from mien.doctor.plots import loss_plot
from mien.doctor.programs.bars import bars, listed
from mien.doctor.programs.mismatch import mismatch_of
from mien.doctor.requirements import LOSSES, PROGRAM
from mien.doctor.rule import LEARNS_NOTHING, NO_CHANCE, Abstention, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("loss-activation-mismatch", needs=(PROGRAM,), severities=("serious", "warning"))
def loss_activation_mismatch(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The last activation, the loss and the targets do not belong together."""
    program = watched(evidence)
    found = mismatch_of(program)
    if found is None or program.outputs is None:
        return None
    return Finding(
        "loss-activation-mismatch",
        found.severity,
        found.title,
        f"{program.loss_name} received values from {program.outputs.low:.3g} to "
        f"{program.outputs.high:.3g}, targets from {program.target_low:.3g} to "
        f"{program.target_high:.3g}: {found.reason}.",
        found.remedy,
        (),
        {"low": program.outputs.low, "high": program.outputs.high, "case": found.case},
        bars("value", {"lowest output": program.outputs.low,
                       "highest output": program.outputs.high}),
        "high" if found.severity == "serious" else "medium",
    )  # fmt: skip


@rule("loss-unbounded", needs=(PROGRAM, LOSSES), severities=("serious",))
def loss_unbounded(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loss falls far below 0: a term of it has the wrong sign, or no lower bound."""
    curve = [v for v in loss_curve(evidence) if math.isfinite(v)]
    if not curve:
        return None
    first, last = abs(initial_loss(evidence)), float(np.median(curve[-3:]))
    # The negative log-likelihood of a density falls below 0 as well, but not by such factors.
    scale = max(1.0, first if math.isfinite(first) else abs(curve[0]))
    if last > -limits.unbounded_loss * scale:
        return None
    return Finding(
        "loss-unbounded",
        "serious",
        "the loss falls without bound",
        f"The training loss ended at {last:.3g}, after a start at {curve[0]:.3g}: minimising it "
        "makes something arbitrarily large.",
        "Check the sign of each term of the loss, and that targets lie in the range that the loss "
        "expects, such as 0 to 1 for binary cross-entropy.",
        (),
        {"first": curve[0], "last": last},
        loss_plot(evidence),
        "high",
    )


@rule("no-nonlinearity", needs=(PROGRAM,))
def no_nonlinearity(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Two weight layers follow each other without an activation: together they are one."""
    program = watched(evidence)
    # A linear bottleneck is usual in autoencoders: it limits the rank.
    pairs = () if program.targets_are_inputs else program.consecutive_layers
    if not pairs and not program.is_affine:
        return None
    where = f"between {listed(pairs)}" if pairs else "anywhere"
    whole = " The whole network is an affine function of its inputs." if program.is_affine else ""
    return Finding(
        "no-nonlinearity",
        "warning",
        "layers follow each other without an activation",
        f"There is no nonlinearity {where}: {max(1, len(pairs))} pair(s) of layers compute what "
        f"one layer could.{whole}",
        "Put an activation such as torch.nn.ReLU() between them.",
        (),
        {"pairs": len(pairs), "is_affine": int(bool(program.is_affine))},
        bars("pairs of layers", {"without an activation": max(1, len(pairs))}),
        "high",
    )


@rule("hidden-softmax", needs=(PROGRAM,))
def hidden_softmax(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A softmax feeds a hidden layer: its outputs are tiny and hardly vary."""
    program = watched(evidence)
    if not program.hidden_softmax:
        return None
    return Finding(
        "hidden-softmax",
        "warning",
        "a softmax is used as a hidden activation",
        f"{len(program.hidden_softmax)} softmax module(s) feed a further layer: "
        f"{listed(program.hidden_softmax)}. Their outputs sum to 1 over all units, so signals and "
        "gradients shrink with the width.",
        "Use torch.nn.ReLU() or GELU() in hidden layers.",
        (),
        {"modules": len(program.hidden_softmax)},
        bars("modules", {"hidden softmax": len(program.hidden_softmax)}),
        "high",
    )


@rule("poor-initialization", needs=(PROGRAM,), severities=("serious", "warning"))
def poor_initialization(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Initial weights are all equal, or far too large or small for their number of inputs."""
    program = watched(evidence)
    gains = program.weight_gain or {}
    if program.same_direction and (not program.learned_well or len(program.same_direction) > 1):
        return Finding(
            "poor-initialization",
            "serious",
            "units start equal and stay equal",
            f"In {len(program.same_direction)} weight(s) all rows were equal before the training "
            f"and are equal now: {listed(program.same_direction)}. Equal units get equal gradients "
            "and learn the same.",
            "Initialise weights randomly, such as torch.nn.init.kaiming_uniform_; zeros suit "
            "biases only.",
            (),
            {"weights": len(program.same_direction)},
            bars("weights", {"with equal rows": len(program.same_direction)}),
            "high",
        )
    low, high = limits.weight_gain
    # Not the last layer's: starting it near 0 is common and harmless.
    bad = {n: g for n, g in gains.items() if g > high or (g < low and n != list(gains)[-1])}
    if not bad or program.learned_well:
        return None
    large = any(g > high for g in bad.values())
    if large and initial_loss(evidence) < 2 * start_loss(evidence) and not _is_stuck(evidence):
        return None  # a normalisation after the layer makes its scale irrelevant
    worst = max(bad, key=lambda n: max(bad[n], 1 / max(bad[n], 1e-12)))
    return Finding(
        "poor-initialization",
        "serious",
        f"initial weights are too {'large' if large else 'small'}",
        f"The deviation of {worst} times the root of its inputs was {bad[worst]:.3g} before the "
        f"training (0.6 to 1.5 is usual), and {len(bad)} of {len(gains)} weights are out of "
        f"{low:g} to {high:g}: {listed(list(bad))}. The first loss was "
        f"{initial_loss(evidence):.3g}{beside_chance(evidence, '.3g')}.",
        "Use PyTorch's default initialisation (reset_parameters() of each layer), or "
        "torch.nn.init.kaiming_normal_ before ReLU and xavier_uniform_ before others, with biases "
        "of 0.",
        (),
        {"gain": bad[worst], "weights": len(bad), "initial_loss": initial_loss(evidence)},
        bars("deviation times root of fan-in", bad, high if large else low),
    )


def _is_stuck(evidence: Evidence) -> bool:
    curve = loss_curve(evidence)
    return bool(curve) and min(curve) > 0.7 * chance_loss(evidence)


@rule(
    "saturated-activations",
    needs=(PROGRAM,),
    explained_by={"poor-initialization", "invalid-inputs", "learning-rate-too-high", "diverged"},
)
def saturated_activations(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Sigmoid or tanh units sit at their ends, where they pass no gradient."""
    program = watched(evidence)
    saturated = program.saturated or {}
    name = max(saturated, key=lambda n: saturated[n], default="")
    if not name or saturated[name] < limits.saturated_fraction or program.learned_well:
        return None
    return Finding(
        "saturated-activations",
        "warning",
        "activations are saturated",
        f"In layer {name}, {saturated[name]:.0%} of the units are at an end of their range for "
        "nearly all examples.",
        "Normalise inputs, lower the learning rate or the initial weights, or use ReLU or GELU.",
        (),
        {"layer": name, "fraction": saturated[name]},
        bars("fraction of saturated units", saturated, limits.saturated_fraction),
    )


@rule("dropout-too-strong", needs=(PROGRAM,))
def dropout_too_strong(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """So many units are dropped that the network cannot fit its training data."""
    program = watched(evidence)
    dropout = program.dropout or {}
    name = max(dropout, key=lambda n: dropout[n], default="")
    if not name or dropout[name] < limits.dropout or evidence.program is None:
        return None
    if program.dropout_loss_ratio < limits.dropout_loss_ratio and program.learned_well:
        return None
    return Finding(
        "dropout-too-strong",
        "warning",
        "dropout is too strong",
        f"Layer {name} drops {dropout[name]:.0%} of its inputs; the training loss is "
        f"{program.dropout_loss_ratio:.2g} times as high with dropout as without.",
        "Use a probability of 0.2 to 0.5, or none while the network does not overfit.",
        (),
        {"p": dropout[name], "loss_ratio": program.dropout_loss_ratio},
        bars("dropout probability", dropout, limits.dropout),
    )


@rule("batch-norm-small-batch", needs=(PROGRAM,), severities=("serious", "warning"))
def batch_norm_small_batch(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Batch norm estimates mean and variance from very few examples."""
    program = watched(evidence)
    if not program.batch_norms or not 0 < program.batch_size <= limits.batch_norm_batch:
        return None
    return Finding(
        "batch-norm-small-batch",
        "serious" if program.batch_size == 1 else "warning",
        "batches are too small for batch normalisation",
        f"{len(program.batch_norms)} batch-norm layer(s) normalise over batches of "
        f"{program.batch_size}.",
        "Use batches of 16 or more, or GroupNorm or LayerNorm.",
        (),
        {"batch_size": program.batch_size, "layers": len(program.batch_norms)},
        bars("examples", {"batch": program.batch_size}, limits.batch_norm_batch),
    )


@rule("batch-size-of-one", needs=(PROGRAM,), explained_by={"batch-norm-small-batch"})
def batch_size_of_one(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Each step follows the gradient of a single example."""
    program = watched(evidence)
    if program.batch_size != 1 or evidence.images < 64:
        return None
    return Finding(
        "batch-size-of-one",
        "warning",
        "each batch holds a single example",
        f"The median batch size is 1, of {evidence.images:,} examples or more: gradients are "
        "noisy, and steps cost many times their arithmetic.",
        "Use DataLoader(batch_size=32), and the learning rate that suits it.",
        (),
        {"batch_size": 1, "examples": evidence.images},
        bars("examples", {"batch": 1, "usual": 32}),
    )


@rule("weight-decay-on-norms", needs=(PROGRAM,))
def weight_decay_on_norms(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Weight decay has pulled the scales of normalisation layers towards zero."""
    program = watched(evidence)
    # Only those that decay can have shrunk: networks also learn small scales.
    low = {n: s for n, s in (program.shrunk_norms or {}).items() if s < limits.shrunk_norm}
    if not low:
        return None
    return Finding(
        "weight-decay-on-norms",
        "warning",
        "weight decay shrinks normalisation layers",
        f"The scales of {len(low)} normalisation layer(s) have a mean of {min(low.values()):.2g} "
        f"(they start at 1): {listed(list(low))}.",
        "Put the parameters with one dimension into a group of the optimiser with weight_decay=0.",
        (),
        {"layers": len(low), "scale": min(low.values())},
        bars("mean scale", low, limits.shrunk_norm),
    )


@rule(
    "missing-bias",
    needs=(PROGRAM,),
    explained_by={"optimizer-not-stepped", "parameters-not-optimized"},
)
def missing_bias(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """No layer has a bias, and no normalisation adds one."""
    program = watched(evidence)
    if not program.bias_free or program.learned_well:
        return None
    # A bias grows by a learning rate a step: from 0 it may not reach a distant mean in time.
    means = [c.mean for c in program.target_columns if abs(c.mean) > limits.target_offset * c.std]
    values = ", ".join(f"{m:.3g}" for m in means)
    distant = (
        f" The targets have a mean of {values}, more than {limits.target_offset:g} deviation(s) "
        "from 0."
        if means
        else ""
    )
    start = (
        f" Start the last bias at the targets' mean ({values}), or subtract it." if means else ""
    )
    return Finding(
        "missing-bias",
        "warning",
        "no layer has a bias",
        f"None of the {len(program.bias_free)} weight layers has a bias, and no normalisation "
        f"layer adds one: the output for an input of zeros is fixed. Without: "
        f"{listed(program.bias_free)}.{distant}",
        "Use bias=True in these layers; bias=False suits layers that a normalisation follows."
        + start,
        (),
        {"layers": len(program.bias_free),
         "target_mean": means[0] if len(program.target_columns) == 1 and means else None},
        bars("layers", {"without a bias": len(program.bias_free)}),
        "low",
    )  # fmt: skip


@rule(
    "loss-not-decreasing",
    needs=(PROGRAM,),
    severities=("serious",),
    explained_by=LEARNS_NOTHING
    | {"class-imbalance", "label-noise", "underfitting", "model-too-small",
       "dead-units", "saturated-activations", "hidden-softmax", "dropout-too-strong",
       "label-encoding", "mixed-precision-underflow", "clipping-always",
       "collapsed-outputs", "reads-padding", "inputs-ignored", "order-ignored",
       "targets-are-classes", "contrastive-temperature", "losses-mixed"},
)  # fmt: skip
def loss_not_decreasing(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The training loss ends where a constant prediction is."""
    program = watched(evidence)
    curve = loss_curve(evidence)
    # The losses of two networks that oppose each other need not fall, and those of an affine one
    # cannot: 'no-nonlinearity' says so.
    if len(curve) < 12 or program.learned_well or program.separate_losses or program.is_affine:
        return None
    # The mean of six stretches, so that single batches do not decide.
    end, chance = sum(curve[-6:]) / 6, chance_loss(evidence)
    if math.isnan(chance):
        return Abstention(NO_CHANCE)
    if end < limits.undiminished_loss * min(chance, max(curve[0], 1e-9)):
        return None
    after = f"{program.steps:,} steps; a constant prediction has {chance:.3g}"
    if evidence.chance_is_start:  # a log: its rows may stand for many steps
        after = f"{program.steps:,} values"
    return Finding(
        "loss-not-decreasing",
        "serious",
        "the loss does not decrease",
        f"The training loss started at {curve[0]:.3g} and ended at {end:.3g} after {after}.",
        "Try whether the network can fit 32 examples at a learning rate of 1e-3 with Adam: if it "
        "cannot, look at the labels, the loss and the layers.",
        (),
        {"first": curve[0], "last": end, "chance": chance},
        loss_plot(evidence),
        "low",
    )
