"""Muon: an optimizer that orthogonalizes the updates of matrices (Jordan et al. 2024).

A gradient step is dominated by a few directions; the nearest orthogonal matrix weighs all of them
equally (https://kellerjordan.github.io/posts/muon). PyTorch's own Muon takes matrices only, no
kernels, and computes in bfloat16, which some CPUs advertise but cannot run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's quintic iteration, which moves singular values towards 1."""
ITERATIONS = 5
SGD_RATE = 0.2
"""Learning rate of the parameters trained by SGD, as a fraction of the learning rate."""


class Muon(torch.optim.Optimizer):
    """Muon for the groups marked 'orthogonal', SGD with momentum for the others.

    Args:
        groups: parameter groups, each with 'params', 'weight_decay' and 'orthogonal'.
        lr: learning rate of the orthogonal updates.
        momentum: Nesterov momentum of all groups.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one optimizer step; `closure` is not called."""
        for group in self.param_groups:
            momentum = group["momentum"]
            rate = group["lr"] * (1 if group["orthogonal"] else SGD_RATE)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"]
                if group["orthogonal"]:
                    # A mean and not a sum: the iteration normalises the length anyway.
                    buffer.lerp_(p.grad, 1 - momentum)
                    step = orthogonal(p.grad.lerp(buffer, momentum))
                    p.mul_(1 - rate * group["weight_decay"])
                else:
                    gradient = p.grad.add(p, alpha=group["weight_decay"])
                    buffer.mul_(momentum).add_(gradient)
                    step = gradient.add(buffer, alpha=momentum)
                p.add_(step, alpha=-rate)


def orthogonal(gradient: Tensor) -> Tensor:
    """Return approximately the nearest orthogonal matrix, in the gradient's shape.

    Args:
        gradient: float32 [outputs, ...]; all axes but the first are flattened to columns.

    Returns:
        The same shape, scaled by sqrt(max(1, outputs / inputs)), so that the layer's shape does not
        change the size of a step; singular values are 0.7 to 1.2 times that factor.
    """
    matrix = gradient.flatten(1)
    rows, columns = matrix.shape
    # The smaller of the two squares, which takes most of the time.
    wide = matrix.T if rows > columns else matrix
    x = wide / wide.norm().clamp_min(1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.T
        quintic = torch.addmm(square, square, square, beta=b, alpha=c)
        # Not to convergence: singular values between 0.7 and 1.2 are enough for a step.
        x = torch.addmm(x, quintic, x, beta=a)
    x = x.T if rows > columns else x
    # Jordan's scale: a matrix with more outputs than inputs gets larger steps.
    result: Tensor = x * math.sqrt(max(1.0, rows / columns))
    return result.reshape(gradient.shape)
