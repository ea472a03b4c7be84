"""Losses that compare examples, oppose each other or steer the rate, each with a sound twin."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.finding import Finding

NAMES = {
    "contrastive-temperature", "losses-mixed", "scheduler-mode", "learning-rate-vanishes",
    "loss-not-decreasing", "collapsed-outputs", "gradients-accumulate",
}  # fmt: skip


def findings(watch: doctor.Watch) -> dict[str, Finding]:
    return {f.name: f for f in watch.report().findings if f.name in NAMES}


def contrast(temperature: float, *, joined: bool) -> dict[str, Finding]:
    """Train embeddings of 12 values, so that two noisy views of one example are alike."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16))
    x = torch.randn(384, 12)
    steps = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_of(first: Tensor, second: Tensor) -> Tensor:
        a, b = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
        return functional.cross_entropy(a @ b.T / temperature, torch.arange(len(a)))

    with doctor.watch(model, steps, every=3) as watch:
        for _ in range(5):
            for rows in torch.randperm(384).split(32):
                views = [x[rows] + 0.3 * torch.randn(32, 12) for _ in range(2)]
                steps.zero_grad()
                if joined:
                    loss = loss_of(*model(torch.cat(views)).chunk(2))
                else:
                    loss = loss_of(model(views[0]), model(views[1]))
                loss.backward()
                steps.step()
                watch.step(loss, torch.cat(views) if joined else tuple(views), torch.arange(32))
    return findings(watch)


@pytest.mark.parametrize("joined", [False, True])
def test_a_temperature_that_flattens_the_loss(joined: bool) -> None:
    found = contrast(40.0, joined=joined)
    assert set(found) == {"contrastive-temperature"}
    finding = found["contrastive-temperature"]
    assert finding.title.endswith("too high")
    assert 15 < float(str(finding.numbers["temperature"])) < 100
    assert contrast(0.2, joined=joined) == {}


def test_a_temperature_that_is_too_low() -> None:
    torch.manual_seed(1)
    found = contrast(0.0015, joined=False)
    assert "contrastive-temperature" not in found or found[
        "contrastive-temperature"
    ].title.endswith("too low")


def adversaries(*, detach: bool, clear: bool, both: bool = False) -> dict[str, Finding]:
    """Train a generator of values in two dimensions against a discriminator."""
    torch.manual_seed(2)
    made = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 2))
    judge = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 1))
    model, criterion = nn.ModuleDict({"g": made, "d": judge}), nn.BCEWithLogitsLoss()
    own = [torch.optim.Adam(part.parameters(), lr=2e-3) for part in (made, judge)]
    ones, zeros = torch.ones(32, 1), torch.zeros(32, 1)
    with doctor.watch(model, own, every=3) as watch:
        for _ in range(80):
            real, noise = torch.randn(32, 2) + 2, torch.randn(32, 3)
            fake = made(noise)
            for optimizer in own:
                optimizer.zero_grad()
            shown = fake.detach() if detach else fake
            first = criterion(judge(real), ones) + criterion(judge(shown), zeros)
            first.backward(retain_graph=not detach)
            own[1].step()
            if clear:
                own[0].zero_grad()
            # The discriminator has changed: its new judgement needs the values again.
            second = criterion(judge(made(noise)), ones)
            second.backward()
            own[0].step()
            watch.step(first + second, noise, ones)
    return findings(watch)


def test_a_discriminator_that_pushes_the_generator_back() -> None:
    found = adversaries(detach=False, clear=False)
    assert set(found) == {"losses-mixed"}
    assert "g." in found["losses-mixed"].evidence
    # Detached, or cleared in between, the generator follows its own loss.
    assert adversaries(detach=True, clear=False) == {}
    assert adversaries(detach=False, clear=True) == {}


def test_one_loss_of_two_optimizers_is_not_mixed() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    own = [torch.optim.Adam(model[i].parameters(), lr=5e-3) for i in (0, 2)]
    x = torch.randn(256, 6)
    y = x[:, :1] - x[:, 1:2]
    with doctor.watch(model, own, loss=nn.MSELoss(), every=2) as watch:
        for rows in [r for _ in range(6) for r in torch.randperm(256).split(32)]:
            for optimizer in own:
                optimizer.zero_grad()
            loss = functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            for optimizer in own:
                optimizer.step()
            watch.step(loss, x[rows], y[rows])
    assert findings(watch) == {}


def plateau(mode: Literal["min", "max"], metric: str, patience: int = 1) -> dict[str, Finding]:
    """Train with ReduceLROnPlateau, which is gone when the report is made."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    steps = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    y = torch.randint(0, 3, (500,))
    x, criterion = torch.randn(500, 8) + 2.5 * torch.eye(8)[y], nn.CrossEntropyLoss()

    def loop() -> doctor.Watch:
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            steps,
            mode,
            factor=0.3,
            patience=patience,
        )
        with doctor.watch(model, steps, loss=criterion, every=3) as watch:
            for _ in range(9):
                for rows in torch.randperm(380).split(32):
                    steps.zero_grad()
                    loss = criterion(model(x[rows]), y[rows])
                    loss.backward()
                    steps.step()
                    watch.step(loss, x[rows], y[rows])
                watch.validate(model, x[380:], y[380:])
                with torch.no_grad():
                    held = model(x[380:])
                right = float((held.argmax(dim=1) == y[380:]).float().mean())
                scheduler.step(right if metric == "accuracy" else float(criterion(held, y[380:])))
        return watch

    return findings(loop())


def test_a_plateau_scheduler_whose_metric_moves_the_other_way() -> None:
    found = plateau("max", "loss")
    assert set(found) == {"scheduler-mode"}
    assert "mode='max'" in found["scheduler-mode"].evidence
    assert plateau("min", "loss") == {}
    assert plateau("max", "accuracy") == {}
    # Two epochs of patience, and a mode that suits no accuracy.
    assert set(plateau("min", "accuracy", 2)) == {"scheduler-mode"}
