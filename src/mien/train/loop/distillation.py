"""Teachers: what trained networks answer on the training images becomes part of the targets."""

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
    from mien.train.recipe.settings import DistilConfig

SCORING_BATCH = 256


def taught(examples: Examples, recipe: Recipe) -> Examples:
    """Return the examples with the teachers' mean answers mixed into their targets.

    They answer on the images as they are, once, before the training: its time stays its own.
    With `distil.views` they answer later, in each step, and the examples stay as they are.

    Raises:
        ConfigError: a teacher learnt other labels.
        RunFolderError: a teacher is no run folder, or finished no epoch.
    """
    config = recipe.distil
    if config.views or not config.teachers or not config.weight:
        return examples
    teachers = load_teachers(recipe)
    parts = torch.split(examples.pixels, SCORING_BATCH)
    answers = torch.cat([_answers(teachers, part.float()) for part in parts])
    return replace(examples, targets_nk=_mixed(examples.targets_nk, answers, config))


def soft_targets_for_batch(
    teachers: Sequence[Model], pixels: Tensor, targets_nk: Tensor, config: DistilConfig
) -> Tensor:
    """Return targets [n, k] with the teachers' mean answers on these very images mixed in.

    Args:
        teachers: those of `distil.views`; without any the targets stay as they are.
        pixels: changed and mixed as the student sees them, float32 [n, 1, s, s].
        targets_nk: float32 [n, k].
        config: the weight of the answers.
    """
    if not teachers:
        return targets_nk
    return _mixed(targets_nk, _answers(teachers, pixels), config)


def load_teachers(recipe: Recipe) -> list[Model]:
    """Return the networks that `distil.teachers` names, ready to answer.

    Raises:
        ConfigError, RunFolderError: as `taught` does.
    """
    teachers = []
    for path in map(Path, recipe.distil.teachers):
        labels = open_run(path).recipe.learnt_labels
        if labels != recipe.learnt_labels:
            raise ConfigError(
                f"the teacher {path} learnt {', '.join(labels)}; this recipe learns "
                f"{', '.join(recipe.learnt_labels)}",
                hint="use the same labels and targets.classes for both",
            )
        teacher = load_scorer(path).model.requires_grad_(requires_grad=False)
        # Flips among the changes show the mirror image as often, at half of the cost.
        teacher.mirror = teacher.mirror and not recipe.distil.views
        teachers.append(teacher)
    return teachers


@torch.no_grad()
def _answers(teachers: Sequence[Model], pixels: Tensor) -> Tensor:
    """Return the teachers' mean probabilities over the learnt labels, float32 [n, k]."""
    return torch.stack([torch.softmax(model(pixels), dim=1) for model in teachers]).mean(0)


def _mixed(targets_nk: Tensor, answers_nk: Tensor, config: DistilConfig) -> Tensor:
    return targets_nk * (1 - config.weight) + answers_nk * config.weight
