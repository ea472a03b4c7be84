"""Optimizers, learning-rate schedules and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mien.train.loop.muon import Muon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from mien.train.recipe.settings import OptimizerConfig, ScheduleConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay applies to matrices and kernels only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return OPTIMIZERS[config.name](parameters, config)


def _sgd(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    groups = _decay_groups(parameters, config.weight_decay)
    nesterov = config.nesterov and config.momentum > 0  # torch refuses it without momentum
    return torch.optim.SGD(groups, config.rate, momentum=config.momentum, nesterov=nesterov)


def _adam(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(_decay_groups(parameters, config.weight_decay), config.rate)


def _adamw(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_decay_groups(parameters, config.weight_decay), config.rate)


def _muon(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return Muon, which orthogonalizes all matrices but the last: that one gives the logits."""
    decayed, others = _decay_groups(parameters, config.weight_decay)
    matrices = decayed["params"]
    groups = [
        {**decayed, "params": matrices[:-1], "orthogonal": True},
        {**decayed, "params": matrices[-1:], "orthogonal": False},
        {**others, "orthogonal": False},
    ]
    return Muon(groups, config.rate, config.momentum)


def _decay_groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Return matrices and kernels, with weight decay, and biases and normalisation, without."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], OptimizerConfig], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "muon": _muon,
}
"""The values of `optimizer.name`."""


def learning_rate(
    step: int, steps_per_epoch: int, epochs: int, peak: float, config: ScheduleConfig
) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        # Above 0 in the first step, and below the peak in the last of the warm-up.
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, steps_per_epoch * epochs - warmup)
    return peak * SCHEDULES[config.name](progress, config)


def _constant(progress: float, config: ScheduleConfig) -> float:
    return 1.0


def _step(progress: float, config: ScheduleConfig) -> float:
    # Tenfold drops at half and three quarters (He et al. 2016).
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def _linear(progress: float, config: ScheduleConfig) -> float:
    return 1 - (1 - config.final) * min(progress, 1.0)


def _cosine(progress: float, config: ScheduleConfig) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return config.final + (1 - config.final) * cosine


SCHEDULES: dict[str, Callable[[float, ScheduleConfig], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
}
"""The values of `schedule.name`: progress after warmup, 0 to 1 → fraction of the peak rate."""


def sharpness_aware(model: nn.Module, batch_loss: Callable[[], Tensor], radius: float) -> None:
    """Replace the gradients by those at `radius` uphill of the weights (Foret et al. 2021).

    Sharpness-aware minimization, arXiv:2010.01412. Call it after the backward pass; the running
    statistics of batch normalisation keep those of the original weights.

    Args:
        model: network with gradients.
        batch_loss: computes the batch's loss again.
        radius: length of the uphill step, in the units of the weights.
    """
    held = [(p.detach(), p.grad) for p in model.parameters() if p.grad is not None]
    weights, gradients = [p for p, _ in held], [g for _, g in held]
    # One norm over all layers, as in the paper.
    length = torch.stack(list(torch._foreach_norm(gradients))).norm()
    moves = list(torch._foreach_mul(gradients, float(radius / (length + 1e-12))))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    torch._foreach_add_(weights, moves)
    # The second forward pass must not move the running statistics a second time.
    for norm in norms:
        norm.momentum = 0.0
    model.zero_grad(set_to_none=True)
    batch_loss().backward()  # type: ignore[no-untyped-call]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    torch._foreach_sub_(weights, moves)


class WeightAverage:
    """Exponential moving average of weights and buffers (Polyak and Juditsky 1992).

    The decay grows from 0.1 to the given one, so that the initial weights are soon forgotten.
    `torch.optim.swa_utils.AveragedModel` copies the weights at its first update instead of
    averaging them, which would change trained weights.

    Args:
        model: network whose weights are averaged.
        decay: weight of the average in each update, 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average after optimizer step `step`, counted from 0."""
        # A short memory at first: else the random initial weights would stay in the average for
        # long.
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(_values(self.model), _values(model), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_(
            [ours for ours, _ in averaged], [theirs for _, theirs in averaged], weight
        )
        # Integers, such as the number of batches, cannot be averaged.
        for ours, theirs in pairs:
            if not ours.is_floating_point():
                ours.copy_(theirs)


def _values(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())
