"""Muon: steps of kernels and matrices made orthogonal (Jordan et al. 2024).

A step along the gradient is dominated by a few directions; its nearest orthogonal matrix moves
all of them alike (https://kellerjordan.github.io/posts/muon). PyTorch has a Muon of its own, for
matrices only and in bfloat16, which some processors advertise and cannot run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose repetition brings singular values near 1; Jordan's."""
ITERATIONS = 5
OTHERS = 0.2
"""Rate of what is not orthogonalised, as a share of the rate."""


class Muon(torch.optim.Optimizer):
    """Muon for the groups marked 'orthogonal', SGD with momentum for the others.

    Args:
        groups: parameter groups, each with 'params', 'weight_decay' and 'orthogonal'.
        lr: of the orthogonal steps.
        momentum: of all of them; Nesterov's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients that are there; a closure is not called."""
        for group in self.param_groups:
            momentum = group["momentum"]
            rate = group["lr"] * (1 if group["orthogonal"] else OTHERS)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"]
                if group["orthogonal"]:
                    buffer.lerp_(p.grad, 1 - momentum)
                    step = orthogonal(p.grad.lerp(buffer, momentum))
                    p.mul_(1 - rate * group["weight_decay"])
                else:
                    gradient = p.grad.add(p, alpha=group["weight_decay"])
                    buffer.mul_(momentum).add_(gradient)
                    step = gradient.add(buffer, alpha=momentum)
                p.add_(step, alpha=-rate)


def orthogonal(gradient: Tensor) -> Tensor:
    """Return the nearest orthogonal matrix, nearly, in the gradient's shape.

    Args:
        gradient: float32 [outputs, ...]; all but the first axis are its columns.

    Returns:
        The same shape, scaled by sqrt(max(1, outputs / inputs)), so that a step changes outputs
        by as much whatever the layer's shape; singular values are 0.7 to 1.2 times that.
    """
    matrix = gradient.flatten(1)
    rows, columns = matrix.shape
    wide = matrix.T if rows > columns else matrix
    x = wide / wide.norm().clamp_min(1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.T
        quintic = torch.addmm(square, square, square, beta=b, alpha=c)
        x = torch.addmm(x, quintic, x, beta=a)
    x = x.T if rows > columns else x
    result: Tensor = x * math.sqrt(max(1.0, rows / columns))
    return result.reshape(gradient.shape)
