"""Memory that a watched loop keeps: read at growing distances, not only in measured steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien import doctor
from mien.doctor.programs import measuring


def steady(reading: int) -> float:
    return 500.0 + 3.0 * (reading % 2)


def caches(reading: int) -> float:
    return 500.0 if reading < 100 else 900.0


@pytest.mark.parametrize(
    ("memory", "expected"), [(None, ["memory-grows"]), (steady, []), (caches, [])]
)
def test_memory_is_read_in_trainings_of_few_measured_steps(
    memory: Callable[[int], float] | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    readings = 0

    with doctor.watch(model, optimizer, loss=nn.functional.mse_loss, every=100) as watch:

        def resident(device: torch.device) -> float:
            nonlocal readings
            readings += 1
            # A leak grows with the steps, however rarely it is looked at.
            return 500.0 + 5.0 * watch.steps if memory is None else memory(readings)

        monkeypatch.setattr(measuring, "resident_mb", resident)
        for _ in range(240):
            x = torch.randn(8, 4)
            loss = nn.functional.mse_loss(model(x), x[:, :1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss, x, x[:, :1])
    assert readings < 120  # not in each step
    names = [finding.name for finding in watch.report().findings]
    assert [name for name in names if name == "memory-grows"] == expected
