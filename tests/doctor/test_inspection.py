"""What the structure of a model and its schedulers shows, without a step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from mien.doctor.programs.inspection import (
    bare,
    equal_rows,
    frozen_untrained,
    layer_weights,
    scheduler_faults,
    schedulers_of,
    unregistered,
    weight_gains,
    without_bias,
)


def linear(inputs: int = 64, outputs: int = 32, **options: Any) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, **options)


def test_the_module_inside_wrappers() -> None:
    model = nn.Sequential(linear())
    assert bare(model) is model
    assert bare(nn.DataParallel(model)) is model


def test_weights_of_layers_have_their_names() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), linear(4, 8), nn.LayerNorm(8), nn.GRU(8, 4))
    assert layer_weights(model) == {"1.weight", "3.weight_ih_l0", "3.weight_hh_l0"}
    assert layer_weights(linear()) == {"weight"}


def test_modules_in_plain_lists_are_unregistered() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [linear(), linear()]
            self.heads = {"a": nn.Parameter(torch.zeros(3))}
            self.seen = nn.ModuleList([linear()])
            self.alias = [self.seen[0]]
            self.sizes = [1, 2]

    assert unregistered(Hidden()) == ("layers", "heads")
    assert unregistered(nn.Sequential(Hidden())) == ("0.layers", "0.heads")


def test_frozen_weights_are_untrained_only_with_their_initial_distribution() -> None:
    layer, embedding = linear(), nn.Embedding(200, 32)
    model = nn.Sequential(embedding, layer)
    assert frozen_untrained(model) == ()
    for parameter in model.parameters():
        parameter.requires_grad = False
    assert frozen_untrained(model) == ("0.weight", "1.weight")
    with torch.no_grad():
        layer.weight.normal_(std=0.3)  # as trained weights, beyond the initial bound
        embedding.weight[:40] += 2 * torch.randn(32)  # words of one kind
    assert frozen_untrained(model) == ()


def test_gains_of_the_usual_initialisations() -> None:
    layer = linear(400, 300)
    assert weight_gains(layer)["weight"] == pytest.approx(1 / math.sqrt(3), rel=0.02)
    nn.init.kaiming_normal_(layer.weight)
    assert weight_gains(nn.Sequential(layer))["0.weight"] == pytest.approx(math.sqrt(2), rel=0.02)
    assert weight_gains(linear(3, 8)) == {}  # too few inputs for an estimate


def test_equal_rows_are_found() -> None:
    first, second = linear(), linear(32, 4)
    model = nn.Sequential(first, second, linear(4, 1))
    assert equal_rows(model) == set()
    nn.init.constant_(first.weight, 0.1)
    nn.init.zeros_(second.weight)
    assert equal_rows(model) == {"0.weight", "1.weight"}


def test_a_missing_bias_is_one_that_no_layer_has() -> None:
    free = nn.Sequential(linear(bias=False), nn.ReLU(), linear(32, 2, bias=False))
    assert without_bias(free) == ("0", "2")
    assert without_bias(nn.Sequential(free, linear(2, 2))) == ()
    assert without_bias(nn.Sequential(free, nn.LayerNorm(2))) == ()
    assert without_bias(nn.ReLU()) == ()


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)


def stepped(scheduler: Any, times: int) -> Any:
    scheduler.optimizer.step()
    for _ in range(times):
        scheduler.step()
    return scheduler


def test_the_schedulers_of_an_optimiser_are_found() -> None:
    ours, other = optimizer(), optimizer()
    kept = [lr_scheduler.StepLR(ours, 5), lr_scheduler.ReduceLROnPlateau(ours),
            lr_scheduler.StepLR(other, 5)]  # fmt: skip
    found = schedulers_of([ours])
    assert {id(s) for s in found} == {id(s) for s in kept[:2]}


@pytest.mark.parametrize(
    ("make", "times", "message"),
    [
        (lambda o: lr_scheduler.StepLR(o, 5), 0, "StepLR was never stepped in 300 steps"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o), 0, "ReduceLROnPlateau was never stepped"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 10), 300, "planned for 10 steps and stepped"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=300), 10, "stepped only 10 times"),
        (lambda o: lr_scheduler.MultiStepLR(o, [5, 8]), 300, "last milestone at 8"),
    ],
)
def test_schedulers_that_are_stepped_wrongly(make: Any, times: int, message: str) -> None:
    (sentence,) = scheduler_faults([stepped(make(optimizer()), times)], steps=300, epochs=6)
    assert message in sentence


@pytest.mark.parametrize(
    ("make", "times"),
    [
        (lambda o: lr_scheduler.StepLR(o, 5), 6),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 6), 6),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=300), 300),
        # Warm restarts continue after their first period.
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2), 6),
        (lambda o: lr_scheduler.MultiStepLR(o, [3, 5]), 6),
    ],
)
def test_schedulers_that_are_stepped_as_planned(make: Any, times: int) -> None:
    assert scheduler_faults([stepped(make(optimizer()), times)], steps=300, epochs=6) == ()
