"""The rule about underfitting: is the network worse than a baseline, and why?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.doctor.facts import (
    accuracy,
    constant_recall,
    decay_per_step,
    fall_within_epochs,
    is_learning,
    late_loss_drop,
    learned_well,
    majority_accuracy,
    mean_recall,
)
from mien.doctor.finding import Finding
from mien.doctor.plots import loss_plot
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import BESIDE_BASELINE
from mien.doctor.rule import LEARNS_NOTHING, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


ABOVE_CHANCE = 0.1
"""Mean recall of positions or labels above a constant's from which something is learnt."""


@rule(
    "underfitting",
    needs=(BESIDE_BASELINE,),
    explained_by=LEARNS_NOTHING
    | {
        "dead-units",
        "batch-norm-statistics",
        "model-too-small",
        "clipping-always",
        "collapsed-outputs",
        "dropout-too-strong",
        "targets-are-classes",
        "reads-padding",
        "inputs-ignored",
        "order-ignored",
        "background-only",
    },
)
def underfitting(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network is worse on its training images than the baseline on images left out."""
    if evidence.program is not None and evidence.program.kind == "regression":
        return _underfits_values(evidence, limits)
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    baseline = accuracy(evidence.train.y_true_n, evidence.train.baseline_nk)
    if train is None or baseline is None or learned_well(evidence):
        return None
    if evidence.program is not None and evidence.program.is_affine:
        return None  # 'no-nonlinearity' says why
    # A hard task may leave the baseline at chance level, too: then chance itself is underfitting.
    # Always predicting the most common class needs no image at all.
    at_chance = train.low <= majority_accuracy(evidence.train)
    if evidence.train.constant_nk is not None:
        # Most positions and labels may be of one class: the rare ones show what is learnt.
        assert evidence.train.probs_nk is not None  # noqa: S101 - accuracy was known
        own = mean_recall(evidence.train.y_true_n, evidence.train.probs_nk)
        at_chance = at_chance and own < constant_recall(evidence.train) + ABOVE_CHANCE
    if train.high >= baseline.value - limits.below_baseline and not at_chance:
        return None
    if evidence.program is not None:
        return _underfits_classes(evidence, limits)
    drop = late_loss_drop(evidence)
    epochs, recipe = evidence.recipe.fit.epochs, evidence.recipe
    settings = []
    if decay_per_step(evidence) > limits.decay_per_step:
        settings.append("optimizer.weight_decay=5e-4")
    if float(recipe.network.options.get("dropout", 0) or 0) > 0.6:
        settings.append("network.dropout=0.3")
    over_regularised = bool(settings)
    if not over_regularised:
        settings = [f"fit.epochs={max(epochs * 3, epochs + 5)}"]
    return Finding(
        "underfitting",
        "warning",
        "the network underfits",
        f"Training accuracy is {train.value:.1%}; the baseline (HOG features and ridge "
        f"regression, leave-one-out) reaches {baseline.value:.1%} on the same images. The "
        f"training loss fell by {drop:.0%} over the last third of the training.",
        "Regularise less." if over_regularised else "Train longer, or use a larger network.",
        tuple(settings),
        {"training": train.value, "baseline": baseline.value, "late_loss_drop": drop},
        loss_plot(evidence),
    )


def _underfits_classes(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Return the finding on a watched classification below the baseline, or at chance level.

    With class weights the mean recall counts: they trade accuracy for it.
    """
    part = evidence.train
    assert part.probs_nk is not None  # noqa: S101 - checked by the caller
    weighted = evidence.recipe.loss.class_weights != "none"
    name = "mean recall" if weighted else "accuracy"
    score, baseline = (
        mean_recall(part.y_true_n, s)
        if weighted
        else float((s.argmax(axis=1) == part.y_true_n).mean())
        for s in (part.probs_nk, part.baseline_nk)
    )
    if weighted and score >= baseline - limits.below_baseline:
        return None
    drop, within = late_loss_drop(evidence), fall_within_epochs(evidence)
    restarts = within > limits.late_loss_drop >= drop
    # In its first steps a network hardly learns anything, whatever is wrong with it.
    steps = limits.few_steps if evidence.program is None else evidence.program.steps
    learns = (steps < limits.few_steps or is_learning(evidence, limits)) and not restarts
    course = f"The training loss fell by {drop:.0%} over the last third of the training."
    if drop < 0:
        course = f"The training loss rose by {-drop:.0%} over the last third of the training."
    if restarts:
        course = (
            f"The training loss falls by {within:.0%} within an epoch, and each epoch begins as "
            "high as the one before, as where weights are reset."
        )
    found = Finding(
        "underfitting",
        "warning",
        "the network underfits" if learns else "the network hardly learns",
        f"Training {name} is {score:.1%}; the baseline (kernel ridge regression, leave-one-out) "
        f"reaches {baseline:.1%} on the same examples. {course}",
        "",
        (),
        {"training": score, "baseline": baseline, "late_loss_drop": drop, "learns": int(learns)},
        loss_plot(evidence),
        "medium" if learns else "low",
    )
    return _with_cause(found, evidence, limits)


def _with_cause(finding: Finding, evidence: Evidence, limits: Thresholds) -> Finding:
    """Return the finding with the cause that the recording shows; the same where it shows none."""
    program = evidence.program
    course = None if program is None else program.progress.course
    if program is None or course is None or not program.epochs:
        return finding
    each = program.steps / program.epochs
    few = program.steps < limits.few_steps and each < limits.steps_per_epoch
    if not few or course.certainty < limits.falling or course.fall < limits.late_loss_drop:
        return finding
    return replace(
        finding,
        title="the network underfits: the training has very few steps",
        evidence=f"{finding.evidence} There were {program.steps:,} steps, {each:.3g} in an epoch, "
        f"with batches of {program.batch_size:,}; over the last half of them the loss fell by "
        f"{course.fall:.0%}, steadily ({course.certainty:.0f} standard errors).",
        remedy="Use smaller batches, such as 32, which make more steps of an epoch, or train for "
        "more epochs.",
        numbers={**finding.numbers, "cause": "few-steps", "learns": 1},
        confidence="medium",
    )


def _underfits_values(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Return whether a watched regression explains less of its own targets than the baseline."""
    program = evidence.program
    assert program is not None  # noqa: S101 - checked by the caller
    score, baseline = program.train_score, program.baseline_score
    if score is None or baseline is None or program.learned_well:
        return None
    if not score < baseline - limits.r2_gap:
        return None
    # R² counts where the loss estimates a mean, and so has the baseline's predictions as better.
    if program.losses is None or not program.losses[0] > program.losses[1]:
        return None
    found = Finding(
        "underfitting",
        "warning",
        "the network underfits",
        f"It explains {score:.1%} of the variance of its training targets (R²); the baseline "
        f"(kernel ridge regression, leave-one-out) explains {baseline:.1%}.",
        "Train longer, use a larger network, or regularise less.",
        (),
        {"training": score, "baseline": baseline},
        bars("R² on training", {"network": score, "baseline": baseline}, baseline - limits.r2_gap),
    )
    return _with_cause(found, evidence, limits)
