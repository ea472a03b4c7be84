"""Teachers: what trained networks answer on the training pictures becomes part of the targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.errors import ConfigError
from mien.train.runfolder import load_scorer, open_run

if TYPE_CHECKING:
    from torch import Tensor

    from mien.train.config import Recipe
    from mien.train.loader import Examples

SCORING_BATCH = 256


def taught(examples: Examples, recipe: Recipe) -> Examples:
    """Return the examples with the teachers' mean answers mixed into their targets.

    They answer on the pictures as they are, once, before the training: its time stays its own.

    Raises:
        ConfigError: a teacher learnt other labels.
        RunFolderError: a teacher is no run folder, or finished no epoch.
    """
    config = recipe.distil
    if not config.teachers or not config.weight:
        return examples
    answers = torch.stack([_answers(Path(t), examples, recipe) for t in config.teachers]).mean(0)
    targets = examples.targets_nk * (1 - config.weight) + answers * config.weight
    return replace(examples, targets_nk=targets)


@torch.inference_mode()
def _answers(path: Path, examples: Examples, recipe: Recipe) -> Tensor:
    """Return a teacher's probabilities over the learnt labels, float32 [n, k]."""
    labels = open_run(path).recipe.learnt_labels
    if labels != recipe.learnt_labels:
        raise ConfigError(
            f"the teacher {path} learnt {', '.join(labels)}; this recipe learns "
            f"{', '.join(recipe.learnt_labels)}",
            hint="use the same labels and targets.classes for both",
        )
    model = load_scorer(path).model
    parts = [model(part.float()) for part in torch.split(examples.pixels, SCORING_BATCH)]
    return torch.softmax(torch.cat(parts), dim=1).clone()
