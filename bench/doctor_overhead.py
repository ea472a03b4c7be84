"""Measures what `doctor.watch` adds to a training: CPU time, paired.

    python bench/doctor_overhead.py [--rounds 5] [--epochs 8]

Each round trains the same network twice from the same seed, once watched and once not, in turns
whose order alternates. Both evaluate validation once an epoch: the watched one by `Watch.validate`.
The report is made after the loop and is not counted. It prints the ratio of each round and the
median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mien import doctor

if TYPE_CHECKING:
    from collections.abc import Callable


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 7),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(576, 256), nn.ReLU(), nn.Linear(256, 256),
                         nn.ReLU(), nn.Linear(256, 7))  # fmt: skip


NETWORKS = {"mlp": (mlp, 5), "cnn": (cnn, 1)}
"""Network, and its epochs as a multiple of `--epochs`: both train for seconds, as the first 0.05 s
of measuring are not limited."""


def train(make: Callable[[], nn.Module], data: tuple[torch.Tensor, ...], epochs: int,
          *, watched: bool) -> tuple[float, float]:  # fmt: skip
    """Return the CPU seconds of one training, and the sum of its last weights."""
    x, y, xv, yv = data
    torch.manual_seed(0)
    model, criterion = make(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    started = time.process_time()
    context: Any = doctor.watch(model, optimizer, loss=criterion) if watched else nullcontext()
    with context as watch:
        for _ in range(epochs):
            model.train()
            for rows in batches(len(x)):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                if watched:
                    watch.step(loss, x[rows], y[rows])
            if watched:
                watch.validate(model, xv, yv)
            else:
                model.eval()
                with torch.no_grad():
                    float(criterion(model(xv), yv))
    seconds = time.process_time() - started
    return seconds, sum(float(p.detach().double().sum()) for p in model.parameters())


def batches(n: int) -> list[Any]:
    order: Any = torch.randperm(n)
    return list(order.split(64))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    y = torch.randint(7, (3512,))
    x = torch.randn(3512, 1, 24, 24) + torch.randn(7, 1, 24, 24)[y]
    data = (x[512:], y[512:], x[:512], y[:512])
    for name, (make, times_epochs) in NETWORKS.items():
        train(make, data, 1, watched=True)  # imports and allocations
        ratios = []
        for number in range(arguments.rounds):
            turns = (True, False) if number % 2 else (False, True)
            epochs = arguments.epochs * times_epochs
            times = {w: train(make, data, epochs, watched=w) for w in turns}
            assert times[True][1] == times[False][1], "the watch changed the weights"
            ratios.append(times[True][0] / times[False][0])
        shown = " ".join(f"{r:.3f}" for r in ratios)
        print(f"{name}: watched / plain {statistics.median(ratios):.3f} ({shown})", flush=True)


if __name__ == "__main__":
    main()
