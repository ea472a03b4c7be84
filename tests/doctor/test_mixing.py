"""Networks whose outputs depend on the other examples of the batch, and those whose do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.programs.mixing import mixing_of
from mien.doctor.programs.program import Mixing


class Net(nn.Module):
    """A perceptron with batch norm and dropout; any function follows its layers."""

    def __init__(self, hidden: Callable[[Any], Any], last: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)
        self.drop, self.hidden, self.last = nn.Dropout(0.2), hidden, last

    def forward(self, x: Tensor) -> Any:
        x = self.drop(self.norm(self.first(x).relu()))
        return self.last(self.second(self.hidden(x)))


class Recurrent(nn.Module):
    """A classifier of sequences of token ids, by its last step."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)
        self.rnn = nn.GRU(8, 8, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.embed(x))[0][:, -1])
        return out


class TimeFirst(nn.Module):
    """A model of sequences that takes and gives (time, examples, ...), as PyTorch's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(20, 8), nn.GRU(8, 8), nn.Linear(8, 20)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.embed(x))[0])
        return out


class LastMoment(TimeFirst):
    """It gives the last moment only: [examples, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[-1]


class Carried(nn.Module):
    """A recurrent network that keeps its state from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.state = nn.GRU(8, 3, batch_first=True), None

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.rnn(x[:, None], self.state)
        self.state = state.detach()
        result: Tensor = out[:, -1]
        return result


class Graph(nn.Module):
    """Each node's output depends on its neighbours, as it should."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        out: Tensor = adjacency @ self.layer(x)
        return out


def same(x: Tensor) -> Tensor:
    return x


def measured(model: nn.Module, inputs: Any) -> Mixing | None:
    watch = doctor.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    watch.step(1.0, inputs, None)
    return mixing_of(watch)


@pytest.mark.parametrize(
    "model",
    [
        Net(lambda x: x.t().reshape(len(x), -1), same),
        Net(lambda x: x - x.mean(0), same),
        Net(lambda x: x.sum(0, keepdim=True).expand_as(x), same),
        Net(same, lambda x: x.softmax(0)),
        Net(same, lambda x: functional.log_softmax(x, dim=0)),
        Net(lambda x: functional.normalize(x, dim=0), same),
    ],
)
def test_examples_that_are_mixed(model: nn.Module) -> None:
    torch.manual_seed(0)
    found = measured(model, torch.randn(16, 8))
    assert found is not None
    assert (found.replaced, found.kept) == (8, 8)
    assert found.relative > 0.1


@pytest.mark.parametrize(
    "model",
    [
        Net(same, same),
        Net(lambda x: functional.dropout(x, 0.5), same),
        Net(lambda x: x - x.mean(1, keepdim=True), lambda x: x.softmax(1)),
        # All outputs are nearly equal: rounding must not count as a change.
        Net(lambda x: 1e-6 * x, lambda x: x + 100.0),
        # Beside the logits there may be values of the whole batch.
        Net(same, lambda x: {"logits": x, "loss": x.mean()}),
    ],
)
def test_examples_that_stay_apart(model: nn.Module) -> None:
    torch.manual_seed(0)
    found = measured(model, torch.randn(16, 8))
    assert found is not None
    assert found.relative == 0.0


def test_a_recurrent_network_over_the_batch_mixes_examples() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (16, 6))
    apart, mixed = (measured(Recurrent(batch_first=b), ids) for b in (True, False))
    assert apart is not None
    assert apart.relative == 0.0
    assert mixed is not None
    assert mixed.relative > 0.1


def test_attention_within_an_example_is_no_mixing() -> None:
    torch.manual_seed(0)
    layers = [
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=first, dropout=0.1)
        for first in (True, False)
    ]
    inputs = torch.randn(16, 5, 8)
    apart = measured(nn.Sequential(layers[0], nn.Flatten(), nn.Linear(40, 3)), inputs)
    mixed = measured(nn.Sequential(layers[1], nn.Flatten(), nn.Linear(40, 3)), inputs)
    assert apart is not None
    assert apart.relative == 0.0
    assert mixed is not None
    assert mixed.relative > 0.1


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        # (time, examples): the rows are moments, and a moment depends on those before it.
        (TimeFirst(), torch.randint(0, 20, (16, 6))),
        # As many moments as examples: a part of the moments still gives all examples' outputs.
        (LastMoment(), torch.randint(0, 20, (16, 16))),
        (Recurrent(batch_first=False), torch.randint(0, 20, (2, 6))),  # two rows are too few
        (Carried(), torch.randn(16, 8)),
        (Graph(), [torch.randn(16, 8), torch.rand(16, 16)]),
        (Net(same, lambda x: x @ x.t()), torch.randn(16, 8)),
        (Net(same, lambda x: x.mean(0)), torch.randn(16, 8)),
        (Net(same, lambda x: x.mean()), torch.randn(16, 8)),
        (Net(same, lambda x: x / 0.0), torch.randn(16, 8)),
        (nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3, track_running_stats=False)),
         torch.randn(16, 8)),
        (nn.Linear(9, 3), torch.randn(16, 8)),  # the model refuses its inputs
    ],
)  # fmt: skip
def test_models_that_are_not_judged(model: nn.Module, inputs: Any) -> None:
    assert measured(model, inputs) is None


def test_measuring_changes_neither_the_model_nor_the_generators() -> None:
    torch.manual_seed(0)
    model = Net(lambda x: functional.dropout(x - x.mean(0)), same)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = torch.randn(16, 8)
    state = torch.get_rng_state()
    assert measured(model, inputs) is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training


def trained(model: nn.Module) -> doctor.Report:
    torch.manual_seed(0)
    y = torch.randint(0, 3, (240,))
    x = torch.randn(240, 8) + 2 * torch.eye(8)[y]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    with doctor.watch(model, optimizer, loss=criterion, every=2) as watch:
        for _ in range(6):
            for rows in torch.randperm(180).split(16):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[180:], y[180:])
    return watch.report()


def test_a_wrong_reshape_is_named_alone() -> None:
    report = trained(Net(lambda x: x.t().reshape(len(x), -1), same))
    assert [finding.name for finding in report.findings] == ["examples-mixed"]
    found = report.findings[0]
    assert (found.severity, found.confidence) == ("serious", "high")
    assert "8 of 16 examples" in found.evidence
    assert "batch_first=True" in found.remedy


def test_its_sound_twin_has_no_finding() -> None:
    report = trained(Net(same, same))
    assert report.findings == ()
    assert "examples-mixed" not in report.not_judged
