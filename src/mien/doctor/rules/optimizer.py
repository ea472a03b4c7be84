"""Rules about the settings and the use of a watched loop's optimisers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import decay_dominates, decay_per_step, watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import rule
from mien.doctor.rules.loop import MIN_STEPS

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("optimizer-replaced", needs=(PROGRAM,), severities=("serious",))
def optimizer_replaced(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The weights change, but the watched optimiser does not change them."""
    program = watched(evidence)
    settings = program.settings
    if program.optimizer_steps > 0 or not settings.weights_changed or not program.steps:
        return None
    others = settings.other_optimizers
    live = f" Another optimiser holds the model's parameters: {listed(others)}." if others else ""
    return Finding(
        "optimizer-replaced",
        "serious",
        "another optimiser than the watched one changes the weights",
        f"In {program.steps:,} recorded steps the optimiser given to doctor.watch took 0, and the "
        f"weights changed.{live} One that is created again in each step loses its momentum and its "
        "averages.",
        "Create the optimiser once, before the loop, and give that one to doctor.watch.",
        (),
        {"steps": program.steps, "optimizer_steps": 0, "others": len(others)},
        bars("steps", {"recorded": program.steps, "watched optimiser": 0}),
        "high",
    )


@rule(
    "unused-optimizer",
    needs=(PROGRAM,),
    severities=("serious",),
    explained_by={"optimizer-not-stepped", "optimizer-replaced"},
)
def unused_optimizer(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """One of several optimisers never takes a step."""
    program = watched(evidence)
    names = program.settings.unused_optimizers
    if not names:
        return None
    return Finding(
        "unused-optimizer",
        "serious",
        "one of the optimisers never takes a step",
        f"{listed(names)} took 0 steps in the measured ones of {program.steps:,}, and its "
        "parameters have their initial values.",
        "Call step() and zero_grad() of each optimiser in the loop.",
        (),
        {"unused": len(names), "steps": program.steps},
        bars("optimisers", {"never stepped": len(names)}),
        "high",
    )


@rule(
    "gradients-discarded",
    needs=(PROGRAM,),
    severities=("serious",),
    explained_by={"optimizer-not-stepped", "optimizer-replaced"},
)
def gradients_discarded(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Gradients are set to zero before the step uses them: all, or all but the last pass's."""
    program = watched(evidence)
    count = program.discarded_passes
    if not count:
        return None
    if count < 0:
        return Finding(
            "gradients-discarded",
            "serious",
            "gradients are set to zero between the backward pass and the step",
            f"loss.backward() computed gradients, and at optimizer.step() there were none (median "
            f"of the measured ones of {program.steps:,} steps).",
            "Call optimizer.zero_grad() before loss.backward() or after optimizer.step(), not "
            "between the two.",
            (),
            {"passes": 1, "used": 0},
            bars("backward passes in a step", {"made": 1, "used": 0}),
            "high",
        )
    return Finding(
        "gradients-discarded",
        "serious",
        "gradients of accumulated batches are set to zero before the step",
        f"A step has {count} backward passes (median), and uses the last one's gradient alone: the "
        f"other {count - 1} are lost.",
        "Call optimizer.zero_grad() after optimizer.step(), not in each accumulated batch, and "
        "divide the loss by their number.",
        (),
        {"passes": count, "used": 1},
        bars("backward passes in a step", {"made": count, "used": 1}),
        "high",
    )


@rule("momentum-too-high", needs=(PROGRAM,))
def momentum_too_high(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The momentum averages gradients over more steps than the training has."""
    program = watched(evidence)
    momentum = program.settings.momentum
    horizon = 1 / max(1 - momentum, 1e-12)
    if momentum <= limits.momentum or program.learned_well or program.steps < MIN_STEPS:
        return None
    if horizon < program.steps:
        return None
    return Finding(
        "momentum-too-high",
        "warning",
        "the momentum is too high for so few steps",
        f"With a momentum of {momentum:g} a gradient acts over {horizon:,.0f} steps, and the "
        f"training has {program.steps:,}: the first directions are never forgotten.",
        "Use a momentum (or first beta) of 0.9.",
        (),
        {"momentum": momentum, "horizon": horizon, "steps": program.steps},
        bars("steps", {"momentum's horizon": horizon, "training": program.steps}),
        "high",
    )


@rule("weight-decay-too-strong", needs=(PROGRAM,), explained_by={"diverged"})
def weight_decay_too_strong(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Decay takes so much off the weights in each step that the gradient cannot hold them."""
    program = watched(evidence)
    # A fifth of the limit that mien's own runs have, since nothing else names the fault here.
    decay = decay_per_step(evidence)
    settings, ratio = program.settings, program.settings.decay_ratio
    # Adam divides by the gradient's size: an L2 penalty is then as strong as it is relative to it.
    outweighs = (
        ratio is not None and ratio > limits.decay_ratio and settings.shrinkage < limits.shrinkage
    )
    dominates = decay_dominates(evidence, limits.decay_per_step / 5)
    if not (dominates or outweighs) or program.learned_well:
        return None
    shrunk = (
        f" It was {ratio:.2g} times the gradient (median over the layers and the first measured "
        f"steps), and the weights ended at {settings.shrinkage:.2g} of their initial size."
        if outweighs
        else ""
    )
    return Finding(
        "weight-decay-too-strong",
        "warning",
        "weight decay is too strong",
        f"Each step takes {decay:.2%} off the weights (weight decay times learning rate).{shrunk}",
        "Use a weight decay of 1e-4 to 1e-3, or torch.optim.AdamW with 0.01 to 0.1, which adds "
        "none to the gradient.",
        (),
        {"decay_per_step": decay, "decay_over_gradient": ratio, "shrinkage": settings.shrinkage},
        bars("decay / gradient", {"median": ratio or 0.0}, limits.decay_ratio)
        if outweighs
        else bars("fraction per step", {"decay": decay}, limits.decay_per_step / 5),
        "high" if outweighs else "medium",
    )
