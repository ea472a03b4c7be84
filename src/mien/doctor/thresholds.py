"""The rules' thresholds. bench/doctor.py chose them on one half of its trainings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of the rules; a figure with an interval is compared by its nearer bound.

    'Reduction ratio' is a step's actual over its predicted loss reduction: near 1 for a tiny step,
    1/2 for the best step on a quadratic, negative for a step that overshoots.

    Attributes:
        min_reduction_ratio: reduction ratio below which steps overshoot.
        worse_fraction: fraction of steps that increase the loss of their own batch above which
            steps overshoot.
        loss_spike: highest training loss over the initial one above which steps overshoot.
        first_update: median update-to-weight ratio of the first measured epoch above which steps
            overshoot.
        weight_growth: norm of the weights after the first epoch over their initial norm above
            which steps overshoot.
        linear_reduction_ratio: reduction ratio above which steps are too small.
        min_update: median update-to-weight ratio below which steps are too small.
        decay_per_step: weight decay times learning rate, the fraction that each step takes off the
            weights, above which weight decay dominates the training.
        late_loss_drop: fraction by which the training loss must have fallen over the last third
            to count as still falling.
        vanishing_ratio: smallest gradient of the first half of the layers over the largest of
            any layer, each over its weights, below which gradients vanish.
        exploding_norm: gradient norm above which gradients explode.
        initial_loss: loss of the first batches over the chance-level loss above which gradients
            explode.
        dead_fraction: fraction of a layer's units that are constant or saturated above which
            units are dead.
        gap: training minus validation accuracy above which the network overfits; a third of it
            counts where the validation loss rises, half where training accuracy is 99% or more.
        loss_rise: final over minimum validation loss above which the network overfits.
        parameters_per_image: parameters per training image above which a network that overfits
            is too large.
        small_network: parameters below which a network may be too small.
        below_baseline: accuracy below the baseline's above which the network underfits.
        confident_error: fraction of the most confident tenth of the predictions that contradicts
            the labels above which labels are noisy.
        imbalance_ratio: images of the most common class over those of the rarest.
        never_predicted_recall: recall below which a class counts as never predicted.
        recall_gap: distance from a class's upper bound of recall to the lowest lower bound of the
            other classes above which its recall is far below theirs.
        duplicate_fraction: fraction of the validation images with a duplicate in training.
        domain_shift_auc: AUC of a classifier that separates training from validation images.
        half_width: half the width of the interval of the validation accuracy.
    """

    min_reduction_ratio: float = 0.5
    worse_fraction: float = 0.25
    loss_spike: float = 1.5
    first_update: float = 2.5e-2
    weight_growth: float = 2.5
    linear_reduction_ratio: float = 0.97
    min_update: float = 2e-4
    decay_per_step: float = 5e-3
    late_loss_drop: float = 0.08
    vanishing_ratio: float = 3e-3
    exploding_norm: float = 20.0
    initial_loss: float = 5.0
    dead_fraction: float = 0.4
    gap: float = 0.06
    loss_rise: float = 1.25
    parameters_per_image: float = 500.0
    small_network: int = 20_000
    below_baseline: float = 0.05
    confident_error: float = 0.12
    imbalance_ratio: float = 8.0
    never_predicted_recall: float = 0.02
    recall_gap: float = 0.2
    duplicate_fraction: float = 0.01
    domain_shift_auc: float = 0.85
    half_width: float = 0.06
