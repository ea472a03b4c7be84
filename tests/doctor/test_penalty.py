"""Penalties on the weights in the loss of small watched loops: strong ones, weak ones and none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien import doctor
from mien.doctor.programs.measurements import Penalty
from mien.doctor.programs.penalty import SUMS, PenaltyMeter
from mien.doctor.programs.watch import Watch

Size = Callable[[Tensor], Tensor]
ABSOLUTE: Size = lambda w: w.abs().sum()  # noqa: E731 - as short as the sum itself
SQUARED: Size = lambda w: w.square().sum()  # noqa: E731


class Penalised(nn.Module):
    """Cross-entropy and a penalty, as one criterion."""

    def __init__(self, model: nn.Module, size: Size, factor: float) -> None:
        super().__init__()
        self.weights = [p for p in model.parameters() if p.ndim > 1]
        self.size, self.factor = size, factor

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(out, y)
        return value + self.factor * torch.stack([self.size(w) for w in self.weights]).sum()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3))


def fit(
    model: nn.Module, loss: Any, added: Callable[[], Any] = lambda: 0.0, *, clip: float = 0.0
) -> Watch:
    """Train on three classes; `added` is what the loop adds to the criterion's value."""
    y = torch.randint(3, (400,))
    x = torch.randn(400, 8) + 2 * torch.eye(8)[y]
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    with doctor.watch(model, optimizer, loss=loss, every=2) as watch:
        for _ in range(6):
            for rows in torch.randperm(300).split(16):
                optimizer.zero_grad()
                value = loss(model(x[rows]), y[rows]) + added()
                value.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                watch.step(value, x[rows], y[rows])
            watch.validate(model, x[300:], y[300:])
    return watch


def penalty(watch: Watch) -> Penalty | None:
    return watch.penalty.result()


def names(watch: Watch) -> set[str]:
    return {f.name for f in watch.report().findings}


@pytest.mark.parametrize(
    ("size", "factor", "divisor"), [(ABSOLUTE, 0.1, "100"), (SQUARED, 1.0, "1,000")]
)
def test_a_strong_penalty_in_the_criterion_is_named_alone(
    size: Size, factor: float, divisor: str
) -> None:
    model = network()
    watch = fit(model, Penalised(model, size, factor))
    (finding,) = watch.report().findings
    assert finding.name == "penalty-too-strong"
    assert finding.remedy.startswith(f"Divide the penalty's factor by about {divisor}, or")
    assert not watch.notes


@pytest.mark.parametrize(("size", "factor"), [(ABSOLUTE, 0.1 / 100), (SQUARED, 1.0 / 1000)])
def test_a_weak_penalty_and_its_remedy_are_sound(size: Size, factor: float) -> None:
    model = network()
    watch = fit(model, Penalised(model, size, factor))
    found = penalty(watch)
    assert found is not None
    assert found.ratio < 0.05
    assert names(watch) == set()


@pytest.mark.parametrize(
    ("size", "kind", "factor"), [(ABSOLUTE, "absolute", 0.1), (SQUARED, "squared", 1.0)]
)
def test_a_penalty_beside_the_criterion_is_known_by_its_sum(
    size: Size, kind: str, factor: float
) -> None:
    model = network()
    weights = [p for p in model.parameters() if p.ndim > 1]
    watch = fit(model, nn.CrossEntropyLoss(),
                lambda: factor * sum(size(w) for w in weights))  # fmt: skip
    found = penalty(watch)
    assert found is not None
    assert found.kind == kind
    assert found.factor == pytest.approx(factor, rel=1e-3)
    inside = network()
    other = penalty(fit(inside, Penalised(inside, size, factor)))
    assert other is not None
    assert found.ratio == pytest.approx(other.ratio, rel=0.05)
    assert "penalty-too-strong" in names(watch)


def test_clipping_does_not_hide_a_penalty() -> None:
    def ratio(clip: float) -> float:
        model = network()
        found = penalty(fit(model, Penalised(model, ABSOLUTE, 0.1), clip=clip))
        assert found is not None
        return found.ratio

    assert ratio(0.1) == pytest.approx(ratio(0.0), rel=0.5)


class Temperature(nn.Module):
    """A criterion with a learnt temperature, a parameter of the model: no penalty."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.scale: Any = model.scale

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(out * self.scale, y)


def test_other_terms_and_weights_of_the_criterion_are_no_penalty() -> None:
    assert penalty(fit(network(), nn.CrossEntropyLoss())) is None
    # A second loss that the loop adds.
    assert penalty(fit(network(), nn.CrossEntropyLoss(), lambda: torch.rand(()))) is None
    assert penalty(fit(network(), nn.CrossEntropyLoss(), lambda: 0.5)) is None
    model = network()
    model.scale = nn.Parameter(torch.ones(()))
    assert penalty(fit(model, Temperature(model))) is None


def test_the_training_is_the_same_as_without_the_watch() -> None:
    watched = network()
    fit(watched, Penalised(watched, ABSOLUTE, 0.01))
    plain = network()
    y = torch.randint(3, (400,))
    x = torch.randn(400, 8) + 2 * torch.eye(8)[y]
    criterion = Penalised(plain, ABSOLUTE, 0.01)
    optimizer = torch.optim.Adam(plain.parameters(), 5e-3)
    for _ in range(6):
        for rows in torch.randperm(300).split(16):
            optimizer.zero_grad()
            criterion(plain(x[rows]), y[rows]).backward()
            optimizer.step()
    for a, b in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_of_vectors_has_no_weights_to_leave_vectors_out_of() -> None:
    meter = PenaltyMeter()
    for step in range(3):
        meter.added.append({(kind, False): (0.1, 2.0 + step, 0.5) for kind in SUMS})
    found = meter.result()
    assert found is not None
    assert (found.ratio, found.factor) == (0.5, 0.1)
