"""Models that are called with several arguments, with one tuple, several times, or with a graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien import doctor


class Pair(nn.Module):
    """Takes a tuple of two tensors as its one argument."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        found: Tensor = self.second(torch.relu(self.first(torch.cat(list(pair), dim=1))))
        return found


def test_one_tuple_is_passed_on_as_one_argument() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(200, 3), torch.randn(200, 3)
    y = (a + b).argmax(dim=1)
    model, loss = Pair(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer, loss=loss) as watch:
        for _ in range(3):
            for rows in torch.randperm(150).split(25):
                optimizer.zero_grad()
                value = loss(model((a[rows], b[rows])), y[rows])
                value.backward()
                optimizer.step()
                watch.step(value, (a[rows], b[rows]), y[rows])
            watch.validate(model, (a[150:], b[150:]), y[150:])
    report = watch.report()
    assert report.remarks == ()
    assert watch.form == "whole"
    assert watch.validation.count == 50
    assert report.facts["task"] == "classification"


@pytest.mark.parametrize("given", ["parts", "modules"])
def test_a_model_that_is_called_for_each_part_is_not_evaluated(given: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    net: Any = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    model = net if given == "parts" else nn.ModuleList([net])
    optimizer = torch.optim.Adam(model.parameters())
    with doctor.watch(model, optimizer) as watch:
        for _ in range(3):
            for rows in torch.randperm(200).split(25):
                a, b = x[rows], x[rows] + 0.1 * torch.randn(25, 6)
                optimizer.zero_grad()
                value = (net(a) - net(b)).square().mean()
                value.backward()
                optimizer.step()
                watch.step(value, (a, b), torch.arange(25))
    report = watch.report()
    # One plain sentence, not PyTorch's error about arguments that the loop never passed.
    assert len(report.remarks) == 1
    assert "positional arguments" not in report.remarks[0]
    assert "called in another way" in report.remarks[0]


class Graph(nn.Module):
    """Takes the features of all nodes of one graph."""

    def __init__(self, links: Tensor) -> None:
        super().__init__()
        self.register_buffer("links", links)
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(torch.relu(self.links @ self.first(x)))
        return found


def test_a_graph_is_evaluated_whole() -> None:
    torch.manual_seed(0)
    x = torch.randn(120, 4)
    links = torch.eye(120) + (torch.rand(120, 120) < 0.02)
    y = (links @ x[:, 0] > 0).long()
    model, loss = Graph(links), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer, loss=loss) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            watch.step(value, x, y)
    report = watch.report()
    assert report.remarks == ()
    assert "examples-mixed" not in [f.name for f in report.findings]
