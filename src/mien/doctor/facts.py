"""Figures that several rules need, derived from the evidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.bootstrap import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mien.doctor.evidence import Evidence, Predictions
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds
    from mien.train.loop.signals import EpochSignals, StartSignals

BELOW_BASELINE = 0.1
"""Accuracy or R² below the baseline's from which a network fails to learn."""
NEAR_CHANCE = 0.9
"""Loss of the last steps over that of a constant prediction from which it fails to learn."""
USUAL_DECAY = 0.05
"""Weight decay below which loops of others use it with any optimiser."""


def at_full_rate(evidence: Evidence) -> list[EpochSignals]:
    """Return the measured epochs with at least half of the largest learning rate."""
    measured = [e for e in evidence.signals if e.measured]
    # Steps of a warm-up or a decayed rate say nothing about the rate that was set.
    peak = max((e.lr for e in measured), default=0.0)
    return [e for e in measured if e.lr >= peak / 2]


def median_known(values: list[float | None]) -> float | None:
    """Return the median of the values that are known, or None."""
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def median_updates(epochs: list[EpochSignals]) -> dict[str, float]:
    """Return each layer's median update-to-weight ratio."""
    # A layer may be missing in some epochs, such as one that was frozen for a while.
    names = epochs[0].layers if epochs else {}
    return {
        name: float(np.median([e.layers[name].update for e in epochs if name in e.layers]))
        for name in names
    }


def weight_growth(evidence: Evidence) -> float:
    """Return the median over layers of the weights' norm in the first epoch over the initial one.

    1 where no epoch was measured, or where the initial norms are unknown.
    """
    for epoch in evidence.signals:
        ratios = [
            layer.weight / max(evidence.initial[name], 1e-12)
            for name, layer in epoch.layers.items()
            if name in evidence.initial
        ]
        if ratios:
            return float(np.median(ratios))
    return 1.0


def decay_per_step(evidence: Evidence) -> float:
    """Return the fraction that weight decay takes off the weights in each step."""
    rate = max((e.lr for e in evidence.signals), default=0.0)
    return rate * evidence.recipe.optimizer.weight_decay


def decay_dominates(evidence: Evidence, limit: float) -> bool:
    """Return whether weight decay, not the gradient, moves the weights.

    In a watched loop a usual decay reaches the limit only by a learning rate that is too high.
    """
    # AdamW's default of 0.01 is common in others' loops, and harmless at usual rates.
    usual = evidence.program is not None and evidence.recipe.optimizer.weight_decay < USUAL_DECAY
    return decay_per_step(evidence) > limit and not usual


def relative_gradients(epoch: EpochSignals) -> dict[str, float]:
    """Return each layer's gradient over its weights, so that layers can be compared."""
    return {n: layer.gradient / max(layer.weight, 1e-12) for n, layer in epoch.layers.items()}


def min_first_half(gradients: Mapping[str, float]) -> float:
    """Return the smallest gradient of the first half of the layers over the largest of any."""
    values = list(gradients.values())
    # The first half: gradients shrink on their way back, so the layers near the input starve.
    return min(values[: max(1, len(values) // 2)]) / max(max(values), 1e-30)


def loss_curve(evidence: Evidence) -> list[float]:
    """Return the training loss over the whole training, in short stretches."""
    return [loss for epoch in evidence.signals for loss in epoch.losses]


def start_signals(evidence: Evidence) -> StartSignals | None:
    """Return the measurements before the first step; None where none were recorded."""
    return next((e.start for e in evidence.signals if e.start), None)


def chance_loss(evidence: Evidence) -> float:
    """Return the log loss at chance level: the same probability for each learnt class.

    A watched loop has its own: the loss of the best constant prediction. nan where there is none:
    a critic's loss or the log-likelihood of a density has no zero.
    """
    if math.isfinite(evidence.chance):
        return evidence.chance if evidence.chance > 0 else math.nan
    return math.log(len(evidence.recipe.learnt_labels))


def beside_chance(evidence: Evidence, digits: str = ".2f") -> str:
    """Return what a loss is printed beside, the end of a sentence; '' without a chance level."""
    chance = chance_loss(evidence)
    if math.isnan(chance):
        return ""
    name = "at the start it was" if evidence.chance_is_start else "the chance-level loss is"
    return f"; {name} {chance:{digits}}"


def start_loss(evidence: Evidence) -> float:
    """Return the loss that an untrained network may start with: chance level, or equal classes.

    Where one class is common the best constant's loss is far below that of equal probabilities.
    """
    program = evidence.program
    return max(chance_loss(evidence), 0.0 if program is None else program.uniform)


def initial_loss(evidence: Evidence) -> float:
    """Return the loss of the first batch, or of the first few; 0 where there is none."""
    before = start_signals(evidence)
    if before is not None:
        return math.inf if before.loss is None else before.loss
    return next((e.losses[0] for e in evidence.signals if e.losses), 0.0)


def watched(evidence: Evidence) -> Program:
    """Return the evidence of a watched loop, for rules that require it.

    Raises:
        ValueError: the training was not watched.
    """
    if evidence.program is None:
        raise ValueError("the rule must declare that it needs PROGRAM")
    return evidence.program


def learned_well(evidence: Evidence) -> bool:
    """Return whether a watched network reached what its data allow; a run of mien's never does.

    A step or a gradient that looks unusual is no fault where the result is as good as the
    baseline: optimisers, tasks and losses of others have scales of their own.
    """
    return evidence.program is not None and evidence.program.learned_well


def may_rise(evidence: Evidence) -> bool:
    """Return whether a watched loop's loss may end above a constant prediction's without harm.

    It learned well, or its optimisers follow several losses, as generator and discriminator do.
    """
    program = evidence.program
    return program is not None and (program.learned_well or program.separate_losses)


def loss_spike(evidence: Evidence) -> float:
    """Return the highest training loss over the initial or the chance-level loss, the larger.

    1 where the loss may rise, as that of a network with an opponent, or has no chance level.
    """
    curve = loss_curve(evidence)
    chance = chance_loss(evidence)
    if not curve or math.isnan(chance):
        return 1.0
    if evidence.program is not None and evidence.program.separate_losses:
        return 1.0
    return max(curve) / max(initial_loss(evidence), chance)


def late_loss_drop(evidence: Evidence) -> float:
    """Return the fraction by which the training loss fell over the last third of the training.

    It is read off a fitted straight line, so that one good batch does not decide.
    """
    curve = np.array(loss_curve(evidence))
    # The last third: a schedule that decays late is still seen to lower the loss.
    last = curve[len(curve) * 2 // 3 :]
    if len(last) < 6:
        return 0.0
    slope, start = np.polyfit(np.linspace(0, 1, len(last)), last, 1)
    return float(-slope / max(start, 1e-6))


def is_learning(evidence: Evidence, limits: Thresholds) -> bool:
    """Return whether a watched loop's loss fell from its start and below a constant prediction's.

    Without that a larger network or more epochs do not help: something keeps it from learning.
    """
    curve = loss_curve(evidence)
    if evidence.program is None or len(curve) < 6:
        return True
    # The mean of six stretches, so that single batches do not decide.
    end, chance = float(np.mean(curve[-6:])), chance_loss(evidence)
    fell = end < (1 - limits.late_loss_drop) * max(initial_loss(evidence), curve[0])
    return fell and not end >= limits.undiminished_loss * chance


def fall_within_epochs(evidence: Evidence) -> float:
    """Return the median fraction by which the loss falls within one of the last epochs.

    Where it falls within each epoch and not from epoch to epoch, each starts at the old level.
    """
    parts = [e.losses for e in evidence.signals if len(e.losses) >= 8]
    falls = [
        1 - float(np.mean(p[-len(p) // 4 :])) / max(float(np.mean(p[: len(p) // 4])), 1e-6)
        for p in parts[len(parts) * 2 // 3 :]
    ]
    return float(np.median(falls)) if len(parts) >= 3 else 0.0


def accuracy(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64] | None) -> Estimate | None:
    """Return the accuracy with its 95% Wilson interval; None without predictions."""
    if scores_nk is None or not len(y_true_n):
        return None
    return wilson(float((scores_nk.argmax(axis=1) == y_true_n).sum()), len(y_true_n))


def class_recalls(predictions: Predictions) -> list[Estimate] | None:
    """Return each class's recall with its 95% Wilson interval; None without predictions.

    The recall of a class without an image is nan: it is not defined.
    """
    if predictions.probs_nk is None:
        return None
    y_true, y_pred = predictions.y_true_n, predictions.probs_nk.argmax(axis=1)
    return [
        wilson(float((y_pred[y_true == k] == k).sum()), int((y_true == k).sum()))
        for k in range(predictions.probs_nk.shape[1])
    ]


def beside_constant(
    scores_nk: NDArray[np.float64], predictions: Predictions
) -> NDArray[np.float64]:
    """Return how far scores are above those of the best constant prediction, if there is one.

    Of rare positions or labels no score need be the largest, however well they are distinguished.
    """
    constant = predictions.constant_nk
    return scores_nk if constant is None else scores_nk - constant


def mean_recall(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]) -> float:
    """Return the mean recall of the classes that have an image.

    It is the balanced accuracy only where every class has one.
    """
    hits = scores_nk.argmax(axis=1) == y_true_n
    return float(np.mean([hits[y_true_n == k].mean() for k in np.unique(y_true_n)]))


def constant_recall(predictions: Predictions) -> float:
    """Return the mean recall of the best constant prediction: one class's, or each label's own."""
    if predictions.constant_nk is not None:
        return mean_recall(predictions.y_true_n, predictions.constant_nk)
    scores = predictions.probs_nk if predictions.probs_nk is not None else predictions.baseline_nk
    return 1 / float(scores.shape[1])


def majority_accuracy(predictions: Predictions) -> float:
    """Return the accuracy of always predicting the most common class, or each label's own."""
    if predictions.constant_nk is not None:
        right = predictions.constant_nk.argmax(axis=1) == predictions.y_true_n
        return float(right.mean()) if len(right) else 0.0
    counts = np.bincount(predictions.y_true_n)
    return float(counts.max(initial=0) / max(1, counts.sum()))


def confident_error(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]) -> Estimate:
    """Return the error rate of the most confident tenth, with its 95% Wilson interval.

    Where labels are right, the most confident predictions are nearly all right, however hard the
    others are; wrong labels contradict confident and unsure predictions alike.
    """
    wrong, n = confident_disagreements(y_true_n, scores_nk)
    return wilson(wrong, n)


def confident_disagreements(
    y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]
) -> tuple[int, int]:
    """Return how many of the most confident tenth contradict their label, and that tenth's size."""
    ordered = np.sort(scores_nk, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    # At least one image, so that a tiny sample has a fraction at all.
    chosen = np.argsort(-margin, kind="stable")[: max(1, len(margin) // 10)]
    return int((scores_nk[chosen].argmax(axis=1) != y_true_n[chosen]).sum()), len(chosen)


def newcombe_difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first minus second, two independent proportions, with its 95% interval.

    Newcombe 1998, method 10: from the two Wilson intervals.
    """
    # The squares of the near sides add, as variances of independent figures do.
    value = first.value - second.value
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(low), float(high))


def fails_to_learn(evidence: Evidence) -> bool:
    """Return whether a watched network is far below its baseline, or near a constant prediction."""
    program = evidence.program
    if program is None or program.learned_well:
        return False
    score, baseline = program.train_score, program.baseline_score
    if score is not None and baseline is not None and score < baseline - BELOW_BASELINE:
        return True
    return program.progress.last_loss > NEAR_CHANCE * chance_loss(evidence)
