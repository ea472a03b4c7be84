"""Loops with several optimisers: generator and discriminator, and parts of one network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.doctor.faults import epoch, healthy, program
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.programs.optimizers import has_separate_losses, held_twice

BCE = nn.BCEWithLogitsLoss()


class Pair(nn.Module):
    """A generator of points on a circle, and its discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.G = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2))
        self.D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.D(self.G(z))
        return out


def circle(n: int = 64) -> Tensor:
    angle = 6.283 * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def adversarial(*, form: str = "", steps: int = 160) -> doctor.Watch:
    """Train a GAN; `form` says how the loop is written, or what is wrong in it."""
    torch.manual_seed(0)
    both = Pair()
    held = both.D if form == "copied" else both.G
    optimizers = [torch.optim.Adam(p.parameters(), lr=1e-3, betas=(0.5, 0.9))
                  for p in (held, both.D)]  # fmt: skip
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    if form == "least squares":
        bce: Any = nn.MSELoss()
    elif form == "smooth":
        bce, ones = BCE, 0.9 * ones
    else:
        bce = BCE
    with doctor.watch(both, optimizers) as watch:
        for _ in range(steps):
            z = torch.randn(64, 8)
            fake = both.G(z)
            loss = bce(both.D(circle()), ones) + bce(both.D(fake.detach()), zeros)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            if form == "two steps":
                watch.step(loss)
            found = both(z) if form == "whole" else both.D(fake)
            loss = bce(found, ones)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            watch.step(loss, z, None if form == "no targets" else ones)
    return watch


@pytest.mark.parametrize(
    "form", ["", "no targets", "two steps", "whole", "least squares", "smooth"]
)
def test_a_sound_gan_has_no_finding(form: str) -> None:
    watch = adversarial(form=form)
    assert has_separate_losses(watch)
    assert watch.report().findings == ()


def test_a_generator_s_optimiser_with_the_discriminator_s_parameters() -> None:
    report = adversarial(form="copied").report()
    assert [finding.name for finding in report.findings] == [
        "parameters-not-optimized",
        "parameters-in-two-optimizers",
    ]
    found = report.findings[1]
    assert "4 of 8 parameter tensors" in found.evidence
    assert "D.0.weight" in found.evidence


def one_loss(*, twice: bool = False) -> doctor.Watch:
    """Train one network with an optimiser for each half, on labels that are all 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 3))
    parts = [model[0].parameters(), model.parameters() if twice else model[1].parameters()]
    optimizers = [torch.optim.Adam(part, lr=1e-3) for part in parts]
    criterion, x = nn.CrossEntropyLoss(), torch.randn(256, 8)
    y = torch.ones(256, dtype=torch.long)
    with doctor.watch(model, optimizers, loss=criterion) as watch:
        for _ in range(6):
            for rows in torch.randperm(256).split(32):
                loss = criterion(model(x[rows]), y[rows])
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
                watch.step(loss, x[rows], y[rows])
    return watch


def test_optimisers_that_share_a_loss_are_no_opponents() -> None:
    watch = one_loss()
    assert not has_separate_losses(watch)
    assert held_twice(watch) == ()
    names = [finding.name for finding in watch.report().findings]
    # Labels that are all equal, and layers without an activation: named as with one optimiser.
    assert {"class-imbalance", "no-nonlinearity"} <= set(names)
    assert held_twice(one_loss(twice=True)) == ("0.weight", "0.bias")


def test_a_loss_with_an_opponent_may_rise() -> None:
    rising = [epoch(i, losses=(0.2 * i,) * 8) for i in range(1, 11)]
    for separate, found in ((True, []), (False, ["diverged"])):
        loop = program(kind="other", separate_losses=separate)
        diagnosis = diagnose(healthy(program=loop, signals=rising, chance=0.2))
        assert [finding.name for finding in diagnosis] == found
