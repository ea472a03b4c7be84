"""Train only the last part of a network: `fit.trainable`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from mien.train.networks.registry import Model
    from mien.train.recipe.settings import FitConfig


def freeze(model: Model, fit: FitConfig) -> None:
    """Exclude from training the parameters that `fit.trainable` leaves out."""
    if fit.trainable == "all":
        return
    model.body.requires_grad_(requires_grad=False)
    for module in _trained_modules(model, fit.trainable):
        module.requires_grad_(requires_grad=True)


def set_training_mode(model: Model, fit: FitConfig) -> None:
    """Set training mode, but evaluation mode for the frozen modules.

    Batch normalisation of frozen layers keeps its statistics and uses them.
    """
    model.train()
    if fit.trainable == "all":
        return
    trained = set(_trained_modules(model, fit.trainable))
    for module in model.body.modules():
        # One by one: `eval` would reach the trained modules inside a frozen container.
        if module not in trained:
            module.training = False


def _trained_modules(model: Model, trainable: str) -> Iterator[nn.Module]:
    roots = model.body.last_stage() if trainable == "last_stage" else [model.body.classifier()]
    for root in roots:
        yield from root.modules()
