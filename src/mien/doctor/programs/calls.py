"""How the loop calls its model: needed to evaluate kept examples, and to compute a loss again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from mien.doctor.programs.trees import call

Form = Literal["", "arguments", "whole", "other"]
"""'' if unknown; a batch's parts are the arguments, or the batch is the one argument; 'other' where
the model is called in another way, such as once for each part."""

OTHER = (
    "the model is called in another way than with the inputs given to Watch.step, such as several "
    "times in a step: what needs its outputs for kept examples was not judged"
)


def form_of(first: tuple[Any, ...], inputs: Any) -> Form:
    """Return how a step's first forward pass used its inputs.

    Args:
        first: positional arguments of that pass; empty where it is called by keyword.
        inputs: given to `Watch.step`.
    """
    if not first:
        return ""
    if isinstance(inputs, Mapping):
        return "whole" if isinstance(first[0], Mapping) else ""
    if not isinstance(inputs, list | tuple) or len(inputs) < 2:
        return ""
    if len(first) == 1 and isinstance(first[0], list | tuple):
        return "whole"
    tensors = [value for value in first if isinstance(value, Tensor)]
    return "other" if len(tensors) < sum(isinstance(v, Tensor) for v in inputs) else "arguments"


def has_forward(model: nn.Module) -> bool:
    """Return whether a model can be called; a ModuleList or a ModuleDict cannot."""
    return type(model).forward is not nn.Module.forward or "forward" in vars(model)


def call_as(form: Form, model: nn.Module, inputs: Any) -> Any:
    """Return the model's output for inputs, called as the loop does; None where that is unknown."""
    if form == "other":
        return None
    return model(inputs) if form == "whole" else call(model, inputs)
