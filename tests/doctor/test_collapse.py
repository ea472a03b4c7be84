"""Outputs that are the same for every example, and outputs that vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.doctor.faults import healthy, program
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.programs.collapse import collapse_of
from mien.doctor.programs.examine import evaluated
from mien.doctor.programs.measurements import Collapse
from mien.doctor.programs.tasks import task_of

Loss = Callable[[Any, Any], Tensor]


class Autoencoder(nn.Module):
    """A variational one: it returns the reconstruction, mean and log variance of its code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return self.decoder(mean + (0.5 * log_variance).exp() * noise), mean, log_variance


def evidence_bound(weight: float) -> Loss:
    def loss(found: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        made, mean, log_variance = found
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
        return ((made - x) ** 2).sum(dim=1).mean() + weight * divergence.mean()

    return loss


def contrastive(negatives: bool) -> Loss:
    """NT-Xent of two views; without negatives only their distance."""

    def loss(found: Tensor, _: Tensor) -> Tensor:
        one, two = functional.normalize(found, dim=1).chunk(2)
        if not negatives:
            return ((one - two) ** 2).sum(dim=1).mean()
        return functional.cross_entropy(one @ two.t() / 0.2, torch.arange(len(one)))

    return loss


def low_rank() -> Tensor:
    torch.manual_seed(1)
    x = torch.randn(512, 3) @ torch.randn(3, 16)
    return x / x.std()


def perceptron(outputs: int, *cut: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *cut, nn.Linear(32, outputs))


def watched(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor | None, *, epochs: int = 30,
    views: bool = False,
) -> doctor.Watch:  # fmt: skip
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = loss if isinstance(loss, nn.Module) else None
    with doctor.watch(model, optimizer, loss=criterion, every=8) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                batch = x[rows]
                if views:
                    batch = torch.cat([batch, batch]) + 0.1 * torch.randn(2 * len(rows), 16)
                wanted = batch if y is None else y[rows]
                optimizer.zero_grad()
                value = loss(model(batch), wanted)
                value.backward()
                optimizer.step()
                watch.step(value, batch, None if y is None else wanted)
    return watch


def measured(watch: doctor.Watch) -> Collapse | None:
    outputs = evaluated(watch, watch.train.inputs)
    return collapse_of(watch, task_of(watch, {"train": outputs, "validation": None}), outputs)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.001 * x


def named(watch: doctor.Watch) -> list[str]:
    return [finding.name for finding in watch.report().findings]


def test_a_posterior_that_collapsed_and_its_remedy() -> None:
    x = low_rank()
    for targets in (x, None):
        watch = watched(Autoencoder(), evidence_bound(50.0), x, targets)
        found = measured(watch)
        assert found is not None
        assert found.beside == ("length" if targets is None else "targets")
        assert found.can_learn
        assert found.relative < 0.05
        # Units of the decoder that never change are a consequence, and may be named beside it.
        assert named(watch)[0] == "collapsed-outputs"
        assert set(named(watch)) <= {"collapsed-outputs", "dead-units"}
        remedied = watched(Autoencoder(), evidence_bound(0.05), x, targets)
        sound = measured(remedied)
        assert sound is not None
        assert sound.relative > 0.5
        assert named(remedied) == []


def test_embeddings_without_negatives_and_the_remedy() -> None:
    x = low_rank()
    watch = watched(perceptron(16), contrastive(False), x, None, views=True)
    found = measured(watch)
    assert found is not None
    assert (found.beside, found.can_learn) == ("length", True)
    assert found.relative < 0.05
    report = watch.report()
    assert [finding.name for finding in report.findings] == ["collapsed-outputs"]
    assert report.findings[0].severity == "serious"
    assert "negative pairs" in report.findings[0].remedy
    remedied = watched(perceptron(16), contrastive(True), x, None, views=True)
    sound = measured(remedied)
    assert sound is not None
    assert sound.relative > 0.8
    assert "collapsed-outputs" not in named(remedied)


def test_a_regression_whose_inputs_are_cut_off() -> None:
    x = low_rank()
    y = x[:, :1] + 0.1 * torch.randn(512, 1)
    watch = watched(perceptron(1, Zero(), nn.Sigmoid()), nn.MSELoss(), x, y, epochs=8)
    found = measured(watch)
    assert found is not None
    assert found.relative < 0.05
    assert found.baseline is not None
    assert found.baseline > 0.9
    assert named(watch) == ["vanishing-gradients"]  # which explains it
    remedied = watched(perceptron(1), nn.MSELoss(), x, y, epochs=8)
    sound = measured(remedied)
    assert sound is not None
    assert sound.relative > 0.9
    assert named(remedied) == []


@pytest.mark.parametrize(
    ("outputs", "loss", "x", "y"),
    [
        (3, nn.CrossEntropyLoss(), low_rank(), torch.arange(512) % 3),
        (1, nn.BCEWithLogitsLoss(), low_rank(), (torch.arange(512) % 2)[:, None].float()),
        (16, nn.MSELoss(), torch.ones(512, 16), torch.randn(512, 16)),  # equal inputs
        (1, nn.MSELoss(), low_rank(), torch.ones(512, 1)),
        (1, nn.MSELoss(), low_rank()[:20], torch.randn(20, 1)),
        # Three values without targets may be a field with a large mean.
        (3, lambda found, _: (found**2).mean(), low_rank(), None),
    ],
)
def test_what_is_not_judged(outputs: int, loss: Loss, x: Tensor, y: Tensor | None) -> None:
    assert measured(watched(perceptron(outputs), loss, x, y, epochs=1)) is None


@pytest.mark.parametrize(
    ("relative", "baseline", "can_learn", "severity"),
    [
        (0.03, None, True, "serious"),
        (0.03, 0.5, False, "serious"),
        (0.005, 0.02, False, "warning"),
        (0.03, 0.02, False, None),  # targets that nothing predicts: little variation is right
        (0.08, 0.9, True, None),
    ],
)
def test_how_much_variation_the_task_allows(
    relative: float, baseline: float | None, can_learn: bool, severity: str | None
) -> None:
    collapse = Collapse(512, relative, baseline, can_learn, "targets")
    found = diagnose(healthy(program=program(kind="regression", collapse=collapse)))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
