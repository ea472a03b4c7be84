"""Cross entropy against soft labels, and its forms that do not neglect a rare class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from mien.train.recipe.settings import LossConfig


@dataclass(frozen=True, slots=True)
class TrainingLoss:
    """The loss of a training: a recipe's `[loss]` and what it needs to know of the data.

    Attributes:
        config: the recipe's section.
        log_prior_k: float32 [k], log of the classes' fractions of the training targets.
        class_weights_k: float32 [k], or None where every class counts alike.
    """

    config: LossConfig
    log_prior_k: Tensor
    class_weights_k: Tensor | None

    @classmethod
    def fitted(cls, config: LossConfig, targets_nk: Tensor, weights_n: Tensor) -> TrainingLoss:
        """Return the loss for training targets and weights (as `Examples` has them)."""
        counts_k = (targets_nk * weights_n[:, None]).sum(dim=0)
        fractions = counts_k / counts_k.sum()
        weights = class_weights(counts_k, config)
        # A class that never occurs must not get a logit of minus infinity: its gradient would be
        # lost in rounding. One in a million is far below one image of the largest data set.
        return cls(config, fractions.clamp_min(1e-6).log(), weights)

    def weights(self, targets_nk: Tensor, weights_n: Tensor) -> Tensor:
        """Return the images' weights times those of their classes, float32 [n].

        Args:
            targets_nk: targets of the images themselves, before mixup, cutmix and distillation,
                so that a mixed image counts as much as the one it was drawn for.
            weights_n: weights of the images, float32 [n].
        """
        if self.class_weights_k is None:
            return weights_n
        return weights_n * (targets_nk @ self.class_weights_k)

    def __call__(
        self,
        logits_nk: Tensor,
        targets_nk: Tensor,
        weights_n: Tensor,
        total: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted mean loss, a scalar; arguments as `soft_cross_entropy` takes."""
        # Menon et al. 2021 (arXiv:2007.07314): only in training, so that prediction favours no
        # class.
        if self.config.logit_adjustment:
            logits_nk = logits_nk + self.config.logit_adjustment * self.log_prior_k
        return soft_cross_entropy(logits_nk, targets_nk, weights_n, self.config, total)


def soft_cross_entropy(
    logits_nk: Tensor,
    targets_nk: Tensor,
    weights_n: Tensor,
    config: LossConfig,
    total: Tensor | None = None,
) -> Tensor:
    """Return the weighted mean cross entropy, a scalar.

    Args:
        logits_nk: float32 [n, k].
        targets_nk: float32 [n, k], each row a distribution (hard labels are one-hot).
        weights_n: weight of each image, float32 [n], at least 0, not all 0.
        config: label smoothing (Szegedy et al. 2016, arXiv:1512.00567) and the focal loss's gamma
            (Lin et al. 2017, arXiv:1708.02002): each class's term counts (1 - p) ** gamma.
        total: divides the sum; None takes the sum of `weights_n`.
    """
    if config.label_smoothing:
        classes = targets_nk.shape[1]
        targets_nk = targets_nk * (1 - config.label_smoothing) + config.label_smoothing / classes
    log_probabilities = functional.log_softmax(logits_nk, dim=1)
    if config.focal_gamma:
        # Rounding may put a probability above 1, whose negative base has no power.
        focus = (1 - log_probabilities.exp()).clamp_min(0) ** config.focal_gamma
        log_probabilities = focus * log_probabilities
    each = -(targets_nk * log_probabilities).sum(dim=1)
    # Divided by the weights: the learning rate must not depend on how many images are weak.
    return (each * weights_n).sum() / (weights_n.sum() if total is None else total)


def class_weights(counts_k: Tensor, config: LossConfig) -> Tensor | None:
    """Return the weight of each class, float32 [k]; None where every class counts alike.

    Args:
        counts_k: float32 [k], images of each class; soft labels count in parts.
        config: its `class_weights` and `effective_beta`.
    """
    if config.class_weights == "balanced":
        return balanced_weights(counts_k / counts_k.sum())
    if config.class_weights == "effective":
        return effective_weights(counts_k, config.effective_beta)
    return None


def class_fractions(targets_nk: Tensor, weights_n: Tensor) -> Tensor:
    """Return each class's fraction of the weighted targets, float32 [k], summing to 1."""
    total_k = (targets_nk * weights_n[:, None]).sum(dim=0)
    return total_k / total_k.sum()


def balanced_weights(fractions_k: Tensor) -> Tensor:
    """Return weights, float32 [k], inverse to each class's fraction; 0 for an absent class."""
    present = fractions_k > 0
    return torch.where(present, 1 / (fractions_k.clamp_min(1e-12) * present.sum()), 0.0)


def effective_weights(counts_k: Tensor, beta: float) -> Tensor:
    """Return weights by the effective number of images (Cui et al. 2019, arXiv:1901.05555).

    Args:
        counts_k: float32 [k], images of each class; soft labels count in parts.
        beta: at least 0 and below 1; 0 weighs all classes alike, towards 1 the weights approach
            those of `balanced_weights`.

    Returns:
        float32 [k], of mean 1 over the images; 0 for an absent class.
    """
    present = counts_k > 0
    each = torch.where(present, (1 - beta) / (1 - beta**counts_k).clamp_min(1e-12), 0.0)
    return each * counts_k.sum() / (each * counts_k).sum()
