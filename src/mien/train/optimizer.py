"""Optimisers, learning-rate schedules and the average of the weights."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from mien.train.config import OptimizerConfig, ScheduleConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser; weight decay applies to matrices and kernels only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
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
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return peak * (config.final + (1 - config.final) * cosine)


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
        ours, theirs = self.model.state_dict(), model.state_dict()
        mixed = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in mixed], [theirs[n] for n in mixed], weight)
        for name in ours.keys() - set(mixed):
            ours[name].copy_(theirs[name])
