"""Batch norms in evaluation mode, in small watched loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien import doctor
from mien.doctor.report import Report


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (400,), generator=generator)
    return torch.randn(400, 8, generator=generator) + 2 * torch.eye(8)[y], y


def fit(model: nn.Module, lr: float, before: Callable[[nn.Module], object] | None = None) -> Report:
    x, y = blobs()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss(), every=2) as watch:
        for _ in range(6):
            model.train()
            if before is not None:
                before(model)
            for rows in torch.randperm(300).split(16):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[300:], y[300:])
    return watch.report()


def network(norm: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 24), norm or nn.Identity(), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(),
        nn.Linear(24, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("norm", "freezes", "expected"),
    [
        (nn.BatchNorm1d(24), True, ["trained-in-eval-mode"]),
        (nn.BatchNorm1d(24), False, []),
        # Without running statistics both modes normalise by the batch.
        (nn.BatchNorm1d(24, track_running_stats=False), True, []),
        (nn.BatchNorm1d(24, affine=False), False, []),
    ],
)
def test_a_batch_norm_with_its_initial_statistics(
    norm: nn.BatchNorm1d, freezes: bool, expected: list[str]
) -> None:
    model = network(norm)
    # Dropout keeps its mode, so that the network as a whole is not in evaluation mode.
    model.append(nn.ReLU()).append(nn.Dropout(0.1)).append(nn.Linear(3, 3))
    report = fit(model, 0.05, (lambda _: norm.eval()) if freezes else None)
    names = [f.name for f in report.findings if "eval" in f.name or "batch-norm" in f.name]
    assert names == expected
    if expected:
        assert "batch norm is trained in evaluation mode" in str(report)
