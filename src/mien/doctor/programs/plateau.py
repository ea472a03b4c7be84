"""The ReduceLROnPlateau of a loop, found at its end: when the report is made, it may be gone.

PyTorch's optimiser does not know its scheduler. It is looked for in the variables of the functions
that run, which takes microseconds; the interpreter's objects, all of them, take 40 ms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from mien.doctor.programs.losses import Plateau

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import FrameType

    import torch

MAX_FRAMES, MAX_ITEMS = 24, 200


def plateau_of(
    optimizers: Sequence[torch.optim.Optimizer], cuts: int, frame: FrameType | None
) -> Plateau | None:
    """Return the ReduceLROnPlateau of one of these optimisers; None if none is in sight.

    Args:
        optimizers: of the loop.
        cuts: times that the rate was lowered.
        frame: whose variables, and those of its callers, are searched, with the attributes of
            `self`, and lists and dictionaries.
    """
    held = {id(optimizer) for optimizer in optimizers}
    for _ in range(MAX_FRAMES):
        if frame is None:
            return None
        for value in _values(frame.f_locals):
            # type(), since isinstance would ask lazy objects of other packages for their class.
            if not issubclass(type(value), ReduceLROnPlateau):
                continue
            if id(getattr(value, "optimizer", None)) in held:
                return Plateau(
                    str(value.mode),
                    int(value.patience),
                    int(value.cooldown),
                    int(value.last_epoch),
                    cuts,
                    _number(getattr(value, "best", None)),
                )
        frame = frame.f_back
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def _values(variables: dict[str, Any]) -> Iterator[Any]:
    """Yield the variables' values, and what is in those that hold others."""
    for name, value in list(variables.items()):
        yield value
        inner: Collection[Any] = ()
        if type(value) is dict:
            inner = value.values()
        elif type(value) in (list, tuple):
            inner = value
        elif name == "self":
            inner = getattr(value, "__dict__", {}).values()
        if len(inner) <= MAX_ITEMS:
            yield from list(inner)
