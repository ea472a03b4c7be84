"""Distillation: the predictions of trained teachers become part of the targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.errors import ConfigError
from mien.train.run.folder import load_scorer, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

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


def soft_targets_for_batch(
    teachers: Sequence[Model], pixels: Tensor, targets_nk: Tensor, config: DistillationConfig
) -> Tensor:
    """Return targets, float32 [n, k], with the teachers' mean probabilities on `pixels` mixed in.

    Args:
        teachers: networks of `distillation.on_augmented`; if there are none, the targets are
            returned unchanged.
        pixels: augmented images as the student sees them, float32 [n, 1, s, s], 0 to 255.
        targets_nk: float32 [n, k].
        config: its weight is that of the teachers' probabilities.
    """
    if not teachers:
        return targets_nk
    return _mixed(targets_nk, _mean_probs(teachers, pixels), config)


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
