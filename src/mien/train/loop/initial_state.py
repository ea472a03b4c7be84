"""The state of a training before its first epoch, and the device it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mien.errors import ConfigError
from mien.train.loop.align_pretraining import fit_alignment
from mien.train.loop.distillation import load_teachers
from mien.train.loop.dlib_face import load_dlib_face, read_dlib_weights
from mien.train.loop.freeze import freeze
from mien.train.loop.pretrained import load_pretrained
from mien.train.loop.state import TrainingState
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.train.loop.loader import Examples
    from mien.train.recipe.recipe import Recipe


def initial_state(
    recipe: Recipe,
    examples: Examples,
    input_size: int,
    device: torch.device,
    align_progress: Callable[[int, int], None] | None = None,
) -> TrainingState:
    """Return the state before the first epoch, determined by the recipe, its seed and the data.

    Args:
        recipe: settings of the training.
        examples: training images on the CPU.
        input_size: side of the crops in pixels.
        device: device of the returned network.
        align_progress: called with (steps done, all steps) while `network.align` is trained on
            landmarks, which takes minutes. None leaves the alignment untrained: enough for who
            only measures the cost of steps.

    Raises:
        DataError: landmarks are found on too few of the images.
        ConfigError, RunFolderError: from `load_pretrained` or `load_teachers`.
        ModelFileError: the weights of `fit.pretrained` are missing or changed.
    """
    if recipe.fit.threads:
        torch.set_num_threads(recipe.fit.threads)
    # The order of what follows decides which random numbers initialise which weight.
    torch.manual_seed(recipe.fit.seed)
    normalise = Normalise.fitted(recipe.network.normalise, examples.pixels.numpy())
    model = build_model(
        recipe.network,
        normalise=normalise,
        input_size=input_size,
        classes=len(recipe.learnt_labels),
    )
    # Read before the alignment's minutes: the package may be missing.
    pretrained = read_dlib_weights() if recipe.fit.pretrained else None
    aligned = load_pretrained(model, recipe)
    if model.align is not None and not aligned and align_progress is not None:
        fit_alignment(model.align, normalise, examples.pixels, recipe.fit.seed, align_progress)
    if pretrained is not None:
        load_dlib_face(model, pretrained, examples.pixels, recipe.fit.seed)
    freeze(model, recipe.fit)
    state = TrainingState.start(model.to(device), recipe)
    if recipe.distillation.on_augmented and recipe.distillation.weight:
        state.teachers = [teacher.to(device) for teacher in load_teachers(recipe)]
    return state


def choose_device(name: str) -> torch.device:
    """Return the device 'cpu', 'cuda' or 'mps'; 'auto' takes a GPU if torch sees one.

    Raises:
        ConfigError: torch does not see the device on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, True):
        raise ConfigError(
            f"fit.device is {name!r}, and torch sees none here", hint="set fit.device=auto"
        )
    if name != "auto":
        return torch.device(name)
    return torch.device(next((device for device in available if available[device]), "cpu"))
