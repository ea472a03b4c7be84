"""Rules about what a watched loop feeds: order, splits, preprocessing and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import mean_recall, watched
from mien.doctor.finding import Finding, Plot
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import NAMED_CLASSES, PROGRAM, VALIDATION_PREDICTIONS
from mien.doctor.rule import LEARNS_NOTHING, Abstention, rule
from mien.evaluate.bootstrap import wilson

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

MIN_PAIR = 20
"""Validation examples of a class below which a confusion may be chance."""


@rule("nonfinite-inputs", needs=(PROGRAM,), severities=("serious",))
def nonfinite_inputs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Inputs or targets hold NaN or infinity, and so does everything computed from them."""
    program = watched(evidence)
    found = {"inputs": program.nonfinite_inputs, "targets": program.nonfinite_targets}
    where = [name for name, fraction in found.items() if fraction]
    if not where:
        return None
    amounts = " and ".join(f"the {name} of {found[name]:.1%}" for name in where)
    return Finding(
        "nonfinite-inputs",
        "serious",
        f"{' and '.join(where)} hold NaN or infinity",
        f"{amounts[0].upper()}{amounts[1:]} of the sampled training examples hold a value that is "
        "not finite.",
        "Fill or drop missing values, and look for divisions by a deviation of 0.",
        (),
        {"fraction": program.nonfinite_inputs, "targets": program.nonfinite_targets},
        bars("fraction of examples", found),
        "high",
    )


@rule("targets-are-inputs", needs=(PROGRAM,), severities=("serious",))
def targets_are_inputs(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """A language model's targets are its inputs: it learns to copy the token that it sees."""
    program = watched(evidence)
    # Of values it is an autoencoder.
    if not (program.targets_are_inputs and program.tokens) or program.shifts_targets:
        return None
    if program.shifts_targets is None:
        return Abstention(
            "the targets equal the inputs, and the loss could not be computed again: whether the "
            "model shifts the targets itself, as Hugging Face's do, is not known"
        )
    return Finding(
        "targets-are-inputs",
        "serious",
        "the targets are the inputs themselves",
        "Inputs are token ids, and the targets of 100% of the sampled training examples equal "
        "them: copying each token solves the task.",
        "Shift the targets by one token, inputs[:, :-1] and targets[:, 1:], so that the next "
        "token is predicted.",
        (),
        {"equal": 1},
        bars("fraction of examples", {"targets equal inputs": 1.0}),
        "high",
    )


@rule("target-leakage", needs=(PROGRAM,), severities=("warning", "note"))
def target_leakage(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """One input column gives the target away, and all others together do not."""
    found = watched(evidence).leak
    if found is None or found.others > limits.other_columns:
        return None
    what = "position" if found.tokens else "column"
    several = len(found.columns) > 1
    named = f"{what}{'s' if several else ''} {listed([str(c) for c in found.columns])}"
    target, score = ("class", "accuracy") if found.classes else ("target", "R²")
    others = f"{found.others:.1%}" if found.classes else f"{found.others:.2f}"
    held = (
        f"{'hold' if several else 'holds'} the {target} in another form"
        if found.copies
        else f"{'predict' if several else 'predicts'} the {target} without the others"
    )
    return Finding(
        "target-leakage",
        # A threshold or a curve of one column may be the task; a copy hardly is.
        "warning" if found.copies else "note",
        f"input {named} {'give' if several else 'gives'} the target away",
        f"In {found.examples:,} sampled training examples, input {named} (from 0, of "
        f"{found.inputs:,}) {held}. The baseline (kernel ridge regression, leave-one-out) reaches "
        f"an {score} of {others} on all others.",
        "Look at what it is: the target itself, or something known only after it, such as a "
        "result, a total or a code given later. Then leave it out. If it is known when predictions "
        "are made, it alone solves the task.",
        (),
        {"column": found.columns[0], "columns": len(found.columns), "others": found.others,
         "alone": found.alone},
        bars(score, {named: 1.0, "all others": found.others}, limits.other_columns),
        "medium" if found.copies else "low",
    )  # fmt: skip


@rule("data-not-shuffled", needs=(PROGRAM,), severities=("serious", "warning"))
def data_not_shuffled(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Examples come in the order of their classes, or in the same order in each epoch."""
    program = watched(evidence)
    runs = program.class_runs
    sorted_by_class = runs is not None and runs > limits.class_runs
    if not sorted_by_class and not program.repeated_order:
        return None
    order = (
        f"neighbouring examples have equal labels {runs:.1f} times as often as in random order"
        if sorted_by_class
        else "at least 2 epochs had the same batches in the same order"
    )
    return Finding(
        "data-not-shuffled",
        "serious" if sorted_by_class else "warning",
        "training data are not shuffled",
        f"In the training batches {order}.",
        "Use DataLoader(shuffle=True), or a new random permutation in each epoch.",
        (),
        {"runs": runs, "repeated_order": int(program.repeated_order)},
        bars("equal neighbours / random order", {"training": runs or 1.0, "random": 1.0},
             limits.class_runs if sorted_by_class else None),
        "high",
    )  # fmt: skip


@rule("no-validation", needs=(PROGRAM,), severities=("note",))
def no_validation(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Nothing was evaluated on data that the network was not trained on."""
    program = watched(evidence)
    if program.evaluations or program.steps < limits.unvalidated_steps:
        return None
    return Finding(
        "no-validation",
        "note",  # a loop may validate elsewhere, or only at its end
        "the training has no validation",
        f"In {program.steps:,} steps there were {program.evaluations} evaluations: overfitting "
        "would not be seen.",
        "Hold out a tenth to a fifth of the data, and call watch.validate(model, inputs, targets) "
        "once an epoch.",
        (),
        {"evaluations": 0, "steps": program.steps},
        bars("count", {"steps": program.steps, "evaluations": 0}),
        "low",
    )


@rule("preprocessing-differs", needs=(PROGRAM,), severities=("serious",))
def preprocessing_differs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Validation inputs have another mean or scale than training inputs."""
    program = watched(evidence)
    if program.input_shift is None:
        return None
    scale = max(program.input_scale, 1e-12)
    # Either way: half the deviation is as far off as twice.
    ratio = max(scale, 1 / scale)
    if program.input_shift < limits.input_shift and ratio < limits.input_ratio:
        return None
    title = "training and validation are preprocessed differently"
    remedy = "Apply the same normalisation, with the training data's mean and deviation, to both."
    if program.augmented:
        title = "augmented training inputs are unlike those of validation"
        remedy = (
            "Training inputs change from epoch to epoch: check how strong the augmentation is, and "
            "that both splits are normalised alike."
        )
    elif ratio < limits.input_ratio and program.columns:
        remedy += (
            " If they are, validation lies elsewhere: of a series with a trend, use differences."
        )
    return Finding(
        "preprocessing-differs",
        "serious",
        title,
        f"The mean of the validation inputs is {program.input_shift:.2g} deviations from that of "
        f"the training inputs, and their deviation {program.input_scale:.2g} times as large.",
        remedy,
        (),
        {"shift": program.input_shift, "scale": program.input_scale},
        bars("validation beside training", {"shift of the mean": program.input_shift,
                                            "scale": program.input_scale}),
        "medium" if program.augmented else "high",
    )  # fmt: skip


@rule("augmented-validation", needs=(PROGRAM,))
def augmented_validation(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The same validation examples look different in each epoch."""
    program = watched(evidence)
    if not program.varying_validation:
        return None
    return Finding(
        "augmented-validation",
        "warning",
        "validation data are augmented at random",
        f"In {program.validations} validations the inputs changed from epoch to epoch while their "
        "targets stayed the same.",
        "Use a transform without random operations for validation.",
        (),
        {"validations": program.validations},
        bars("validations", {"made": program.validations}),
        "high",
    )


@rule(
    "accuracy-misleads",
    needs=(PROGRAM, VALIDATION_PREDICTIONS, NAMED_CLASSES),
    explained_by=LEARNS_NOTHING | {"class-imbalance", "class-weights-reversed"},
)
def accuracy_misleads(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """One class is so common that accuracy hides how badly the others are found."""
    held = evidence.validation
    assert held.probs_nk is not None  # noqa: S101 - required
    counts = np.bincount(held.y_true_n)
    common = float(counts.max() / max(1, counts.sum()))
    right = float((held.probs_nk.argmax(axis=1) == held.y_true_n).mean())
    balanced = mean_recall(held.y_true_n, held.probs_nk)
    rare = int(counts[counts > 0].min())
    if common < limits.common_class or right - balanced < limits.accuracy_gap or rare < MIN_PAIR:
        return None
    return Finding(
        "accuracy-misleads",
        "warning",
        "accuracy hides rare classes",
        f"Accuracy on validation is {right:.1%}, the mean recall of the classes {balanced:.1%}; "
        f"always predicting the most common class reaches {common:.1%}.",
        "Report balanced accuracy or F1, and weight the loss (CrossEntropyLoss(weight=...), "
        "BCEWithLogitsLoss(pos_weight=...)) or sample the classes equally.",
        (),
        {"accuracy": right, "balanced_accuracy": balanced, "most_common": common},
        bars("on validation", {"accuracy": right, "mean recall": balanced, "most common": common}),
    )


@rule(
    "class-confusion",
    needs=(PROGRAM, VALIDATION_PREDICTIONS, NAMED_CLASSES),
    explained_by=LEARNS_NOTHING
    | {
        "class-imbalance",
        "class-weights-reversed",
        "label-encoding",
        "underfitting",
        "domain-shift",
    },
)
def class_confusion(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """One class is mostly taken for one other, while the rest are found."""
    held, labels = evidence.validation, evidence.recipe.predicted_labels
    assert held.probs_nk is not None  # noqa: S101 - required
    k = held.probs_nk.shape[1]
    if k < 3:
        return None
    table = np.zeros((k, k))
    np.add.at(table, (held.y_true_n, held.probs_nk.argmax(axis=1)), 1)
    counts = table.sum(axis=1)
    # A class without an image counts as found: it must not pull the others' median down.
    recalls = np.divide(table.diagonal(), counts, out=np.ones(k), where=counts > 0)
    np.fill_diagonal(table, 0)
    rates = table / np.maximum(counts, 1)[:, None]
    i, j = np.unravel_index(int(rates.argmax()), rates.shape)
    # The lower bound, so that a few confusions in a small class do not count.
    low = wilson(float(table[i, j]), int(counts[i])).low if counts[i] else 0.0
    others = float(np.median(np.delete(recalls, i)))
    # Where most classes are found badly, it is no matter of these two.
    found = max(limits.confusion + recalls[i], limits.other_recall)
    if counts[i] < MIN_PAIR or low < limits.confusion or others < found:
        return None
    return Finding(
        "class-confusion",
        "warning",
        f"{labels[i]} is taken for {labels[j]}",
        f"{rates[i, j]:.0%} of the {int(counts[i])} validation examples of {labels[i]} are "
        f"predicted as {labels[j]}; the other classes have a median recall of {others:.0%}.",
        f"{_flips(evidence)}Look at the labels of these two classes: they may be exchanged or "
        "merged (confident learning, as cleanlab.filter.find_label_issues does it, lists the "
        "labels that cross-validated predictions contradict). Otherwise weight the loss by class, "
        "or add examples of both.",
        (),
        {"from": labels[i], "to": labels[j], "rate": float(rates[i, j]), "n": int(counts[i])},
        Plot("bars", "recall on validation", labels, {"recall": [float(r) for r in recalls]},
             xlabel=""),
    )  # fmt: skip


def _flips(evidence: Evidence) -> str:
    """Return what was seen of random flips or of another augmentation, a sentence before others."""
    program = watched(evidence)
    mirrored = program.causes.mirrored
    if mirrored is not None:
        return (
            f"Training flips images {mirrored.direction} ({mirrored.count} of {mirrored.images} "
            "examples of the second epoch): leave that out if it turns one class into the other. "
        )
    if program.augmented:
        return (
            "Training inputs change from epoch to epoch: check that the augmentation does not turn "
            "one class into the other. "
        )
    return ""


@rule(
    "validation-loss-rises",
    needs=(PROGRAM,),
    explained_by=LEARNS_NOTHING | {"overfitting", "preprocessing-differs", "domain-shift"},
)
def validation_loss_rises(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Validation loss has left its minimum while training loss falls: overfitting."""
    program = watched(evidence)
    losses = [m.validation_loss for m in evidence.history if math.isfinite(m.validation_loss)]
    # Classification has the rule 'overfitting', which compares accuracies.
    if program.kind != "regression" or len(losses) < 5:
        return None
    best = int(np.argmin(losses))
    if losses[best] <= 0:
        return None  # a log-likelihood, of which ratios say nothing
    # The median of three, so that one bad validation at the end is no rise.
    rise = float(np.median(losses[-3:])) / max(losses[best], 1e-12)
    last = evidence.history[-1].loss
    if rise < limits.validation_rise or not last < 0.7 * losses[-1]:
        return None
    # Near 0 a loss doubles by chance: 2% of a constant prediction's loss are 0.02 of R².
    if math.isfinite(evidence.chance) and losses[-1] - losses[best] < 0.02 * evidence.chance:
        return None
    return Finding(
        "validation-loss-rises",
        "warning",
        "the network overfits: validation loss rises",
        f"Validation loss was lowest at validation {best + 1} of {len(losses)} "
        f"({losses[best]:.3g}) and ended {rise:.2f} times as high; training loss is {last:.3g}.",
        "Stop at the lowest validation loss, use weight decay or dropout, a smaller network, or "
        "more data.",
        (),
        {"rise": rise, "best": best + 1},
        Plot("lines", "loss", [float(m.epoch) for m in evidence.history],
             {"training": [m.loss for m in evidence.history], "validation": losses})
        if len(losses) == len(evidence.history)
        else bars("validation loss", {"lowest": losses[best], "last": losses[-1]}),
    )  # fmt: skip
