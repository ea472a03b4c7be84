"""Rules about the data: are inputs, labels and splits sound?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    beside_constant,
    confident_disagreements,
    confident_error,
    learned_well,
    mean_recall,
    newcombe_difference,
)
from mien.doctor.finding import Finding
from mien.doctor.plots import (
    baseline_plot,
    brightness_plot,
    disagreement_plot,
    duplicates_plot,
)
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import (
    BASELINE,
    BASELINE_OF_EACH,
    DUPLICATE_SEARCH,
    PIXELS,
    SPLIT_COMPARISON,
)
from mien.doctor.rule import LEARNS_NOTHING, Abstention, rule
from mien.doctor.rules.unrelated import unrelated_parts, unrelated_values
from mien.evaluate.bootstrap import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.doctor.evidence import Evidence, Predictions
    from mien.doctor.programs.measurements import Column
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds
    from mien.evaluate.bootstrap import Estimate

MAX_BLANK = 0.05
"""Fraction of images without contrast above which the data are damaged."""
PIXEL_STD = (0.15, 6.0)
"""Standard deviations of the normalised pixels that a network learns from without trouble."""
MIN_DISTINCT = 0.5
"""Fraction of the inputs that must differ for labels to be judged by them."""
MIN_RARE = 30
"""Examples of a class below which a baseline predicts a far more common one instead."""
HARDNESS = 0.55
"""Confident predictions must contradict their labels at this fraction of the overall error rate
or more for the labels to be at fault; below it the task is hard, or the baseline weak."""


@rule("invalid-inputs", needs=(PIXELS,), severities=("serious",))
def invalid_inputs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network's inputs are constant, or far from zero mean and unit deviation."""
    train = evidence.pixels["train"]
    if train.blank_fraction > MAX_BLANK:
        return Finding(
            "invalid-inputs",
            "serious",
            "images are blank",
            f"{train.blank_fraction:.0%} of the sampled training images have no contrast.",
            "Look at them with mien data show; remove them with mien data audit.",
            (),
            {"blank_fraction": train.blank_fraction},
            brightness_plot(evidence),
        )
    # Programs of others may scale their inputs otherwise than mien does.
    low, high = PIXEL_STD if evidence.program is None else limits.input_std
    if learned_well(evidence):
        return None
    columns = () if evidence.program is None else evidence.program.columns
    widest = max((c.std for c in columns), default=0.0)
    # The typical column has the usual scale, and all others vanish beside the widest.
    outweighs = widest > max(high, limits.column_ratio * train.std)
    if low < train.std < high and abs(train.mean) < 3 * max(train.std, 1.0) and not outweighs:
        return None
    return Finding(
        "invalid-inputs",
        "serious",
        "the inputs are not normalised",
        f"{_scales(columns)}; networks learn best from mean 0 and deviation 1."
        if columns
        else f"After normalisation the pixels have mean {train.mean:.3g} and standard deviation "
        f"{train.std:.3g}; networks learn best from mean 0 and deviation 1.",
        "Normalise, and check that the pixels use the range 0 to 255.",
        ("network.normalise=image",),
        {
            "mean": train.mean,
            "std": train.std,
            "constants": sum(c.constant_fraction > 0 for c in columns),
        },
        brightness_plot(evidence),
    )


def _scales(columns: Sequence[Column]) -> str:
    """Return the scales of a table's columns, and a constant that may stand for missing values."""
    missing = max(columns, key=lambda c: c.constant_fraction)
    worst = missing if missing.constant_fraction else max(columns, key=lambda c: c.std)
    spreads = [c.std for c in columns]
    text = (
        f"Column {worst.index} has values from {worst.low:.4g} to {worst.high:.4g}, mean "
        f"{worst.mean:.3g}, deviation {worst.std:.3g}; the deviations of the {len(columns):,} "
        f"columns lie between {min(spreads):.3g} and {max(spreads):.3g}"
    )
    if not missing.constant_fraction:
        return text
    several = sum(c.constant == missing.constant and c.constant_fraction > 0 for c in columns)
    return (
        f"{missing.constant_fraction:.1%} of the values of column {missing.index} are exactly "
        f"{missing.constant:g}, far from all others, as where that stands for a missing value "
        f"({several:,} such columns). {text}"
    )


@rule(
    "shuffled-labels",
    needs=(BASELINE_OF_EACH,),
    severities=("serious",),
    explained_by={
        "preprocessing-differs",
        "tokens-unknown",
        "reads-padding",
        "order-ignored",
        "positions-mixed",
        "masks-misaligned",
        "class-weights-too-strong",
    },
    follows={"invalid-inputs"},
)
def shuffled_labels(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Labels are unrelated to the images, in training or in validation."""
    if evidence.program is not None and evidence.program.kind == "regression":
        return unrelated_values(evidence.program)
    train, validation = evidence.train, evidence.validation
    # Of the mean recall, which one constant label brings to 1 / k whatever the class counts are.
    chance = 1 / train.baseline_nk.shape[1]
    in_train = mean_recall(train.y_true_n, beside_constant(train.baseline_nk, train))
    in_validation, network = (
        None if s is None else mean_recall(validation.y_true_n, beside_constant(s, validation))
        for s in (validation.baseline_nk, validation.probs_nk)
    )
    assert in_validation is not None  # noqa: S101 - required
    # 1.3 times the half width of a binomial's interval: the recalls of rare classes vary more.
    slack = 1.96 * float(np.sqrt(chance * (1 - chance) / max(1, len(train.y_true_n)))) * 1.3
    # An interval's width grows with the root of how many images fewer there are.
    wider = slack * float(np.sqrt(len(train.y_true_n) / max(1, len(validation.y_true_n))))
    train_shuffled = in_train < chance + slack
    if evidence.program is not None and network is not None:
        # The baseline may not suit a watched loop's inputs; the network must fail as well.
        train_shuffled = train_shuffled and network < chance + 2 * wider
    # Few images have a low recall by chance: it must also be surely below that of training.
    validation_shuffled = (
        in_validation < chance + wider
        and in_validation + wider < in_train
        and (network is None or network < chance + wider)
    )
    if not (train_shuffled or validation_shuffled):
        return None
    program = evidence.program
    # The images differ, or validation labels are off by one, which `label-encoding` says.
    explained = evidence.domain_shift_auc > limits.domain_shift_auc or (
        program is not None and bool(program.label_offset or program.label_mapping)
    )
    if not train_shuffled and explained:
        return None
    unknowable = _unknowable(evidence)
    if unknowable:
        return Abstention(unknowable)
    where = "training" if train_shuffled else "validation"
    if program is not None and (program.tokens or program.each > 1):
        recalls = in_train, in_validation, chance
        return unrelated_parts(evidence, where, recalls, positions=program.each > 1)
    return Finding(
        "shuffled-labels",
        "serious",
        f"the labels of {where} are unrelated to its images",
        f"The baseline (HOG features and ridge regression, leave-one-out) reaches a mean recall "
        f"of {in_train:.1%} on training and {in_validation:.1%} on validation; chance level is "
        f"{chance:.1%}.",
        "Check that images and labels are joined in the right order; mien data show DIR shows "
        "images of each label.",
        (),
        {"training": in_train, "validation": in_validation, "chance": chance},
        baseline_plot(evidence),
    )


def _unknowable(evidence: Evidence) -> str:
    """Return why a watched loop's baseline could not know the labels, whatever they are; or ''."""
    program, counts = evidence.program, np.bincount(evidence.train.y_true_n)
    if program is None:
        return ""
    if program.distinct_inputs < MIN_DISTINCT:
        return (
            f"only {program.distinct_inputs:.0%} of the inputs differ from each other: they do not "
            "tell the labels apart"
        )
    rarest, commonest = int(counts[counts > 0].min()), int(counts.max())
    if rarest < MIN_RARE and commonest > 4 * rarest:
        return f"the rarest class has {rarest:,} of the {counts.sum():,} examples of the baseline"
    return ""


@rule(
    "data-leakage",
    needs=(DUPLICATE_SEARCH,),
    severities=("serious",),
    explained_by={"tokens-unknown"},
)
def data_leakage(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Images or subjects of validation are in training too."""
    fraction, n = evidence.duplicates
    count = round(fraction * n)
    # Known subjects are proof; duplicates are an estimate from a sample.
    if evidence.shared_subjects:
        return Finding(
            "data-leakage",
            "serious",
            "the same subjects are in training and in validation",
            f"{evidence.shared_subjects} subjects are in both splits.",
            "Split by subject: mien data import SOURCE OUT on a list without a split column keeps "
            "each subject in one split.",
            (),
            {"subjects": evidence.shared_subjects},
        )
    interval = wilson(count, n)
    if (
        # A single duplicate in a sample may be chance.
        count < 2
        or interval.low < limits.duplicate_fraction / 2
        or fraction < limits.duplicate_fraction
    ):
        return None
    return Finding(
        "data-leakage",
        "serious",
        "validation images are in training too",
        f"{count} of {n} sampled validation images have a duplicate in training (95% interval "
        f"{interval.low:.1%} to {interval.high:.1%}): the validation accuracy measures "
        "memorisation.",
        "Import the collection with mien data import, which keeps duplicates in one split; "
        "mien data audit lists them.",
        (),
        {"fraction": fraction, "n": n},
        duplicates_plot(count, n),
    )


@rule(
    "domain-shift",
    needs=(SPLIT_COMPARISON,),
    severities=("serious",),
    explained_by={"preprocessing-differs", "few-examples"},
)
def domain_shift(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Validation images look different from training images."""
    if evidence.domain_shift_auc < limits.domain_shift_auc:
        return None
    program = evidence.program
    if program is not None and program.augmented:
        return Abstention("training inputs change from epoch to epoch, as by augmentation")
    parts = [evidence.pixels[split] for split in ("train", "validation")]
    brightness = [part.brightness_n.mean() for part in parts]
    contrast = [part.contrast_n.mean() for part in parts]
    names = ("Mean brightness", "mean contrast")
    if program is not None and not program.images:
        names = ("The mean of an example's inputs", "their deviation")
    return Finding(
        "domain-shift",
        "serious",
        "validation images do not look like training images",
        f"A linear classifier tells which split an image is from with an AUC of "
        f"{evidence.domain_shift_auc:.2f} (chance level is 0.5). {names[0]} is "
        f"{brightness[0]:.3g} in training and {brightness[1]:.3g} in validation, {names[1]} "
        f"{contrast[0]:.3g} and {contrast[1]:.3g}.",
        "Take the validation split from the same collection, cropped and stored in the same way.",
        ("network.normalise=image",),
        {"auc": evidence.domain_shift_auc},
        brightness_plot(evidence),
    )


@rule(
    "label-noise",
    needs=(BASELINE,),
    explained_by=LEARNS_NOTHING
    | {"domain-shift", "data-leakage", "class-imbalance", "label-encoding"},
)
def label_noise(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """Confident predictions contradict the labels too often for the labels to be right."""
    # Raters who disagree are no wrong labels.
    if evidence.recipe.targets.kind == "votes":
        return Abstention("the targets are rater votes, which carry their own uncertainty")
    program = evidence.program
    if program is not None and program.contradictory > limits.contradictory:
        return _contradictory(program, evidence.recipe.predicted_labels, limits)
    train, validation = evidence.train, evidence.validation
    in_train = confident_error(train.y_true_n, train.baseline_nk)
    in_validation = confident_error(validation.y_true_n, validation.baseline_nk)
    # Noise in training alone: the task is equally hard in both splits, so the errors should agree.
    only_training = newcombe_difference(in_train, in_validation)
    if evidence.program is not None:
        only_training = max(only_training, _left_out_gap(train, validation), key=lambda d: d.low)
    pooled = _pooled_disagreement([train, validation])
    both = pooled is not None and pooled.low > limits.confident_error
    if validation.probs_nk is not None:
        # A weak baseline is wrong even when confident; a network that is not clears the labels.
        network = confident_error(validation.y_true_n, validation.probs_nk)
        both = both and network.value > limits.confident_error
    if pooled is not None and program is not None:
        # Of few examples the interval decides: a weak baseline is wrong when it is confident, too.
        both = both and pooled.low > HARDNESS * _miss_rate([train, validation])
    if pooled is None or (not both and only_training.low < limits.confident_error / 2):
        return None
    fraction = pooled.value if both else only_training.value
    where = "the labels" if both else "the training labels"
    figures = (
        f"{pooled.value:.1%} (95% interval {pooled.low:.1%} to {pooled.high:.1%})"
        if both
        else f"{in_train.value:.1%} in training and {in_validation.value:.1%} in validation"
    )
    return Finding(
        "label-noise",
        "warning",
        f"about {fraction:.0%} of {where} look wrong",
        f"Of the most confident tenth of the baseline's leave-one-out predictions, {figures} "
        "contradict their label.",
        "Look at them with mien data audit, learn from several raters' votes, or smooth the "
        "labels.",
        ("loss.label_smoothing=0.1",),
        {"fraction": fraction, "training": in_train.value, "validation": in_validation.value},
        disagreement_plot(evidence, limits.confident_error),
        # Counts of tokens may not be what the labels depend on.
        "low" if program is not None and program.tokens else "medium",
    )


def _contradictory(program: Program, labels: tuple[str, ...], limits: Thresholds) -> Finding:
    fraction = program.contradictory
    kept, copied = (labels[k] for k in program.copied) if program.copied else (None, None)
    return Finding(
        "label-noise",
        "warning",
        "equal training images have different labels",
        f"{fraction:.1%} of the sampled training images occur a second time with another label: "
        "one of the labels is wrong, or the images lack what would tell the classes apart.",
        "Look at the duplicates, and keep one label each.",
        (),
        {"contradictory": fraction, "kept": kept, "copied_as": copied},
        bars("fraction", {"with several labels": fraction}, limits.contradictory),
    )


def _left_out_gap(train: Predictions, validation: Predictions) -> Estimate:
    """Return the baseline's leave-one-out error on training minus its error on validation.

    Both are errors on examples that it was not fitted on: equal, unless the labels differ. A
    watched loop's samples are small, so all predictions count, not the confident tenth only.
    """
    errors = [
        wilson(float((p.baseline_nk.argmax(axis=1) != p.y_true_n).sum()), len(p.y_true_n))
        for p in (train, validation)
    ]
    return newcombe_difference(errors[0], errors[1])


def _pooled_disagreement(parts: list[Predictions]) -> Estimate | None:
    """Return how often the baseline's most confident tenths contradict their labels.

    None where its other predictions are wrong far more often: then the task is hard, or the
    baseline is weak, and the labels are not at fault.
    """
    counts = np.array([confident_disagreements(p.y_true_n, p.baseline_nk) for p in parts])
    wrong, n = counts.sum(axis=0).tolist()
    pooled = wilson(wrong, n)
    return pooled if pooled.value > HARDNESS * _miss_rate(parts) else None


def _miss_rate(parts: list[Predictions]) -> float:
    misses = [(p.baseline_nk.argmax(axis=1) != p.y_true_n) for p in parts]
    return float(np.concatenate(misses).mean())
