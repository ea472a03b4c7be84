"""Rules about fitting: too much, too little, and with a network of the right size?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import accuracy, chance, decay, difference, falling
from mien.doctor.finding import Finding
from mien.doctor.plots import fit_plot, loss_plot

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


def overfitting(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Training images are answered better than validation ones, or validation gets worse."""
    if not evidence.history:
        return None
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    validation = accuracy(evidence.validation.y_true_n, evidence.validation.probs_nk)
    if train is None or validation is None:
        return None
    gap = difference(train, validation)
    losses = [m.validation_loss for m in evidence.history]
    best = int(np.argmin(losses))
    rise = losses[-1] / max(losses[best], 1e-6)
    rising = rise > limits.loss_rise and gap.low > limits.gap / 3
    by_heart = train.value >= 0.99 and gap.value > limits.gap / 2 and gap.low > limits.gap / 4
    if not (gap.low > limits.gap or rising or by_heart):
        return None
    select = evidence.recipe.fit.select
    best_epoch = max(evidence.history, key=lambda m: m.merit(select)).epoch
    return Finding(
        "overfitting",
        "warning",
        "the network learns its training images by heart",
        f"Training {train.value:.1%}, validation {validation.value:.1%}: a gap of "
        f"{100 * gap.value:.1f} points (95% interval {100 * gap.low:.1f} to {100 * gap.high:.1f}). "
        f"Validation loss was least in epoch {best + 1} ({losses[best]:.3f}) and ended at "
        f"{losses[-1]:.3f}; epoch {best_epoch} is kept as the best.",
        "Augment more, add dropout or weight decay, stop earlier, or bring more images.",
        _more_regularisation(evidence, best + 1),
        {"gap": gap.value, "low": gap.low, "high": gap.high, "loss_rise": rise,
         "best_epoch": best_epoch},
        fit_plot(evidence),
    )  # fmt: skip


def _more_regularisation(evidence: Evidence, best_epoch: int) -> tuple[str, ...]:
    recipe = evidence.recipe
    settings = []
    if not recipe.augment.flip:
        settings.append("augment.flip=0.5")
    if not recipe.augment.shift:
        settings += ["augment.rotation=15", "augment.shift=0.06", "augment.scale=0.12"]
    if recipe.network.options.get("dropout", 0.2) == 0:
        settings.append("network.dropout=0.4")
    if not recipe.fit.early_stopping and best_epoch < recipe.fit.epochs // 2:
        settings.append(f"fit.early_stopping={max(3, best_epoch // 2)}")
    return tuple(settings) or ("augment.erase=0.4", "network.dropout=0.5")


def too_complex(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network has far more parameters than its images can fix, and learns them by heart."""
    found = overfitting(evidence, limits)
    share = evidence.parameters / max(1, evidence.images)
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    if found is None or share < limits.memory or train is None or train.value < 0.95:
        return None
    return Finding(
        "too-complex",
        "warning",
        "the network is too complex for so few images",
        f"{evidence.parameters:,} parameters for {evidence.images:,} images are {share:,.0f} for "
        f"each; it answers {train.value:.1%} of the training images and "
        f"{100 * float(found.numbers['gap'] or 0):.1f} points fewer in validation.",
        "Take a narrower network; mien doctor RUN --deep trains one of half the width and tells "
        "whether it is as good.",
        _narrower(evidence),
        {"parameters": evidence.parameters, "images": evidence.images},
        fit_plot(evidence),
    )


def _narrower(evidence: Evidence) -> tuple[str, ...]:
    options = evidence.recipe.network.options
    if "widths" in options:
        halved = [max(4, int(w) // 2) for w in options["widths"]]
        return (f"network.widths={halved}",)
    if evidence.recipe.network.name == "poster":
        width, hidden = options.get("width", 32), options.get("hidden", 128)
        return (f"network.width={max(2, width // 2)}", f"network.hidden={max(8, hidden // 2)}")
    return ("network.name=poster",)


def underfitting(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network does worse on its own training images than a plain method on unseen ones."""
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    reference = accuracy(evidence.train.y_true_n, evidence.train.opinion_nk)
    if train is None or reference is None:
        return None
    guessing = train.low <= chance(evidence.train)
    if train.high >= reference.value - limits.weak and not guessing:
        return None
    fall = falling(evidence)
    epochs, recipe = evidence.recipe.fit.epochs, evidence.recipe
    settings = []
    if decay(evidence) > limits.decay:
        settings.append("optimizer.weight_decay=5e-4")
    if float(recipe.network.options.get("dropout", 0) or 0) > 0.6:
        settings.append("network.dropout=0.3")
    ruled = bool(settings)
    if not ruled:
        settings = [f"fit.epochs={max(epochs * 3, epochs + 5)}"]
    return Finding(
        "underfitting",
        "warning",
        "the network has not learnt what there is to learn",
        f"It answers {train.value:.1%} of its own training images; a plain method, each image "
        f"left out of the fit that judges it, reaches {reference.value:.1%}. The loss fell by "
        f"{fall:.0%} over the last third of the training.",
        "Regularise less." if ruled else "Train longer, or take a larger network.",
        tuple(settings),
        {"training": train.value, "reference": reference.value, "falling": fall},
        loss_plot(evidence),
    )


def too_small(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network has learnt all it can hold, and that is little."""
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    if train is None or evidence.parameters > limits.tiny or decay(evidence) > limits.decay:
        return None
    gap = evidence.history[-1].gap
    if train.value > 0.9 or gap > 0.03 or falling(evidence) > limits.falling:
        return None
    return Finding(
        "too-small",
        "warning",
        "the network is too small",
        f"With {evidence.parameters:,} parameters it answers {train.value:.1%} of its own "
        f"training images and {100 * gap:.1f} points fewer in validation, and the loss hardly "
        f"falls any more ({falling(evidence):.0%} over the last third).",
        "Take a wider network.",
        _wider(evidence),
        {"parameters": evidence.parameters, "training": train.value},
        fit_plot(evidence),
    )


def _wider(evidence: Evidence) -> tuple[str, ...]:
    options = evidence.recipe.network.options
    if "widths" in options:
        return (f"network.widths={[int(w) * 2 for w in options['widths']]}",)
    return (f"network.width={max(8, 4 * options.get('width', 32))}", "network.hidden=64")


RULES = (overfitting, too_complex, too_small, underfitting)
