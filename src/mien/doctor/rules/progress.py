"""Rules about the course of a watched training: does it continue, and is its model in use?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import UNSOUND_LOOP, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("weights-reset", needs=(PROGRAM,), severities=("serious",))
def weights_reset(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Each epoch begins with other weights than the one before ended with."""
    found = watched(evidence).progress.reset
    if found is None:
        return None
    return Finding(
        "weights-reset",
        "serious",
        "each epoch starts again with new weights",
        f"After {found.epochs} epochs the weights changed by {found.jump:.2g} times their size "
        f"within one step, and the loss rose from {found.before:.3g} to {found.after:.3g} on "
        f"average; it was {found.first:.3g} in the first steps.",
        "Create the model, or load its weights, once before the loop over the epochs. Watch each "
        "model of a cross-validation by itself.",
        (),
        {"epochs": found.epochs, "jump": found.jump, "before": found.before, "after": found.after},
        bars("loss", {"first steps": found.first, "end of an epoch": found.before,
                      "start of the next": found.after}),
        "high",
    )  # fmt: skip


@rule("few-examples", needs=(PROGRAM,))
def few_examples(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """An epoch has few distinct examples, and what is learnt from them does not hold."""
    program = watched(evidence)
    found, train, held = program.progress, program.train_score, program.validation_score
    few = 0 < found.distinct <= limits.few_examples < evidence.parameters / 10
    if not few or found.distinct >= found.validation or train is None or held is None:
        return None
    if train - held < limits.few_examples_gap or program.steps < 20:
        return None
    repeated = " All kept batches are the same one." if found.same_batch else ""
    return Finding(
        "few-examples",
        "warning",
        "the same batch is used in every step"
        if found.same_batch
        else "training has very few distinct examples",
        f"{program.steps:,} steps had {found.distinct} distinct examples, for "
        f"{evidence.parameters:,} parameters.{repeated} The score is {train:.3f} on these and "
        f"{held:.3f} on validation, which has {found.validation} distinct examples.",
        "Take the next batch in each step, as 'for inputs, targets in loader' does; "
        "next(iter(loader)) starts again."
        if found.same_batch
        else "Add or augment examples, start from a pretrained network, or use a far smaller one.",
        (),
        {"distinct": found.distinct, "parameters": evidence.parameters,
         "validation": found.validation},
        bars("distinct examples", {"training": found.distinct, "validation": found.validation},
             limits.few_examples),
        "high",
    )  # fmt: skip


@rule(
    "stuck-at-zero",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    explained_by={"optimizer-not-stepped", "learning-rate-vanishes", "unused-optimizer"},
)
def stuck_at_zero(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Trainable weights started at zero and stayed there: their gradient is zero."""
    program = watched(evidence)
    names = program.progress.stuck_at_zero
    if not names:
        return None
    return Finding(
        "stuck-at-zero",
        "serious" if not program.settings.weights_changed else "warning",
        "trainable weights start at zero and never leave it",
        f"All values of {len(names)} of {program.total_parameters} parameter tensors are 0 after "
        f"{program.steps:,} steps, as at the start: {listed(names)}. The gradient of a product of "
        "two factors that are both 0 is 0.",
        "Initialise one of the two factors at random, such as A of a low-rank adapter, and leave "
        "the other at 0.",
        (),
        {"stuck": len(names), "parameters": program.total_parameters},
        bars("parameter tensors", {"in the model": program.total_parameters,
                                   "still 0": len(names)}),
        "high",
    )  # fmt: skip


@rule("validated-model-lags", needs=(PROGRAM,), severities=("serious",))
def validated_model_lags(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The validated model is a copy that has hardly learned what the trained one has."""
    found = watched(evidence).progress.lag
    # Without progress of the trained model there is nothing to lag behind.
    if found is None or not found.watched < 0.7 * found.first:
        return None
    if found.progress > limits.lag:
        return None
    return Finding(
        "validated-model-lags",
        "serious",
        "validation uses a model that has hardly been trained",
        f"On the same training batch the trained model's loss is {found.watched:.3g} and that of "
        f"the validated one, of the same form, {found.validated:.3g}; the training started at "
        f"{found.first:.3g}: it has made {max(0.0, found.progress):.0%} of the progress.",
        "Use a shorter average: a decay of 1 - 10 / steps, or one that grows as "
        "(1 + step) / (10 + step); or validate the trained model.",
        (),
        {"first": found.first, "trained": found.watched, "validated": found.validated},
        bars("loss", {"first steps": found.first, "validated model": found.validated,
                      "trained model": found.watched}),
        "high",
    )  # fmt: skip


@rule(
    "initial-loss-too-high",
    needs=(PROGRAM,),
    explained_by=UNSOUND_LOOP
    | {"exploding-gradients", "invalid-inputs", "diverged", "learning-rate-too-high"},
)
def initial_loss_too_high(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The first predictions are confident and wrong, and the training does not recover."""
    found = watched(evidence).progress
    uniform = found.uniform_loss
    if uniform is None or not found.first_loss > limits.initial_loss * uniform:
        return None
    if not found.last_loss > uniform:
        return None
    return Finding(
        "initial-loss-too-high",
        "warning",
        "the initial outputs are far too large",
        f"The first steps had a loss of {found.first_loss:.3g} or more, the last ones "
        f"{found.last_loss:.3g}; equal probabilities for all classes have {uniform:.3g}.",
        "Initialise the last layer with smaller weights, such as std=0.02 for an embedding that is "
        "also the output layer, or divide its outputs by the root of the width.",
        (),
        {"first": found.first_loss, "last": found.last_loss, "uniform": uniform},
        bars("loss", {"first steps": found.first_loss, "last steps": found.last_loss,
                      "equal probabilities": uniform}),
        "high",
    )  # fmt: skip
