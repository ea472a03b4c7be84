"""The arguments of `watch`, checked before the training starts: a mistake there is the user's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from mien.doctor.programs.inspection import held_by, unregistered
from mien.errors import ConfigError


def optimizers_of(model: Any, optimizer: Any) -> list[torch.optim.Optimizer]:
    """Return the optimisers as a list.

    Raises:
        ConfigError: `model` is no module, `optimizer` neither an optimiser nor several, or one of
            the two has no parameters.
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
    several = isinstance(optimizer, Iterable) and not isinstance(optimizer, str | dict | nn.Module)
    # Each once: given twice, its parameters would look as if two optimisers held them.
    given = list({id(one): one for one in (optimizer if several else [optimizer])}.values())
    for one in given:
        if not isinstance(one, torch.optim.Optimizer):
            raise ConfigError(
                f"optimizer: expected a torch.optim.Optimizer, found {type(one).__name__}",
                hint=_optimizer_hint(one),
            )
    _check_trained(model, given)
    return given


def _check_trained(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Refuse a model or optimisers without parameters: there is nothing that a step could change.

    Raises:
        ConfigError: the model has none, or the optimisers hold none.
    """
    # Layers in a plain list are a finding of their own.
    if next(model.parameters(), None) is None and not unregistered(model):
        raise ConfigError(
            f"model: {type(model).__name__} has no parameters, so there is nothing to train",
            hint="pass the module that the loop calls and whose parameters the optimiser holds; "
            "tensors are parameters as attributes of type torch.nn.Parameter",
        )
    if not optimizers:
        raise ConfigError(
            "optimizer: expected a torch.optim.Optimizer, found a list without any",
            hint="pass the optimiser whose step the loop calls, or a list of several",
        )
    if not held_by(*optimizers):
        names = " and ".join(dict.fromkeys(type(one).__name__ for one in optimizers))
        raise ConfigError(
            f"optimizer: {names} holds no parameters, so there is nothing to train",
            hint="create it from model.parameters(), and watch the loop after that",
        )


def _optimizer_hint(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "keras":
        return "a model of Keras cannot be watched; mien doctor reads the CSVLogger's file"
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
