"""Gradients of several losses in one step: those that another optimiser's loss left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mien.doctor.programs.inspection import held_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

TRACKED_ENTRIES = 2048
"""Entries of each gradient that are compared, the first ones: all would cost as much as the
rest."""


def first(gradient: Tensor) -> Tensor:
    """Return the first entries of a gradient, flattened."""
    return gradient.detach().reshape(-1)[:TRACKED_ENTRIES]


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine between two gradients; 0 where one of them is 0."""
    return float(torch.dot(a, b) / (a.norm() * b.norm() + 1e-300))


def smallest_of_each(
    groups: Sequence[set[int]], named: Sequence[tuple[str, nn.Parameter]],
    known: Sequence[nn.Parameter],
) -> list[nn.Parameter]:  # fmt: skip
    """Return the smallest weight of each optimiser that has none among the known ones."""
    found = []
    for group in groups:
        weights = [p for _, p in named if p.ndim > 1 and id(p) in group]
        if weights and not any(id(p) in group for p in known):
            found.append(min(weights, key=lambda p: p.numel()))
    return found


class Losses:
    """Tells the gradients of several optimisers' losses apart, in one step.

    Args:
        named: trainable parameters by name.

    Attributes:
        mixed: see `StepRow`.
    """

    def __init__(self, named: Sequence[tuple[str, nn.Parameter]]) -> None:
        self.named = named
        self.foreign: dict[int, Tensor] = {}
        self.mixed: tuple[str, float] | None = None

    def optimizer_starts(
        self, optimizer: Any, tracked: Sequence[nn.Parameter], computed: Sequence[Tensor | None]
    ) -> None:
        """Keep the gradients that others' parameters have already; compare its own with such.

        Args:
            optimizer: whose step begins.
            tracked: parameters whose gradients are compared.
            computed: sum of their gradients over the step's backward passes so far.
        """
        own = held_by(optimizer)
        for number, (parameter, total) in enumerate(zip(tracked, computed, strict=True)):
            if total is None:
                continue
            if id(parameter) not in own:
                # No later pass changes this sum in place.
                self.foreign.setdefault(number, total)
                continue
            before = self.foreign.get(number)
            if before is not None and parameter.grad is not None:
                self._compare(parameter, total.double(), before.double())

    def _compare(self, parameter: nn.Parameter, total: Tensor, other: Tensor) -> None:
        assert parameter.grad is not None  # noqa: S101 - checked by the caller
        used, mine = first(parameter.grad).double(), total - other
        # One loss for all optimisers has no gradient of its own here.
        if not float(mine.norm()) > 1e-6 * float(total.norm()) or not float(other.norm()) > 0:
            return
        if cosine(used, total) > 0.9999 and cosine(used, mine) < 0.9999:
            name = next(n for n, p in self.named if p is parameter)
            self.mixed = name, cosine(other, mine)
