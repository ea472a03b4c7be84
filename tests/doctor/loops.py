"""A training loop that is watched, as its users write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mien import doctor
from mien.doctor.programs.watch import Watch

Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, *, epochs: int, lr: float, batch: int,
    every: int | None = None, classes: Sequence[str] | None = None,
    flat: Callable[[Tensor], Tensor] | None = None,
) -> Watch:  # fmt: skip
    """Train on the first three quarters and validate on the rest.

    With `flat` the loop itself brings the outputs into another form, and the targets into a row.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    n = len(x) * 3 // 4
    with doctor.watch(model, optimizer, loss=loss, classes=classes, every=every) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(batch):
                optimizer.zero_grad()
                outputs = model(x[rows])
                value = (
                    loss(outputs, y[rows])
                    if flat is None
                    else loss(flat(outputs), y[rows].reshape(-1))
                )
                value.backward()
                optimizer.step()
                watch.step(value, x[rows], y[rows])
            watch.validate(model, x[n:], y[n:])
    return watch


def names(watch: Watch) -> list[str]:
    """Return the names of the findings."""
    return [finding.name for finding in watch.report().findings]
