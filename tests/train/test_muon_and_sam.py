from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mien.train.loop.muon import Muon, orthogonal
from mien.train.loop.optimizer import make_optimizer, sharpness_aware
from mien.train.recipe.settings import OptimizerConfig

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 4, 3, 3), (5, 5)])
def test_steps_are_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=GENERATOR)
    step = orthogonal(gradient)
    assert step.shape == gradient.shape
    matrix = step.flatten(1)
    rows, columns = matrix.shape
    values = torch.linalg.svdvals(matrix) / max(1.0, rows / columns) ** 0.5
    assert values.min() > 0.4  # the smallest need more iterations than steps are worth
    assert values.max() < 1.3
    # It still goes the gradient's way.
    assert (matrix * gradient.flatten(1)).sum() > 0


def test_a_gradient_of_nothing_is_no_step() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_the_last_layer_and_the_vectors_are_left_to_sgd() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    optimizer = make_optimizer(model, OptimizerConfig("muon", 0.1, weight_decay=0.1))
    assert isinstance(optimizer, Muon)
    inner, last, vectors = optimizer.param_groups
    assert [p.shape for p in inner["params"]] == [(4, 1, 3, 3)]
    assert [p.shape for p in last["params"]] == [(3, 16)]
    assert {p.ndim for p in vectors["params"]} == {1}
    assert (inner["orthogonal"], last["orthogonal"], vectors["weight_decay"]) == (True, False, 0)


def test_muon_learns_and_what_is_not_orthogonal_is_torchs_sgd() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    x = torch.randn(64, 5, generator=GENERATOR)
    y = x[:, :1] - x[:, 1:2]
    twin = copy.deepcopy(model[2])
    optimizer = make_optimizer(model, OptimizerConfig("muon", 0.05, weight_decay=0.0))
    theirs = torch.optim.SGD(twin.parameters(), 0.01, momentum=0.9, nesterov=True)
    losses = []
    for step in range(60):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if step < 3:
            for ours, p in zip(model[2].parameters(), twin.parameters(), strict=True):
                p.grad = None if ours.grad is None else ours.grad.clone()
        optimizer.step()
        if step < 3:
            theirs.step()
            torch.testing.assert_close(model[2].weight, twin.weight)
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_sharpness_aware_gradients_are_those_uphill() -> None:
    torch.manual_seed(1)
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 1))
    x = torch.randn(16, 3, generator=GENERATOR)

    def loss() -> Tensor:
        return (model(x) ** 2).mean()

    loss().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    before = [p.detach().clone() for p in model.parameters()]
    mean = copy.deepcopy(norm.running_mean)
    length = torch.stack([g.norm() for g in gradients]).norm()
    uphill = copy.deepcopy(model)
    with torch.no_grad():
        for p, g in zip(uphill.parameters(), gradients, strict=True):
            p.add_(g * 0.1 / length)
    uphill.zero_grad()
    uphill(x).square().mean().backward()
    sharpness_aware(model, loss, 0.1)
    for p, q, old in zip(model.parameters(), uphill.parameters(), before, strict=True):
        torch.testing.assert_close(p.grad, q.grad)
        torch.testing.assert_close(p.detach(), old)
    torch.testing.assert_close(norm.running_mean, mean)
    assert norm.momentum == 0.1
