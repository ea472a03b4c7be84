"""Rules about a watched loop: are gradients, steps and parameters handled soundly?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars, listed
from mien.doctor.programs.slow_rates import beside_untried_rate
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import Abstention, rule
from mien.errors import counted

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

MIN_STEPS = 20
"""Steps below which nothing can be said about the course of a training."""
MIN_NORMS = 4
"""Measured gradients from which equal norms show clipping; from twice as many nearly equal."""


@rule("optimizer-not-stepped", needs=(PROGRAM,), severities=("serious",))
def optimizer_not_stepped(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loop never calls a step: neither the optimiser's nor the watch's."""
    program = watched(evidence)
    if program.optimizer_steps > 0 or program.settings.weights_changed:
        return None  # changed without it: see 'optimizer-replaced'
    return Finding(
        "optimizer-not-stepped",
        "serious",
        "the optimiser never takes a step",
        f"In {program.steps:,} recorded steps the optimiser took 0: no weight has changed.",
        "Call loss.backward() and optimizer.step() in the loop, then watch.step(loss, inputs, "
        "targets), with the optimiser that was given to doctor.watch.",
        (),
        {"steps": program.steps, "optimizer_steps": program.optimizer_steps},
        bars("steps", {"recorded": program.steps, "optimiser": program.optimizer_steps}),
        "high",
    )


@rule(
    "gradients-accumulate",
    needs=(PROGRAM,),
    severities=("serious",),
    # zero_grad of an optimiser that holds other parameters does not reach these.
    explained_by={"parameters-not-optimized"},
)
def gradients_accumulate(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Each step uses the sum of all gradients so far: zero_grad was forgotten."""
    program = watched(evidence)
    if program.carried_gradients is None:
        return Abstention("no step was measured whose gradient could be compared")
    if program.carried_gradients < limits.carried_gradients:
        return None
    return Finding(
        "gradients-accumulate",
        "serious",
        "gradients add up from step to step: they are never set to zero",
        f"In {program.carried_gradients:.0%} of the checked steps the gradient was the batch's own "
        "plus that of the step before.",
        "Call optimizer.zero_grad() in each step, before loss.backward(); with LBFGS in its "
        "closure.",
        (),
        {"fraction": program.carried_gradients},
        bars("fraction of steps", {"with an old gradient": program.carried_gradients},
             limits.carried_gradients),
        "high",
    )  # fmt: skip


@rule(
    "parameters-not-optimized",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    explained_by={"optimizer-not-stepped"},
)
def parameters_not_optimized(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Parameters get gradients, but no optimiser holds them."""
    program = watched(evidence)
    names = program.not_optimized
    if not names:
        return None
    every = len(names) >= program.total_parameters
    return Finding(
        "parameters-not-optimized",
        "serious" if every or len(names) > program.total_parameters / 2 else "warning",
        "the optimiser does not hold the model's parameters",
        f"{len(names)} of {program.total_parameters} parameter tensors have a gradient and are in "
        f"no optimiser: {listed(names)}.",
        "Create the optimiser from model.parameters(), after the model has its final layers and "
        "device; set requires_grad=False for what should stay as it is."
        + beside_untried_rate(evidence),
        (),
        {"not_optimized": len(names), "parameters": program.total_parameters},
        bars("parameter tensors", {"in the model": program.total_parameters,
                                   "in no optimiser": len(names)}),
        "high",
    )  # fmt: skip


@rule("parameters-in-two-optimizers", needs=(PROGRAM,))
def parameters_in_two_optimizers(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Several optimisers change the same parameters."""
    program = watched(evidence)
    names = program.held_twice
    if not names:
        return None
    return Finding(
        "parameters-in-two-optimizers",
        "warning",
        "several optimisers hold the same parameters",
        f"{len(names)} of {program.total_parameters} parameter tensors are in more than one "
        f"optimiser: {listed(names)}. Each of them changes these in its step, and one's zero_grad "
        "clears the other's gradients.",
        "Give each optimiser the parameters of its own network, such as "
        "Adam(generator.parameters()) and Adam(discriminator.parameters()).",
        (),
        {"held_twice": len(names), "parameters": program.total_parameters},
        bars("parameter tensors", {"in the model": program.total_parameters,
                                   "in several optimisers": len(names)}),
        "high",
    )  # fmt: skip


@rule("frozen-parameters", needs=(PROGRAM,))
def frozen_parameters(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Weights that cannot be trained still hold their random initial values."""
    program = watched(evidence)
    if not program.frozen:
        return None
    return Finding(
        "frozen-parameters",
        "warning",
        "frozen layers hold untrained weights",
        f"{len(program.frozen)} weights have requires_grad=False and the distribution of a "
        f"random initialisation: {listed(program.frozen)}.",
        "Set requires_grad=True, or load trained weights into these layers before freezing them.",
        (),
        {"frozen": len(program.frozen), "parameters": program.total_parameters},
        bars("parameter tensors", {"in the model": program.total_parameters,
                                   "frozen, untrained": len(program.frozen)}),
        "high",
    )  # fmt: skip


@rule("unregistered-parameters", needs=(PROGRAM,), severities=("serious",))
def unregistered_parameters(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Layers in a plain list are invisible to the optimiser, to .to(device) and to saving."""
    program = watched(evidence)
    if not program.unregistered:
        return None
    return Finding(
        "unregistered-parameters",
        "serious",
        "layers are stored where PyTorch does not find them",
        f"{len(program.unregistered)} attributes hold modules or parameters in a plain list or "
        f"dictionary: {listed(program.unregistered)}.",
        "Use torch.nn.ModuleList, ModuleDict, ParameterList or ParameterDict.",
        (),
        {"attributes": len(program.unregistered)},
        bars("attributes", {"unregistered": len(program.unregistered)}),
        "high",
    )


@rule(
    "no-gradient",
    needs=(PROGRAM,),
    explained_by={"optimizer-not-stepped", "frozen-parameters", "parameters-not-optimized",
                  "gradients-discarded"},
    severities=("serious", "warning"),
)  # fmt: skip
def no_gradient(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Trainable parameters never get a gradient: they are unused, or the graph is cut."""
    program = watched(evidence)
    names = program.without_gradient
    if not names:
        return None
    return Finding(
        "no-gradient",
        "serious" if len(names) > program.total_parameters / 2 else "warning",
        "trainable parameters never get a gradient",
        f"{len(names)} of {program.total_parameters} parameter tensors had no gradient in any "
        f"measured step: {listed(names)}.",
        "Look for .detach(), .data, torch.no_grad() or .item() between these layers and the loss, "
        "and for layers that forward() does not use.",
        (),
        {"without_gradient": len(names), "parameters": program.total_parameters},
        bars("parameter tensors", {"in the model": program.total_parameters,
                                   "without a gradient": len(names)}),
        "high",
    )  # fmt: skip


@rule("trained-in-eval-mode", needs=(PROGRAM,))
def trained_in_eval_mode(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Steps are taken while dropout and batch norm, or batch norm alone, are in evaluation mode."""
    program = watched(evidence)
    norms = program.initial_norms
    if program.eval_mode_steps >= limits.wrong_mode:
        subject = "the network"
        plot = bars(
            "fraction of steps", {"in evaluation mode": program.eval_mode_steps}, limits.wrong_mode
        )
        found = (
            f"{program.eval_mode_steps:.0%} of the steps were taken while dropout and batch norm "
            "were in evaluation mode: dropout does nothing, and running statistics stay as they "
            "are."
        )
    elif norms:
        subject, plot = "batch norm", None
        found = (
            f"The weights of {counted(len(norms), 'batch norm')} were trained while the running "
            f"statistics stayed at a mean of 0 and a variance of 1: {listed(norms)}. In evaluation "
            "mode a batch norm does not normalise by its batch."
        )
    else:
        return None
    return Finding(
        "trained-in-eval-mode",
        "warning",
        f"{subject} is trained in evaluation mode",
        found,
        "Call model.train() at the start of each epoch, after the validation's model.eval(); "
        "freeze batch norm only in a pretrained network.",
        (),
        {"fraction": program.eval_mode_steps, "batch_norms": len(norms)},
        plot,
        "high",
    )


@rule("evaluated-in-train-mode", needs=(PROGRAM,), explained_by={"trained-in-eval-mode"})
def evaluated_in_train_mode(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Predictions without gradients are made with dropout on, or with batch statistics."""
    program = watched(evidence)
    # Calls of Watch.validate switch to evaluation mode by themselves, so they are not counted.
    wrong = program.train_mode_evaluations
    if wrong < limits.wrong_mode * max(1, program.evaluations - program.validations):
        return None
    if wrong == 0:
        return None
    return Finding(
        "evaluated-in-train-mode",
        "warning",
        "the network is evaluated in training mode",
        f"{wrong:,} of {program.evaluations:,} forward passes without gradients had dropout or "
        "batch norm in training mode: their predictions are random, or depend on the batch.",
        "Call model.eval() before evaluation, and model.train() after it.",
        (),
        {"in_train_mode": wrong, "evaluations": program.evaluations},
        bars("forward passes", {"evaluations": program.evaluations, "in training mode": wrong}),
        "high",
    )


@rule("clipping-always", needs=(PROGRAM,))
def clipping_always(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Gradient clipping shortens every gradient: it sets the length of each step."""
    program = watched(evidence)
    if program.clip_ratio is None:
        return Abstention("no gradient was seen before and after clipping")
    norms = np.array(program.gradient_norms)
    if len(norms) < MIN_NORMS:
        return None
    varies = float(norms.std() / max(norms.mean(), 1e-30))
    # Loss scaling shortens gradients as well, but leaves their lengths different. Few of them must
    # agree in all digits.
    equal = varies < (0.01 if len(norms) >= 2 * MIN_NORMS else 1e-4)
    if program.clip_ratio > limits.clip_ratio or not equal or program.learned_well:
        return None
    return Finding(
        "clipping-always",
        "warning",
        "gradient clipping is always active",
        f"All {len(norms)} measured gradients had the norm {norms.mean():.3g}; their median length "
        f"before clipping was {1 / max(program.clip_ratio, 1e-12):.3g} times that.",
        "Raise max_norm to the norms that a sound stretch of the training has, or lower the "
        "learning rate and leave clipping out.",
        (),
        {"ratio": program.clip_ratio, "norm": float(norms.mean())},
        bars("used / computed gradient", {"median": program.clip_ratio}, limits.clip_ratio),
    )


@rule("memory-grows", needs=(PROGRAM,))
def memory_grows(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Each step keeps memory: usually the graphs of losses that were added up."""
    program = watched(evidence)
    grown = program.memory_growth_mb
    if grown < limits.memory_growth_mb or program.memory_fraction < limits.memory_fraction:
        return None
    return Finding(
        "memory-grows",
        "warning",
        "memory grows from step to step",
        f"It grew steadily by {grown:,.0f} MB ({program.memory_fraction:.0%}) in the second half "
        f"of the {program.steps:,} steps.",
        "Add up loss.item() or loss.detach(), not loss, which keeps its whole graph; the same "
        "holds for outputs kept in lists.",
        (),
        {"growth_mb": grown, "fraction": program.memory_fraction},
        bars("MB", {"growth in the second half": grown}, limits.memory_growth_mb),
    )


@rule("input-pipeline-stalls", needs=(PROGRAM,))
def input_pipeline_stalls(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Most of each step is spent waiting for the next batch."""
    program = watched(evidence)
    fraction, seconds = program.wait_fraction, program.wait_seconds
    # Both limits: most of a step of a millisecond may be waiting without any harm.
    if fraction < limits.wait_fraction or seconds < limits.wait_seconds:
        return None
    return Finding(
        "input-pipeline-stalls",
        "warning",
        "the training waits for its data",
        f"{fraction:.0%} of a step is spent between two steps, {1000 * seconds:.0f} ms (medians).",
        "Use more workers (DataLoader(num_workers=...)), pin_memory and prefetching, or decode and "
        "resize the data once beforehand.",
        (),
        {"fraction": fraction, "seconds": seconds},
        bars("fraction of a step", {"waiting": fraction, "computing": 1 - fraction},
             limits.wait_fraction),
        "low",
    )  # fmt: skip


@rule("mixed-precision-underflow", needs=(PROGRAM,))
def mixed_precision_underflow(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """In float16 without loss scaling, small gradients become zero."""
    program = watched(evidence)
    half = program.outputs is not None and program.outputs.half
    # With a scaler the computed gradient is far longer than the used one.
    scaled = program.clip_ratio is not None and program.clip_ratio < 0.1
    if not half or scaled or program.zero_gradients < limits.zero_gradients:
        return None
    return Finding(
        "mixed-precision-underflow",
        "warning",
        "gradients underflow in float16",
        f"The network's outputs are float16, the loss is not scaled, and "
        f"{program.zero_gradients:.0%} of the gradient's entries are exactly 0.",
        "Scale the loss with torch.amp.GradScaler, or use bfloat16.",
        (),
        {"zero_gradients": program.zero_gradients},
        bars("fraction of entries", {"exactly 0": program.zero_gradients}, limits.zero_gradients),
    )
