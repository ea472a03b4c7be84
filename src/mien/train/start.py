"""Weights to begin with: those of a training that went before, instead of random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.train.runfolder import load_scorer, open_run

if TYPE_CHECKING:
    from mien.train.config import Recipe
    from mien.train.networks.registry import Model


def begin_from(model: Model, recipe: Recipe) -> None:
    """Give the model the weights of the run that `fit.start` names, where it names one.

    Where that run learnt other labels, the last layer, which answers, keeps its random weights.

    Raises:
        ConfigError: the run's network is another one.
        RunFolderError: it is no run folder, or finished no epoch.
    """
    if not recipe.fit.start:
        return
    path = Path(recipe.fit.start)
    weights = load_scorer(path).model.state_dict()
    own = model.state_dict()
    if open_run(path).recipe.learnt_labels != recipe.learnt_labels:
        *_, last = (name for name in own if own[name].ndim == 2)
        answering = last.rpartition(".")[0] + "."
        weights |= {name: value for name, value in own.items() if name.startswith(answering)}
    fits = {name: value.shape for name, value in weights.items()}
    if fits != {name: value.shape for name, value in own.items()}:
        raise ConfigError(
            f"fit.start: the network of {path} is not this recipe's",
            hint="take its recipe's [network] and size of crops, or leave fit.start out",
        )
    model.load_state_dict(weights)
