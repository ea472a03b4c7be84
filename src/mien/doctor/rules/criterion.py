"""Rules about a watched loop's criterion: does it fit its targets, its classes and its batches?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import Abstention, rule
from mien.doctor.rules.rates import diverged, learning_rate_too_high
from mien.evaluate.bootstrap import wilson
from mien.evaluate.evaluate import MIN_TRUSTED

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence, Predictions
    from mien.doctor.programs.measurements import ClassWeight
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds
    from mien.evaluate.bootstrap import Estimate

LOWEST, HIGHEST = -math.inf, math.inf
ALLOWED: dict[str, tuple[float, float]] = {
    "BCEWithLogitsLoss": (0, 1),
    "binary_cross_entropy_with_logits": (0, 1),
    "BCELoss": (0, 1),
    "binary_cross_entropy": (0, 1),
    "MultiLabelSoftMarginLoss": (0, 1),
    "multilabel_soft_margin_loss": (0, 1),
    "PoissonNLLLoss": (0, HIGHEST),
    "poisson_nll_loss": (0, HIGHEST),
}
"""Targets that PyTorch's losses are defined for, by class and by function."""
SIGNS = frozenset({"SoftMarginLoss", "soft_margin_loss", "HingeEmbeddingLoss",
                   "hinge_embedding_loss"})  # fmt: skip
"""Losses whose targets are -1 and 1."""


@rule("targets-out-of-range", needs=(PROGRAM,), severities=("serious",))
def targets_out_of_range(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The loss is not defined for the targets that it received."""
    program = watched(evidence)
    name, low, high = program.loss_name, program.target_low, program.target_high
    if program.outputs is None:
        return Abstention("no loss of the loop could be computed again, so what reached it is "
                          "not known")  # fmt: skip
    signs = name in SIGNS and (low, high) == (0, 1)
    allowed = (-1.0, 1.0) if signs else ALLOWED.get(name, (LOWEST, HIGHEST))
    if not signs and allowed[0] <= low and high <= allowed[1]:
        return None
    wanted = "-1 and 1" if signs else f"{allowed[0]:g} to {allowed[1]:g}"
    return Finding(
        "targets-out-of-range",
        "serious",
        "the loss is not defined for these targets",
        f"{name} received targets from {low:.3g} to {high:.3g}; it takes {wanted}. With others it "
        "has no lower bound, or its lowest value is at wrong predictions.",
        _range_remedy(program, signs=signs),
        (),
        {"low": low, "high": high, "loss": name},
        bars("target", {"lowest": low, "highest": high}, None if signs else float(allowed[0])),
        "high",
    )


def _range_remedy(program: Program, *, signs: bool) -> str:
    if signs:
        return "Give labels of 0 and 1 as 2 * y - 1, or use BCEWithLogitsLoss."
    if (program.target_low, program.target_high) == (-1, 1):
        return "Give labels of -1 and 1 as (y + 1) / 2, or use SoftMarginLoss."
    if program.loss_name.lower().startswith("poisson"):
        return "Give counts as targets, or use a loss for values of any sign, such as MSELoss."
    return (
        "Scale the targets to 0 to 1, give class indices to CrossEntropyLoss instead, or use "
        "MSELoss for values."
    )


@rule("class-weights-reversed", needs=(PROGRAM,), explained_by={"targets-out-of-range"})
def class_weights_reversed(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The criterion weights the common classes more than the rare ones."""
    found = watched(evidence).settings.weights
    slope = _slope(found, limits.count_ratio)
    if slope is None or slope < limits.weight_slope:
        return None
    most, least = max(found, key=lambda c: c.count), min(found, key=lambda c: c.count)
    return Finding(
        "class-weights-reversed",
        "warning",
        "the loss weights common classes more than rare ones",
        f"{most.name} has {most.count:,} training labels and the weight {most.weight:.3g}, "
        f"{least.name} has {least.count:,} and {least.weight:.3g}: weights grow with the counts "
        f"to the power of {slope:.2g}. Weights that balance the classes fall with them.",
        "Use the inverse: weight = counts.sum() / (len(counts) * counts) for CrossEntropyLoss, "
        "pos_weight = negatives / positives for BCEWithLogitsLoss.",
        (),
        {"slope": slope, "classes": listed([c.name for c in found])},
        bars("weight", {f"{c.name} ({c.count})": c.weight for c in found}),
        "high",
    )


def _slope(found: tuple[ClassWeight, ...], ratio: float) -> float | None:
    """Return the slope of log weight over log count; None where they are not in step."""
    counts = np.array([c.count for c in found], float)
    if len(found) < 2 or counts.max() < ratio * counts.min():
        return None
    x, y = np.log(counts), np.log([c.weight for c in found])
    # Weights of many classes may have reasons of their own; here all must follow the counts.
    if float(np.std(y)) == 0 or float(np.corrcoef(x, y)[0, 1]) < 0.8:
        return None
    return float(np.polyfit(x, y, 1)[0])


@rule(
    "class-weights-too-strong",
    needs=(PROGRAM,),
    explained_by={"targets-out-of-range", "class-weights-reversed"},
)
def class_weights_too_strong(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The criterion weights one class so much that others are taken for it."""
    found = watched(evidence).settings.weights
    if len(found) < 2:
        return None
    heavy = max(found, key=lambda c: c.weight)
    others = [c for c in found if c is not heavy]
    excess = heavy.count * heavy.weight / float(np.median([c.count * c.weight for c in others]))
    # Of equal weights none is too strong, however common a class is.
    if excess < limits.weight_excess or heavy.weight == min(c.weight for c in others):
        return None
    part, split = evidence.validation, "validation"
    recalls = _own_and_others(part, heavy.index)
    if recalls is None:
        part, split = evidence.train, "training"
        recalls = _own_and_others(part, heavy.index)
    if recalls is None or recalls[0].low - recalls[1].high < limits.recall_gap:
        return None
    own, rest = recalls
    return Finding(
        "class-weights-too-strong",
        "warning",
        f"the loss weights {heavy.name} far more than balances the classes",
        f"{heavy.name} has {heavy.count:,} of {sum(c.count for c in found):,} training labels and "
        f"the weight {heavy.weight:.3g}: its labels count {excess:.3g} times as much as those of "
        f"another class. On {split}, {own.value:.1%} of its examples are found and {rest.value:.1%}"
        " of the others.",
        f"A weight of {heavy.weight / excess:.2g} balances the classes: pos_weight = negatives / "
        "positives for BCEWithLogitsLoss, weight = counts.sum() / (len(counts) * counts) for "
        "CrossEntropyLoss. To find more of one class, move the decision threshold.",
        (),
        {"excess": excess, "weight": heavy.weight, "recall": own.value, "others": rest.value},
        bars("recall", {heavy.name: own.value, "others": rest.value}),
        "high",
    )


def _own_and_others(part: Predictions, index: int) -> tuple[Estimate, Estimate] | None:
    """Return the recalls of a class and of all others together; None where either has few."""
    if part.probs_nk is None or not len(part.y_true_n):
        return None
    own = part.y_true_n == index
    if min(own.sum(), (~own).sum()) < MIN_TRUSTED:
        return None
    right = part.probs_nk.argmax(axis=1) == part.y_true_n
    first, second = (wilson(float(right[rows].sum()), int(rows.sum())) for rows in (own, ~own))
    return first, second


@rule("label-smoothing-too-strong", needs=(PROGRAM,))
def label_smoothing_too_strong(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The criterion spreads most of each label over the other classes."""
    program = watched(evidence)
    smoothing, units = program.settings.smoothing, len(evidence.recipe.predicted_labels)
    if smoothing <= limits.label_smoothing:
        return None
    own = 1 - smoothing + smoothing / units
    return Finding(
        "label-smoothing-too-strong",
        "warning",
        "label smoothing is too strong",
        f"{program.loss_name} has label_smoothing={smoothing:g}: with {units} classes the "
        f"target's probability is {own:.2g} instead of 1, so that predictions stay near "
        f"{1 / units:.2g}.",
        "Use a label smoothing of 0.05 to 0.1, or none.",
        (),
        {"label_smoothing": smoothing, "probability": own},
        bars("label smoothing", {"here": smoothing, "usual": 0.1}, limits.label_smoothing),
        "high",
    )


@rule("loss-summed", needs=(PROGRAM,), severities=("serious",),
      explained_by={"targets-out-of-range"})  # fmt: skip
def loss_summed(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loss is the sum over the batch, and the steps are too long by the batch's size."""
    settings = watched(evidence).settings
    count = settings.targets_per_step
    # Adam's steps do not depend on the loss's scale, and a fitting rate makes the sum sound.
    if settings.reduction != "sum" or not settings.is_plain_sgd or count < limits.summed_batch:
        return None
    broke = isinstance(diverged(evidence, limits), Finding)
    if not broke and not learning_rate_too_high(evidence, limits):
        return None
    rate = max((e.lr for e in evidence.signals), default=0.0)
    return Finding(
        "loss-summed",
        "serious",
        "the loss is summed over the batch, and steps overshoot",
        f"The criterion has reduction='sum' with {count:,} targets in a batch: gradients are "
        f"{count:,} times those of the mean, and lr {rate:g} is {rate * count:.3g} for it.",
        "Leave out reduction='sum' (the default is 'mean'), or divide the learning rate by the "
        "number of targets in a batch.",
        (),
        {"targets": count, "lr": rate, "lr_of_the_mean": rate * count},
        bars("learning rate", {"set": rate, "of the mean": rate * count}),
        "high",
    )


@rule("targets-are-classes", needs=(PROGRAM,), explained_by={"diverged", "targets-broadcast"})
def targets_are_classes(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A regression predicts the numbers of classes, whose order means nothing."""
    found = watched(evidence).causes.class_like
    if found is None:
        return None
    # A network may know them in spite of the loss, and one common grade is known without any.
    others = max(found.as_values, found.network, found.commonest)
    if found.as_classes - others < limits.class_gap:
        return None
    return Finding(
        "targets-are-classes",
        "warning",
        "the targets look like classes, and the loss takes them as numbers",
        f"Targets are {found.distinct} whole numbers from {found.low:g} to {found.high:g}. On "
        f"{found.examples} training examples, left out in turn, a baseline that takes them as "
        f"classes finds {found.as_classes:.1%}, a rounded regression {found.as_values:.1%}, and "
        f"the network's rounded outputs {found.network:.1%}: they do not lie in an order.",
        f"If they are classes, give the network {found.distinct} outputs and use "
        "CrossEntropyLoss with targets of type torch.long.",
        (),
        {"classes": found.distinct, "as_classes": found.as_classes, "as_values": found.as_values},
        bars("baseline's accuracy", {"as classes": found.as_classes,
                                     "as numbers": found.as_values}),
        "medium",
    )  # fmt: skip


@rule("penalty-too-strong", needs=(PROGRAM,), explained_by={"diverged", "loss-unbounded"})
def penalty_too_strong(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A penalty on the weights in the loss pulls harder than the data."""
    program = watched(evidence)
    penalty = program.settings.penalty
    if penalty is None or penalty.ratio < limits.penalty_ratio or program.learned_well:
        return None
    kind = (
        f"The loss contains {penalty.factor:.3g} times the sum of {penalty.kind} weights"
        if penalty.kind
        else "The criterion contains a penalty on the weights"
    )
    divisor = 10 ** math.ceil(math.log10(penalty.ratio / limits.usual_penalty))
    return Finding(
        "penalty-too-strong",
        "warning",
        "a penalty on the weights is too strong",
        f"{kind}. Its gradient was {penalty.ratio:.2g} times as long as that of the rest of the "
        f"loss (median of the first {penalty.steps} measured steps), and the weights ended at "
        f"{program.settings.shrinkage:.2g} of their initial size.",
        f"Divide the penalty's factor by about {divisor:,}, or leave the penalty out.",
        (),
        {"ratio": penalty.ratio, "factor": penalty.factor, "divisor": divisor,
         "shrinkage": program.settings.shrinkage},
        bars("gradient", {"penalty / rest of the loss": penalty.ratio}, limits.penalty_ratio),
        "high" if program.settings.shrinkage < limits.shrinkage else "medium",
    )  # fmt: skip
