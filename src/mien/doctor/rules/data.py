"""Rules about the data: can anything be learnt, and graded, from it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import confident_contradictions, confident_error, difference
from mien.doctor.finding import Finding, Plot
from mien.doctor.plots import (
    contradiction_plot,
    copies_plot,
    looks_plot,
    opinions_plot,
    width_plot,
)
from mien.evaluate.bootstrap import wilson
from mien.evaluate.evaluate import TRUSTED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.evidence import Answers, Evidence
    from mien.doctor.thresholds import Thresholds
    from mien.evaluate.bootstrap import Estimate


def leak(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Images or people of validation are in training too."""
    share, n = evidence.copied
    count = round(share * n)
    if evidence.shared_subjects:
        return Finding(
            "leak",
            "serious",
            "the same people are in training and in validation",
            f"{evidence.shared_subjects} subjects are in both.",
            "Split by subject: mien data import SOURCE OUT on a list without a split column keeps "
            "each subject on one side.",
            (),
            {"subjects": evidence.shared_subjects},
        )
    if count < 2 or wilson(count, n).low < limits.copied / 2 or share < limits.copied:
        return None
    return Finding(
        "leak",
        "serious",
        "validation images are in training too",
        f"{count} of {n} validation images that were looked at have a copy in training "
        f"(95% interval {wilson(count, n).low:.1%} to {wilson(count, n).high:.1%}): the validation "
        "accuracy tells memory.",
        "Import the collection with mien data import, which keeps copies on one side; "
        "mien data audit lists them.",
        (),
        {"share": share, "n": n},
        copies_plot(count, n),
    )


def labels_shuffled(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Labels have nothing to do with the images, in training or in validation."""
    train, validation = evidence.train, evidence.validation
    by_chance = 1 / train.opinion_nk.shape[1]
    own = _balanced_accuracy(train.y_true_n, train.opinion_nk)
    other = _balanced_accuracy(validation.y_true_n, validation.opinion_nk)
    network = (
        None
        if validation.probs_nk is None
        else _balanced_accuracy(validation.y_true_n, validation.probs_nk)
    )
    slack = 1.96 * float(np.sqrt(by_chance * (1 - by_chance) / max(1, len(train.y_true_n)))) * 1.3
    slack_other = slack * float(np.sqrt(len(train.y_true_n) / max(1, len(validation.y_true_n))))
    in_training = own < by_chance + slack
    in_validation = other < by_chance + slack_other and (
        network is None or network < by_chance + slack_other
    )
    if not (in_training or in_validation):
        return None
    if not in_training and evidence.apart > limits.apart:
        return None  # the images differ, which explains it
    where = "training" if in_training else "validation"
    return Finding(
        "labels-shuffled",
        "serious",
        f"the labels of {where} have nothing to do with its images",
        f"A plain method, each image left out of the fit that judges it, reaches a balanced "
        f"accuracy of {own:.1%} on training and {other:.1%} on validation; guessing has "
        f"{by_chance:.1%}.",
        "Check that images and labels are joined in the right order; mien data show DIR draws "
        "images of each label.",
        (),
        {"training": own, "validation": other, "chance": by_chance},
        opinions_plot(evidence),
    )


def label_noise(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Confident answers contradict labels too often for the labels to be right."""
    if evidence.recipe.targets.kind == "votes":
        return None  # the votes carry their own doubt
    train, validation = evidence.train, evidence.validation
    left_out = confident_error(train.y_true_n, train.opinion_nk)
    other = confident_error(validation.y_true_n, validation.opinion_nk)
    only_training = difference(left_out, other)
    pooled = _pooled_contradictions([train, validation])
    both = pooled is not None and pooled.low > limits.confident_error
    if validation.probs_nk is not None:
        # A weak method is wrong when it is sure, too; a network that is not clears the labels.
        network = confident_error(validation.y_true_n, validation.probs_nk)
        both = both and network.value > limits.confident_error
    if pooled is None or (not both and only_training.low < limits.confident_error / 2):
        return None
    share = pooled.value if both else only_training.value
    where = "the labels" if both else "the training labels"
    figures = (
        f"{pooled.value:.1%} ({pooled.low:.1%} to {pooled.high:.1%})"
        if both
        else f"{left_out.value:.1%} in training against {other.value:.1%} in validation"
    )
    return Finding(
        "label-noise",
        "warning",
        f"about {share:.0%} of {where} look wrong",
        f"Of the tenth of the images that a plain method answers most confidently, without "
        f"having learnt from them, {figures} contradict their label.",
        "Look at them with mien data audit, learn from several raters' votes, or soften the "
        "labels.",
        ("loss.label_smoothing=0.1",),
        {"share": share, "training": left_out.value, "validation": other.value},
        contradiction_plot(evidence, limits.confident_error),
    )


def _pooled_contradictions(parts: list[Answers]) -> Estimate | None:
    """Return how often the reference's surest tenths contradict their label.

    None where its other answers are wrong far more often: then it is the task that is hard, or
    the reference that is weak, and not the labels that are wrong.
    """
    counts = np.array([confident_contradictions(a.y_true_n, a.opinion_nk) for a in parts])
    wrong, n = counts.sum(axis=0).tolist()
    misses = [(a.opinion_nk.argmax(axis=1) != a.y_true_n) for a in parts]
    pooled = wilson(wrong, n)
    return pooled if pooled.value > 0.55 * float(np.concatenate(misses).mean()) else None


def class_imbalance(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Some answered classes are rare in training, and nothing makes up for it."""
    labels = evidence.recipe.answer_labels
    mass = evidence.mass_k[: len(labels)]
    rarest, commonest = int(mass.argmin()), int(mass.argmax())
    ratio = float(mass[commonest] / max(mass[rarest], 1e-9))
    if ratio < limits.imbalance or evidence.recipe.loss.class_weights != "none":
        return None
    recalls = _recalls(evidence)
    if recalls is not None and mass[rarest] > 0:
        low, high = recalls[rarest], recalls[commonest]
        if low is not None and high is not None and low > high - 0.05:
            return None  # rare, and learnt all the same
    seen = "" if recalls is None or recalls[rarest] is None else (
        f"; on validation {recalls[rarest]:.0%} of them are found"
    )  # fmt: skip
    missing = mass[rarest] == 0
    return Finding(
        "class-imbalance",
        "serious" if missing else "warning",
        f"{labels[rarest]} is {'missing from' if missing else 'rare in'} training, and nothing "
        "makes up for it",
        f"Training holds {mass[rarest]:,.0f} of {labels[rarest]} and {mass[commonest]:,.0f} of "
        f"{labels[commonest]}{seen}.",
        "Add images of it to the source of mien data import."
        if missing
        else "Add images of it, or let rare classes weigh more.",
        () if missing else ("loss.class_weights=balanced",),
        {"ratio": None if missing else ratio, "class": labels[rarest]},
        Plot("bars", "training images", labels, {"images": [float(m) for m in mass]},
             xlabel=""),
    )  # fmt: skip


def class_ignored(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network never gives one of its answers, though validation asks for it."""
    labels, recalls = evidence.recipe.answer_labels, _recalls(evidence)
    counts = np.bincount(evidence.validation.y_true_n, minlength=len(labels))
    if recalls is None:
        return None
    missed = [
        k for k, r in enumerate(recalls) if r is not None and r < limits.ignored and counts[k] >= 20
    ]
    if not missed:
        return None
    worst = min(missed, key=lambda k: recalls[k] or 0.0)
    return Finding(
        "class-ignored",
        "warning",
        f"the network hardly ever answers {' or '.join(labels[k] for k in missed)}",
        f"Of {counts[worst]} validation images of {labels[worst]} it finds {recalls[worst]:.0%}; "
        f"training holds {evidence.mass_k[worst]:,.0f} of them among "
        f"{float(evidence.mass_k[: len(labels)].sum()):,.0f}.",
        "Let rare classes weigh more, train longer, or check that class's labels with mien data "
        "audit.",
        ("loss.class_weights=balanced",) if evidence.recipe.loss.class_weights == "none" else (),
        {"class": labels[worst], "recall": recalls[worst], "n": int(counts[worst])},
        Plot("bars", "share found in validation", labels, {"recall": recalls}, limit=limits.ignored,
             xlabel=""),
    )  # fmt: skip


def inputs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network's inputs are constant, or far from zero mean and unit deviation."""
    seen = evidence.inputs["train"]
    if seen.blank > 0.05:
        return Finding(
            "inputs",
            "serious",
            "images are blank",
            f"{seen.blank:.0%} of the training images that were looked at have no contrast.",
            "Look at them with mien data show; remove them with mien data audit.",
            (),
            {"blank": seen.blank},
            looks_plot(evidence),
        )
    low, high = 0.15, 6.0
    if low < seen.std < high and abs(seen.mean) < 3 * max(seen.std, 1.0):
        return None
    return Finding(
        "inputs",
        "serious",
        "the inputs are scaled wrongly",
        f"After normalisation the pixels have mean {seen.mean:.3g} and deviation {seen.std:.3g}; "
        "0 and 1 are what networks learn best from.",
        "Normalise, and check that the images use the range 0 to 255.",
        ("network.normalise=image",),
        {"mean": seen.mean, "std": seen.std},
        looks_plot(evidence),
    )


def validation_differs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Validation images look different from training ones."""
    if evidence.apart < limits.apart:
        return None
    means = [evidence.inputs[s].brightness_n.mean() for s in ("train", "validation")]
    contrasts = [evidence.inputs[s].contrast_n.mean() for s in ("train", "validation")]
    return Finding(
        "validation-differs",
        "serious",
        "validation images do not look like training ones",
        f"A plain method tells them apart with an area under the curve of {evidence.apart:.2f} "
        f"(0.5 is not at all); brightness {means[0]:.0f} against {means[1]:.0f}, contrast "
        f"{contrasts[0]:.0f} against {contrasts[1]:.0f}.",
        "Hold validation out of the same collection, cropped and stored in the same way.",
        ("network.normalise=image",),
        {"area": evidence.apart},
        looks_plot(evidence),
    )


def validation_too_small(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The interval of the validation accuracy is too wide to tell anything."""
    n = len(evidence.validation.y_true_n)
    if evidence.history:
        n = evidence.history[-1].validation_n
    share = evidence.history[-1].validation_accuracy if evidence.history else 0.5
    interval = wilson(share * n, n)
    half = (interval.high - interval.low) / 2
    if half < limits.half_width:
        return None
    wanted = int(np.ceil(0.25 * (1.96 / 0.03) ** 2 / 100) * 100)
    return Finding(
        "validation-too-small",
        "warning",
        "validation is too small to tell",
        f"With n = {n} an accuracy of {share:.1%} means {interval.low:.1%} to {interval.high:.1%}.",
        f"Hold more out: {wanted:,} images give plus or minus 3 points (mien data import SOURCE "
        "OUT --validation 0.3).",
        (),
        {"n": n, "half_width": half},
        width_plot(share, n, limits.half_width),
    )


def validation_classes(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Some classes have no validation image, or too few for an interval to be trusted."""
    labels, y_true_n = evidence.recipe.answer_labels, evidence.validation.y_true_n
    if evidence.history and evidence.history[-1].validation_n > len(y_true_n):
        return None  # a sample of a large validation split: it cannot tell
    counts = np.bincount(y_true_n, minlength=len(labels))
    absent = [label for label, n in zip(labels, counts, strict=True) if n == 0]
    few = [label for label, n in zip(labels, counts, strict=True) if 0 < n < TRUSTED]
    if not absent and not few:
        return None
    listed = ", ".join(f"{n} of {label}" for label, n in zip(labels, counts, strict=True))
    title = (
        f"validation has no image of {', '.join(absent)}"
        if absent
        else f"validation has few images of {', '.join(few)}"
    )
    consequence = (
        "averages over classes are not defined, and the accuracy says nothing of what is missing"
        if absent
        else f"with fewer than {TRUSTED} an interval cannot be trusted"
    )
    return Finding(
        "validation-classes",
        "serious" if absent else "warning",
        title,
        f"It holds {listed}: {consequence}.",
        "Add images of these classes to the source of mien data import, or hold more out there.",
        (),
        {"absent": ", ".join(absent), "few": ", ".join(few)},
        Plot("bars", "validation images", labels, {"images": [float(n) for n in counts]},
             limit=float(TRUSTED), xlabel=""),
    )  # fmt: skip


def not_repeatable(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The same seed gives other weights."""
    if evidence.repeats is not False:
        return None
    return Finding(
        "not-repeatable",
        "warning",
        "the training does not repeat",
        "Its first three steps, taken again with the same seed on this machine, gave other "
        "weights.",
        "Look for randomness without a generator, and for data that changed; one thread on the "
        "CPU repeats.",
        ("fit.threads=1", "fit.device=cpu"),
        {},
    )


def _balanced_accuracy(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]) -> float:
    hits = scores_nk.argmax(axis=1) == y_true_n
    return float(np.mean([hits[y_true_n == k].mean() for k in np.unique(y_true_n)]))


def _recalls(evidence: Evidence) -> list[float | None] | None:
    answers = evidence.validation
    if answers.probs_nk is None:
        return None
    given = answers.probs_nk.argmax(axis=1)
    return [
        float((given[answers.y_true_n == k] == k).mean()) if (answers.y_true_n == k).any() else None
        for k in range(answers.probs_nk.shape[1])
    ]


RULES = (
    inputs,
    labels_shuffled,
    leak,
    validation_differs,
    label_noise,
    class_imbalance,
    class_ignored,
    validation_too_small,
    validation_classes,
    not_repeatable,
)
