"""Chance level: in the reduction of the recorded losses, and none where a loss has no zero."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tests.doctor.faults import healthy, measured, program
from torch import Tensor, nn

from mien import doctor
from mien.doctor.facts import chance_loss
from mien.doctor.programs.supply import gather
from mien.doctor.rule import RULES, Abstention
from mien.doctor.thresholds import Thresholds

COMPARED = ("diverged", "exploding-gradients", "loss-not-decreasing")


def judged(name: str, chance: float, losses: tuple[float, ...]) -> object:
    evidence = healthy(program=program(), chance=chance, signals=measured(losses=losses))
    return RULES[name].judge(evidence, Thresholds())


@pytest.mark.parametrize("name", COMPARED)
def test_a_chance_level_that_is_not_defined_judges_nothing(name: str) -> None:
    # A critic's losses: the first one is negative, and so would be any factor of it.
    for chance in (-0.08, 0.0):
        outcome = judged(name, chance, (-0.08, 0.3) * 6)
        assert isinstance(outcome, Abstention)
        assert "no chance level" in outcome.reason
    assert not isinstance(judged(name, 1.1, (0.9, 0.3) * 6), Abstention)


def test_a_critic_is_not_said_to_explode() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
    with doctor.watch(critic, optimizer, every=2) as watch:
        for _ in range(60):
            real, fake = torch.randn(32, 2) + 1, torch.randn(32, 2)
            optimizer.zero_grad()
            loss = critic(fake).mean() - critic(real).mean()
            loss.backward()
            optimizer.step()
            for p in critic.parameters():
                p.data.clamp_(-0.1, 0.1)
            watch.step(loss, torch.cat([real, fake]))
    assert chance_loss(gather(watch)) != chance_loss(gather(watch))  # nan
    report = watch.report()
    assert report.findings == ()
    assert "exploding-gradients" in report.not_judged


def test_a_log_likelihood_that_falls_below_zero_has_no_chance_level() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with doctor.watch(model, optimizer, every=2) as watch:
        for _ in range(40):
            mean, log_variance = model(x).chunk(2, dim=1)
            error = 0.01 * x[:, :1] - mean
            loss = (0.5 * log_variance + 0.5 * error.square() * (-log_variance).exp()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss, x, 0.01 * x[:, :1])
    assert watch.known_losses()[-1] < 0
    assert gather(watch).chance == 0.0
    assert watch.report().findings == ()


def summed(p: Tensor, t: Tensor) -> Tensor:
    return nn.functional.cross_entropy(p, t, reduction="none").sum()


@pytest.mark.parametrize(
    ("criterion", "scale"),
    [
        (nn.CrossEntropyLoss(), 1),
        (nn.CrossEntropyLoss(reduction="sum"), 32),
        (summed, 32),
        (lambda p, t: nn.functional.cross_entropy(p, t), 1),
    ],
)
def test_a_sum_is_compared_with_the_chance_level_of_a_sum(
    criterion: Callable[[Tensor, Tensor], Tensor], scale: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 5)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer, loss=criterion, every=2) as watch:
        for _ in range(3):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[:64], y[:64])
    evidence = gather(watch)
    known = isinstance(criterion, nn.CrossEntropyLoss)
    expected = scale * math.log(2) if known else watch.known_losses()[0]
    assert evidence.chance == pytest.approx(expected, rel=0.01)
    assert evidence.program is not None
    assert evidence.program.dropout_loss_ratio == pytest.approx(1, abs=0.3)
    assert not {"exploding-gradients", "diverged", "dropout-too-strong"} & {
        f.name for f in watch.report().findings
    }


def test_a_squared_error_is_summed_over_the_batch_too() -> None:
    torch.manual_seed(0)
    x = torch.randn(128, 4)
    y = x[:, :2] * 3
    chances = []
    for reduction in ("mean", "sum"):
        model = nn.Linear(4, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        criterion = nn.MSELoss(reduction=reduction)
        with doctor.watch(model, optimizer, loss=criterion, every=2) as watch:
            for rows in torch.arange(128).split(16):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
        chances.append(gather(watch).chance)
    # 16 examples with two values each.
    assert chances[1] == pytest.approx(32 * chances[0], rel=1e-5)
    assert chances[0] == pytest.approx(float(y.var(dim=0, correction=0).mean()), rel=1e-4)


def test_an_untrained_network_on_rare_classes_does_not_explode() -> None:
    # log 2 is seven times the entropy of a class with 2% of the examples.
    start = {"losses": (0.69, *(0.09,) * 7)}
    evidence = healthy(
        program=program(uniform=math.log(2)), chance=0.098, signals=measured(**start)
    )
    assert RULES["exploding-gradients"].judge(evidence, Thresholds()) is None
    evidence = healthy(
        program=program(uniform=math.log(2)), chance=0.098, signals=measured(losses=(9.0,) * 8)
    )
    assert RULES["exploding-gradients"].judge(evidence, Thresholds()) is not None
