"""Models whose predictions are random in evaluation mode, and those whose are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.doctor.faults import healthy, program
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.programs.measurements import Repetition
from mien.doctor.programs.stochastic import repetition_of


class Net(nn.Module):
    """A perceptron; `kind` says what its forward pass does at random."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 3)
        self.kind, self.calls = kind, 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.first(x).relu())
        if self.kind == "dropout":
            x = functional.dropout(x, 0.5)
        elif self.kind == "dropout in training":
            x = functional.dropout(x, 0.5, training=self.training)
        elif self.kind == "noise" or (self.kind == "noise in training" and self.training):
            x = x + 0.3 * torch.randn_like(x)
        elif self.kind == "tiny noise":
            x = x + 1e-5 * torch.randn_like(x)
        elif self.kind == "layer":
            x = nn.Linear(32, 32)(x)
        elif self.kind == "counter":
            self.calls += 1
            x = x + self.calls
        elif self.kind == "NaN":
            x = x / 0 * 0
        out: Tensor = self.last(x)
        return out


class Autoencoder(nn.Module):
    """A variational one: it samples its code, as it should."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(8, 16, batch_first=True, dropout=0.3, num_layers=2), None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rnn(x)[0][:, -1]
        return out


def measured(model: nn.Module, inputs: Tensor | None = None) -> Repetition | None:
    torch.manual_seed(0)
    watch = doctor.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    watch.step(1.0, torch.randn(64, 8) if inputs is None else inputs, None)
    return repetition_of(watch)


@pytest.mark.parametrize(
    ("kind", "source"),
    [("dropout", "dropout"), ("noise", "randn_like"), ("layer", "kaiming_uniform_")],
)
def test_random_predictions_and_where_they_come_from(kind: str, source: str) -> None:
    found = measured(Net(kind))
    assert found is not None
    assert found.examples == 64
    assert found.relative > 0.05
    assert found.source == source
    assert found.place.startswith("test_stochastic.py, line ")


def test_the_difference_is_that_of_the_noise() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * torch.randn_like(x)

    found = measured(Noisy(8, 8), torch.randn(64, 8))
    assert found is not None
    # Two draws differ by the root of 2 times the noise; the inputs' deviation is 1.
    assert found.difference == pytest.approx(0.1414, rel=0.1)
    assert found.relative == pytest.approx(0.1414, rel=0.15)


@pytest.mark.parametrize(
    "model",
    [
        Net(),
        Net("dropout in training"),
        Net("noise in training"),
        Recurrent(),
        nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True),
    ],
)
def test_predictions_that_repeat(model: nn.Module) -> None:
    inputs = torch.randn(64, 5, 8) if isinstance(model, Recurrent) else None
    found = measured(model, inputs)
    assert found is not None
    assert found.relative == 0.0


@pytest.mark.parametrize("kind", ["counter", "NaN"])
def test_what_is_not_judged(kind: str) -> None:
    assert measured(Net(kind)) is None


def test_nothing_changes() -> None:
    model = Net("dropout")
    watch = doctor.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    watch.step(1.0, torch.randn(64, 8), None)
    state = torch.get_rng_state()
    assert repetition_of(watch) is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def report(model: nn.Module, loss: Any, x: Tensor, y: Tensor) -> doctor.Report:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer, every=4) as watch:
        for _ in range(8):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                value = loss(model(x[rows]), y[rows])
                value.backward()
                optimizer.step()
                watch.step(value, x[rows], y[rows])
            watch.validate(model, x[256:], y[256:])
    return watch.report()


def separable() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    y = torch.randint(0, 3, (384,))
    return torch.randn(384, 8) + 2 * torch.eye(8)[y], y


@pytest.mark.parametrize("kind", ["dropout", "noise"])
def test_it_is_named_and_its_remedy_removes_it(kind: str) -> None:
    x, y = separable()
    found = report(Net(kind), nn.CrossEntropyLoss(), x, y).findings
    (named,) = [finding for finding in found if finding.name == "stochastic-evaluation"]
    assert named.severity == "warning"
    assert named.confidence == ("high" if kind == "dropout" else "medium")
    assert ("training=self.training" in named.remedy) == (kind == "dropout")
    remedied = report(Net(f"{kind} in training"), nn.CrossEntropyLoss(), x, y)
    assert remedied.findings == ()


def test_noise_below_a_hundredth_of_the_deviation_is_no_finding() -> None:
    x, y = separable()
    assert report(Net("tiny noise"), nn.CrossEntropyLoss(), x, y).findings == ()


def test_a_variational_autoencoder_has_a_note() -> None:
    def loss(found: tuple[Tensor, Tensor, Tensor], y: Tensor) -> Tensor:
        output, mean, log_variance = found
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1).mean()
        return functional.mse_loss(output, y) + 1e-3 * divergence

    x, _ = separable()
    made = report(Autoencoder(), loss, x, x)
    assert "stochastic-evaluation" not in [finding.name for finding in made.findings]
    assert "stochastic-evaluation" in [note.name for note in made.notes]


def test_dropout_without_targets_is_a_warning_and_sampling_a_note() -> None:
    for source, severity in (("dropout", "warning"), ("randn_like", "note")):
        sound = program(has_targets=False, repetition=Repetition(64, 0.5, 0.4, source, ""))
        (found,) = diagnose(healthy(program=sound))
        assert (found.name, found.severity) == ("stochastic-evaluation", severity)
