"""Rules about fitting: overfitting, and a network of the wrong size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import (
    accuracy,
    decay_per_step,
    fall_within_epochs,
    is_learning,
    late_loss_drop,
    learned_well,
    majority_accuracy,
    newcombe_difference,
    watched,
)
from mien.doctor.finding import Finding
from mien.doctor.plots import fit_plot
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import (
    BOTH_SCORES,
    EPOCHS,
    TRAIN_PREDICTIONS,
    VALIDATION_PREDICTIONS,
)
from mien.doctor.rule import LEARNS_NOTHING, rule
from mien.errors import counted

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.fits import ValueFit
    from mien.doctor.thresholds import Thresholds

MIN_LEARNING_STEPS = 150
"""Steps of a watched loop before which no loss curve shows the size of the network."""


@rule(
    "overfitting",
    needs=(EPOCHS, BOTH_SCORES),
    explained_by={"shuffled-labels", "domain-shift", "few-examples"},
)
def overfitting(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Training accuracy is above validation accuracy, or validation loss rises."""
    program = evidence.program
    if program is not None and program.kind == "regression" and program.causes.fit is not None:
        return _overfits_values(evidence, program.causes.fit, limits)
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    validation = accuracy(evidence.validation.y_true_n, evidence.validation.probs_nk)
    if train is None or validation is None:
        return None
    # The gap's lower bound is compared, so that a small validation split raises no alarm.
    gap = newcombe_difference(train, validation)
    losses = [m.validation_loss for m in evidence.history]
    best = int(np.argmin(losses))
    # Over the minimum, not the start: a loss that rises again has passed its best epoch.
    rise = losses[-1] / max(losses[best], 1e-6)
    rising = rise > limits.loss_rise and gap.low > limits.gap / 3
    # Where images are easy, even a memorised training set leaves only a small gap.
    # A watched loop's data may be of any size and kind: there the gap itself decides.
    memorised = (
        evidence.program is None
        and train.value >= 0.99
        and gap.value > limits.gap / 2
        and gap.low > limits.gap / 4
    )
    wide = gap.low > limits.gap
    if evidence.program is not None:
        wide = wide and (rise > 1.1 or gap.low > 2 * limits.gap)
    if learned_well(evidence) or not (wide or rising or memorised):
        return None
    # The kept checkpoint follows the recipe's criterion, which need not be the loss.
    select = evidence.recipe.fit.select
    best_epoch = max(evidence.history, key=lambda m: m.merit(select)).epoch
    # A watched loop keeps its own checkpoints.
    kept = (
        f"; the checkpoint of epoch {best_epoch} is kept as the best"
        if evidence.program is None
        else ""
    )
    return Finding(
        "overfitting",
        "warning",
        "the network overfits: it memorises its training images",
        f"Training accuracy {train.value:.1%}, validation accuracy {validation.value:.1%}: a gap "
        f"of {100 * gap.value:.1f} points (95% interval {100 * gap.low:.1f} to "
        f"{100 * gap.high:.1f}). Validation loss was lowest in epoch {best + 1} "
        f"({losses[best]:.3f}) and ended at {losses[-1]:.3f}{kept}.",
        "Augment more, add dropout or weight decay, use early stopping, or add images.",
        _more_regularisation(evidence, best + 1),
        {"gap": gap.value, "low": gap.low, "high": gap.high, "loss_rise": rise,
         "best_epoch": best_epoch},
        fit_plot(evidence),
    )  # fmt: skip


def _overfits_values(evidence: Evidence, fit: ValueFit, limits: Thresholds) -> Finding | None:
    """Return the finding for a regression that memorises, and that the baseline surpasses.

    A gap alone is natural where targets are noisy. Another fit of the same training examples that
    is surely better on validation shows that the network's error is not in the targets alone.
    """
    if learned_well(evidence) or watched(evidence).targets_are_inputs:
        return None
    if fit.train < limits.memorised_r2 or fit.gap_low < limits.value_gap:
        return None
    if fit.excess_low <= 0 or fit.baseline - fit.validation < limits.value_excess:
        return None
    return Finding(
        "overfitting",
        "warning",
        "the network overfits: it memorises its training images",
        f"R² is {fit.train:.2f} on training and {fit.validation:.2f} on {fit.n:,} validation "
        f"images, a gap of {fit.train - fit.validation:.2f} (95% interval from {fit.gap_low:.2f}). "
        f"The baseline, fitted on the same training images, reaches {fit.baseline:.2f} there, "
        f"{fit.baseline - fit.validation:.2f} more (95% interval from {fit.excess_low:.2f}, paired "
        "by image): noise in the targets does not explain the gap.",
        "Augment more, add dropout or weight decay, use early stopping, or add images.",
        (),
        {"train": fit.train, "validation": fit.validation, "baseline": fit.baseline,
         "gap_low": fit.gap_low, "excess_low": fit.excess_low, "n": fit.n},
        bars("R²", {"training": fit.train, "validation": fit.validation,
                    "baseline on validation": fit.baseline}),
    )  # fmt: skip


def _more_regularisation(evidence: Evidence, best_epoch: int) -> tuple[str, ...]:
    recipe = evidence.recipe
    settings = []
    if not recipe.augment.flip:
        settings.append("augment.flip=0.5")
    if not recipe.augment.shift:
        settings += ["augment.rotation=15", "augment.shift=0.06", "augment.scale=0.12"]
    # Networks whose default is not 0 need no advice to add dropout.
    if recipe.network.options.get("dropout", 0.2) == 0:
        settings.append("network.dropout=0.4")
    # Early stopping helps only if the best epoch lies well before the end.
    if not recipe.fit.early_stopping and best_epoch < recipe.fit.epochs // 2:
        settings.append(f"fit.early_stopping={max(3, best_epoch // 2)}")
    return tuple(settings) or ("augment.erase=0.4", "network.dropout=0.5")


@rule(
    "model-too-large",
    needs=(EPOCHS, TRAIN_PREDICTIONS, VALIDATION_PREDICTIONS),
    explained_by={"shuffled-labels", "domain-shift", "few-examples"},
)
def model_too_large(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network overfits and has far more parameters than images."""
    found = overfitting(evidence, limits)
    ratio = evidence.parameters / max(1, evidence.images)
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    # Many parameters do no harm by themselves: only together with overfitting.
    if found is None or ratio < limits.parameters_per_image or train is None or train.value < 0.95:
        return None
    return Finding(
        "model-too-large",
        "warning",
        "the network is too large for so few images",
        f"{evidence.parameters:,} parameters for {evidence.images:,} images are {ratio:,.0f} "
        f"per image; training accuracy is {train.value:.1%}, validation accuracy "
        f"{100 * float(found.numbers['gap'] or 0):.1f} points lower.",
        "Use a narrower network; mien doctor RUN --deep trains one of half the width and reports "
        "whether it is as good.",
        _narrower(evidence, ratio / limits.parameters_per_image),
        {"parameters": evidence.parameters, "images": evidence.images},
        fit_plot(evidence),
    )


def _narrower(evidence: Evidence, excess: float) -> tuple[str, ...]:
    """Return settings of a network that is no longer too large, or of an eighth of the width.

    Args:
        evidence: of the training.
        excess: parameters per image over the threshold, above 1.
    """
    # Parameters grow with the square of the width: half of it has a quarter of them.
    factor = 2 ** min(3, max(1, math.ceil(math.log(excess, 4))))
    options = evidence.recipe.network.options
    if "widths" in options:
        # Fewer than four channels in a layer leave nothing to learn with.
        narrower = [max(4, int(w) // factor) for w in options["widths"]]
        return (f"network.widths={narrower}",)
    if evidence.recipe.network.name == "poster":
        width, hidden = options.get("width", 32), options.get("hidden", 128)
        return (
            f"network.width={max(2, width // factor)}",
            f"network.hidden={max(8, hidden // factor)}",
        )
    return ("network.name=poster",)


@rule(
    "model-too-small",
    needs=(EPOCHS, TRAIN_PREDICTIONS),
    explained_by=LEARNS_NOTHING
    | {"clipping-always", "dropout-too-strong", "reads-padding", "inputs-ignored", "order-ignored"},
)
def model_too_small(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The network has learnt all that its few parameters can hold."""
    train = accuracy(evidence.train.y_true_n, evidence.train.probs_nk)
    if train is None or evidence.parameters > limits.small_network:
        return None
    if decay_per_step(evidence) > limits.decay_per_step:
        return None  # weight decay limits it, not its size
    if evidence.program is not None and evidence.program.steps < MIN_LEARNING_STEPS:
        return None  # it has hardly begun to learn, whatever its size
    if evidence.program is not None and (
        not is_learning(evidence, limits)
        or train.low <= majority_accuracy(evidence.train)
        or fall_within_epochs(evidence) > limits.late_loss_drop
    ):
        return None  # near chance level, or reset in each epoch: a larger network is no better
    gap = evidence.history[-1].gap
    drop = late_loss_drop(evidence)
    # Of positions and labels nothing else shows that the data allow more.
    enough = evidence.train.constant_nk is not None and not _below_baseline(evidence)
    if (
        enough
        or train.value > 0.9
        or gap > 0.03
        or drop > limits.late_loss_drop
        or learned_well(evidence)
    ):
        return None
    return Finding(
        "model-too-small",
        "warning",
        "the network is too small",
        f"With {evidence.parameters:,} parameters its training accuracy is {train.value:.1%}, its "
        f"validation accuracy {100 * abs(gap):.1f} points {'lower' if gap >= 0 else 'higher'}, and "
        f"the training loss hardly falls any more ({abs(drop):.0%} over the last third)."
        f"{_narrowest(evidence)}",
        "Use a wider network.",
        _wider(evidence),
        {"parameters": evidence.parameters, "training": train.value},
        fit_plot(evidence),
    )


def _below_baseline(evidence: Evidence) -> bool:
    part = evidence.train
    own, other = (accuracy(part.y_true_n, s) for s in (part.probs_nk, part.baseline_nk))
    return own is not None and other is not None and own.value < other.value


def _narrowest(evidence: Evidence) -> str:
    """Return which layer passes on fewer values than there are classes, a sentence; or ''."""
    narrowest = None if evidence.program is None else evidence.program.narrowest
    if narrowest is None or narrowest[1] >= len(evidence.recipe.predicted_labels):
        return ""
    return f" Its narrowest layer, {narrowest[0]}, has {counted(narrowest[1], 'output')}."


def _wider(evidence: Evidence) -> tuple[str, ...]:
    options = evidence.recipe.network.options
    if "widths" in options:
        return (f"network.widths={[int(w) * 2 for w in options['widths']]}",)
    return (f"network.width={max(8, 4 * options.get('width', 32))}", "network.hidden=64")
