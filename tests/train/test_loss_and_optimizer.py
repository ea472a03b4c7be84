from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from mien.train.loop.loss import balanced_weights, class_fractions, soft_cross_entropy
from mien.train.loop.optimizer import WeightAverage, learning_rate, make_optimizer
from mien.train.recipe.settings import LossConfig, OptimizerConfig, ScheduleConfig

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
RIGHT = torch.tensor([0, 1, 2, 0, 1, 2])
ONE_HOT = functional.one_hot(RIGHT, 3).float()


def test_hard_labels_are_torchs_cross_entropy() -> None:
    ours = soft_cross_entropy(LOGITS, ONE_HOT, torch.ones(6), LossConfig())
    torch.testing.assert_close(ours, functional.cross_entropy(LOGITS, RIGHT))
    smooth = soft_cross_entropy(LOGITS, ONE_HOT, torch.ones(6), LossConfig(label_smoothing=0.2))
    theirs = functional.cross_entropy(LOGITS, RIGHT, label_smoothing=0.2)
    torch.testing.assert_close(smooth, theirs)


def test_soft_labels_and_weights() -> None:
    soft = torch.full((6, 3), 1 / 3)
    ours = soft_cross_entropy(LOGITS, soft, torch.ones(6), LossConfig())
    torch.testing.assert_close(ours, functional.cross_entropy(LOGITS, soft))
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0])
    first = soft_cross_entropy(LOGITS, ONE_HOT, weights, LossConfig())
    torch.testing.assert_close(first, functional.cross_entropy(LOGITS[:1], RIGHT[:1]))


def test_class_weights_give_every_class_the_same_say() -> None:
    targets = functional.one_hot(torch.tensor([0, 0, 0, 1, 2, 2]), 4).float()
    weights = balanced_weights(class_fractions(targets, torch.ones(6)))
    torch.testing.assert_close(weights, torch.tensor([6 / 9, 2.0, 1.0, 0.0]))
    torch.testing.assert_close((targets @ weights).sum(), torch.tensor(6.0))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_biases_and_norms(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    optimizer = make_optimizer(model, OptimizerConfig(name, weight_decay=0.1))  # type: ignore[arg-type]
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in spared["params"]} == {1}


def test_schedules() -> None:
    constant = ScheduleConfig("constant")
    assert {learning_rate(i, 10, 4, 0.1, constant) for i in range(40)} == {0.1}
    cosine = ScheduleConfig("cosine", warmup_epochs=1, final=0.1)
    rates = [learning_rate(i, 10, 4, 1.0, cosine) for i in range(41)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1
    assert rates[25] == pytest.approx(0.55)
    assert rates[40] == pytest.approx(0.1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    linear = ScheduleConfig("linear", warmup_epochs=1, final=0.1)
    fall = [learning_rate(i, 10, 4, 1.0, linear) for i in range(41)]
    assert [fall[10], fall[25], fall[40]] == pytest.approx([1, 0.55, 0.1])
    step = ScheduleConfig("step")
    assert [learning_rate(i, 1, 8, 1.0, step) for i in (0, 3, 4, 6)] == [1, 1, 0.1, 0.01]


def test_the_average_follows_the_weights_and_their_statistics() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, decay=0.5)
    before = copy.deepcopy(average.model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    model.train()(torch.randn(4, 2))
    average.update(model, step=100)
    after = average.model.state_dict()
    torch.testing.assert_close(after["0.weight"], before["0.weight"] + 0.5)
    mean = (before["1.running_mean"] + model.state_dict()["1.running_mean"]) / 2
    torch.testing.assert_close(after["1.running_mean"], mean)
    assert after["1.num_batches_tracked"] == 1
    assert not average.model.training


def test_the_average_soon_forgets_the_start() -> None:
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.999)
    with torch.no_grad():
        model.weight.fill_(5)
    for step in range(60):
        average.update(model, step)
    assert abs(average.model.state_dict()["weight"].item() - 5) < 0.01
