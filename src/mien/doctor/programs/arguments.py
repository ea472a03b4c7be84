"""The arguments of `watch`, checked before the training starts: a mistake there is the user's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from mien.errors import ConfigError


def optimizers_of(model: Any, optimizer: Any) -> list[torch.optim.Optimizer]:
    """Return the optimisers as a list.

    Raises:
        ConfigError: `model` is no module, or `optimizer` neither an optimiser nor several.
    """
    if isinstance(model, torch.optim.Optimizer) and isinstance(optimizer, nn.Module):
        raise ConfigError(
            f"model: expected a torch.nn.Module, found {type(model).__name__}, and the model as "
            "the optimizer",
            hint="swap the two: watch(model, optimizer)",
        )
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model: expected a torch.nn.Module, found {type(model).__name__}",
            hint="pass the module that the loop calls",
        )
    if isinstance(optimizer, torch.optim.Optimizer):
        return [optimizer]
    several = isinstance(optimizer, Iterable) and not isinstance(optimizer, str | dict | nn.Module)
    given = list(optimizer) if several else [optimizer]
    for one in given:
        if not isinstance(one, torch.optim.Optimizer):
            raise ConfigError(
                f"optimizer: expected a torch.optim.Optimizer, found {type(one).__name__}",
                hint=_optimizer_hint(one),
            )
    return given


def _optimizer_hint(value: Any) -> str:
    if isinstance(getattr(value, "optimizer", None), torch.optim.Optimizer):
        return "pass the optimiser that the scheduler changes; the scheduler is found by itself"
    return "pass the optimiser whose step the loop calls, or a list of several"


def check_loss(loss: Any) -> None:
    """Refuse a criterion that cannot be called with predictions and targets.

    Raises:
        ConfigError: `loss` is a class, or cannot be called.
    """
    if isinstance(loss, type):
        raise ConfigError(
            f"loss: expected a criterion, found the class {loss.__name__} itself",
            hint=f"pass an instance: {loss.__name__}()",
        )
    if loss is not None and not callable(loss):
        raise ConfigError(
            f"loss: expected a criterion such as torch.nn.CrossEntropyLoss(), found "
            f"{type(loss).__name__}",
            hint="pass the function, not its value; Watch.step takes the value",
        )


def names_of(classes: Any) -> tuple[str, ...] | None:
    """Return the names of the classes, or None if there are none.

    Raises:
        ConfigError: `classes` is a single text, or no sequence.
    """
    if classes is None:
        return None
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise ConfigError(
            f"classes: expected a sequence of names, found {classes!r}",
            hint='pass a list such as ["cat", "dog"], or leave it out',
        )
    return tuple(str(name) for name in classes)


def check_every(every: Any) -> None:
    """Refuse a distance between measured steps that is no whole number, 1 or more.

    Raises:
        ConfigError: it is of another type, or out of range.
    """
    if every is None:
        return
    if isinstance(every, bool) or not isinstance(every, int | np.integer):
        raise ConfigError(
            f"every: expected a whole number of steps, found {every!r}",
            hint="pass an int, 1 or more, or leave it out for the default",
        )
    if every < 1:
        raise ConfigError(
            f"every: {every!r} is out of range, 1 or more", hint="leave it out for the default"
        )


def check_validated(model: Any) -> None:
    """Refuse a model to validate that is no module, such as inputs in its place.

    Raises:
        TypeError: it is neither a module nor None.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(
            f"model: expected a torch.nn.Module or None, found {type(model).__name__}; call "
            "watch.validate(model, inputs, targets)"
        )
