"""Distillation: the predictions of trained teachers become part of the targets.

With a hint loss the student's features learn from the first teacher's as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch.nn import functional

from mien.errors import ConfigError
from mien.train.run.folder import load_scorer, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from mien.train.loop.loader import Examples
    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe
    from mien.train.recipe.settings import DistillationConfig

SCORING_BATCH = 256


def with_soft_targets(examples: Examples, recipe: Recipe) -> Examples:
    """Return the examples with the teachers' mean probabilities mixed into their targets.

    The teachers predict once, before the training, on the original images. With
    `distillation.on_augmented` they predict in each step instead, and the examples are returned
    unchanged.

    Raises:
        ConfigError: a teacher learnt other labels.
        RunFolderError: a teacher is not a run folder, or has no finished epoch.
    """
    config = recipe.distillation
    # On augmented images the teachers predict in every step (`soft_targets_for_batch`).
    if config.on_augmented or not config.teachers or not config.weight:
        return examples
    teachers = load_teachers(recipe)
    parts = torch.split(examples.pixels, SCORING_BATCH)
    probs = torch.cat([_mean_probs(teachers, part.float()) for part in parts])
    return replace(examples, targets_nk=_mixed(examples.targets_nk, probs, config))


@dataclass(frozen=True, slots=True)
class BatchTargets:
    """Targets of one batch, and the similarities that the first teacher sees in it.

    Attributes:
        targets_nk: targets with the teachers' mean probabilities mixed in, float32 [n, k].
        similarity_nn: `similarity` of the first teacher's features, float32 [n, n]; None without
            `distillation.hint`.
    """

    targets_nk: Tensor
    similarity_nn: Tensor | None = None


def targets_for_batch(
    teachers: Sequence[Model], pixels: Tensor, targets_nk: Tensor, config: DistillationConfig
) -> BatchTargets:
    """Return the targets of one batch with the teachers' mean probabilities on `pixels` mixed in.

    Args:
        teachers: networks of `distillation.on_augmented`; if there are none, the targets are
            returned unchanged.
        pixels: augmented images as the student sees them, float32 [n, 1, s, s], 0 to 255.
        targets_nk: float32 [n, k].
        config: its weight is that of the teachers' probabilities; its `hint` asks for features.
    """
    if not teachers:
        return BatchTargets(targets_nk)
    with PooledFeatures(teachers[0]) as features:
        mixed = _mixed(targets_nk, _mean_probs(teachers, pixels), config)
    return BatchTargets(mixed, similarity(features.last) if config.hint else None)


class PooledFeatures:
    """Context manager that keeps the pooled features of a network's last forward pass.

    Attributes:
        last: float32 [n, d], before the network's dropout and last layer.
    """

    last: Tensor

    def __init__(self, model: Model) -> None:
        # The poster's network has no global pooling: its logits serve.
        self._pool: nn.Module = getattr(model.body, "pool", model.body)

    def __enter__(self) -> Self:
        self._handle = self._pool.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_error: object) -> None:
        self._handle.remove()

    def _keep(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.last = output.float()


def similarity(features_nd: Tensor) -> Tensor:
    """Return how alike a network finds each two images of a batch, float32 [n, n].

    The features' Gram matrix with rows of unit length (Tung & Mori 2019, arXiv:1907.09682,
    section 3.1): it has the same shape whatever the network's width, so that teacher and student
    need no projection between them. The batch's mean is subtracted first, as in centred kernel
    alignment (Kornblith et al. 2019, arXiv:1905.00414): features after a ReLU are all positive,
    and any two images would look alike.
    """
    with torch.autocast(features_nd.device.type, enabled=False):
        centred = features_nd - features_nd.mean(0)
        return functional.normalize(centred @ centred.T, dim=1)


def hint_loss(student_nd: Tensor, teacher_nn: Tensor) -> Tensor:
    """Return the mean squared difference of the two networks' similarities, times the batch size.

    Args:
        student_nd: the student's pooled features, float32 [n, d].
        teacher_nn: `similarity` of the teacher's, float32 [n, n].

    Returns:
        A scalar of 0 to 4. The factor makes it independent of the batch size: a row of unit length
        has entries of the order of n ** -0.5.
    """
    return (similarity(student_nd) - teacher_nn).square().sum() / len(teacher_nn)


def load_teachers(recipe: Recipe) -> list[Model]:
    """Return the networks of `distillation.teachers` in evaluation mode, without gradients.

    Raises:
        ConfigError: a teacher learnt other labels.
        RunFolderError: a teacher is not a run folder, or has no finished epoch.
    """
    teachers = []
    for path in map(Path, recipe.distillation.teachers):
        labels = open_run(path).recipe.learnt_labels
        # The order counts too: probabilities are mixed column by column.
        if labels != recipe.learnt_labels:
            raise ConfigError(
                f"distillation.teachers: {path} learnt {', '.join(labels)}; this recipe learns "
                f"{', '.join(recipe.learnt_labels)}",
                hint="use the same labels and targets.classes for both",
            )
        teacher = load_scorer(path).model.requires_grad_(requires_grad=False)
        # Random flips already show the mirror image as often, at half of the cost.
        teacher.mirror = teacher.mirror and not recipe.distillation.on_augmented
        teachers.append(teacher)
    return teachers


@torch.no_grad()
def _mean_probs(teachers: Sequence[Model], pixels: Tensor) -> Tensor:
    """Return the teachers' mean probabilities over the learnt labels, float32 [n, k]."""
    return torch.stack([torch.softmax(model(pixels), dim=1) for model in teachers]).mean(0)


def _mixed(targets_nk: Tensor, probs_nk: Tensor, config: DistillationConfig) -> Tensor:
    return targets_nk * (1 - config.weight) + probs_nk * config.weight
