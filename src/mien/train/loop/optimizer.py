"""Optimisers, learning-rate schedules and the average of the weights."""

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
    """Return the optimiser; weight decay applies to matrices and kernels only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.name == "muon":
        return Muon(_muon_groups(parameters, config.weight_decay), config.rate, config.momentum)
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(groups, config.rate, momentum=config.momentum, nesterov=nesterov)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.rate)
    return torch.optim.AdamW(groups, config.rate)


def _muon_groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Return what is orthogonalised (all matrices but the last, which answers) and what is not."""
    matrices = [p for p in parameters if p.ndim > 1]
    inner, last = matrices[:-1], matrices[-1:]
    return [
        {"params": inner, "weight_decay": decay, "orthogonal": True},
        {"params": last, "weight_decay": decay, "orthogonal": False},
        {
            "params": [p for p in parameters if p.ndim <= 1],
            "weight_decay": 0.0,
            "orthogonal": False,
        },
    ]


def learning_rate(
    step: int, steps_per_epoch: int, epochs: int, peak: float, config: ScheduleConfig
) -> float:
    """Return the learning rate for a step, counted from 0 over the whole training."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, steps_per_epoch * epochs - warmup)
    if config.name == "constant":
        return peak
    if config.name == "step":
        return peak * (1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01)
    if config.name == "linear":
        return peak * (1 - (1 - config.final) * min(share, 1.0))
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return peak * (config.final + (1 - config.final) * cosine)


def sharpness_aware(model: nn.Module, batch_loss: Callable[[], Tensor], radius: float) -> None:
    """Replace the gradients, which are there, by those `radius` uphill (Foret et al. 2021).

    The running statistics of batch normalisation are of the weights as they are, not uphill.
    """
    held = [(p.detach(), p.grad) for p in model.parameters() if p.grad is not None]
    weights, gradients = [p for p, _ in held], [g for _, g in held]
    length = torch.stack(list(torch._foreach_norm(gradients))).norm()
    moves = list(torch._foreach_mul(gradients, float(radius / (length + 1e-12))))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    torch._foreach_add_(weights, moves)
    for norm in norms:
        norm.momentum = 0.0
    model.zero_grad(set_to_none=True)
    batch_loss().backward()  # type: ignore[no-untyped-call]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    torch._foreach_sub_(weights, moves)


class WeightAverage:
    """Exponential moving average of weights and buffers (Polyak and Juditsky 1992).

    Its decay grows to the given one, so that the first steps' weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model's weights, after optimiser step `step`."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(_values(self.model), _values(model), strict=True))
        mixed = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([ours for ours, _ in mixed], [theirs for _, theirs in mixed], weight)
        for ours, theirs in pairs:
            if not ours.is_floating_point():
                ours.copy_(theirs)


def _values(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())
