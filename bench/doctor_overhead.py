"""Measures what `doctor.watch` adds to a training: CPU time, paired.

    python bench/doctor_overhead.py [--rounds 5] [--epochs 8] [--only mlp]

Each round trains the same network from the same seed in two processes, one of them watched. They
take turns of BLOCK steps, so that at any time one of them runs, and other programs on the machine
slow both alike. Both evaluate validation once an epoch: the watched one by `Watch.validate`. The
report is made after the loop and is not counted. It checks that both end with the same weights, bit
for bit, and prints the ratio of the CPU times of each round and their median.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import statistics
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mien import doctor

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 10
"""Steps of a turn."""


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 7),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(576, 256), nn.ReLU(), nn.Linear(256, 256),
                         nn.ReLU(), nn.Linear(256, 7))  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {"mlp": (mlp, 5), "cnn": (cnn, 1)}
"""Network, and its epochs as a multiple of `--epochs`: both train for seconds, as the first 0.04 s
of measuring are not limited."""


def train(name: str, epochs: int, turn: Callable[[], None], *, watched: bool) -> tuple[float, str]:
    """Return the CPU seconds of one training, and the digest of its last weights.

    Args:
        name: of the network.
        epochs: to train.
        turn: called after BLOCK steps; returns when it is this training's turn again.
        watched: whether to watch it.
    """
    torch.manual_seed(1)
    y = torch.randint(7, (3512,))
    x = torch.randn(3512, 1, 24, 24) + torch.randn(7, 1, 24, 24)[y]
    x, y, xv, yv = x[512:], y[512:], x[:512], y[:512]
    torch.manual_seed(0)
    model, criterion = NETWORKS[name][0](), nn.CrossEntropyLoss()
    optimizer, step = torch.optim.Adam(model.parameters(), 1e-3), 0
    turn()
    started = time.process_time()
    context: Any = doctor.watch(model, optimizer, loss=criterion) if watched else nullcontext()
    with context as watch:
        for _ in range(epochs):
            model.train()
            for rows in batches(len(x)):
                inputs, targets = x[rows], y[rows]  # once: a second time would count as the watch's
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                optimizer.step()
                if watched:
                    watch.step(loss, inputs, targets)
                step += 1
                if step % BLOCK == 0:
                    turn()
            if watched:
                watch.validate(model, xv, yv)
            else:
                model.eval()
                with torch.no_grad():
                    float(criterion(model(xv), yv))
    seconds, digest = time.process_time() - started, hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return seconds, digest.hexdigest()


def batches(n: int) -> list[Any]:
    order: Any = torch.randperm(n)
    return list(order.split(64))


def work(name: str, epochs: int, connection: Any, watched: bool) -> None:
    """Train in this process, in turns that the other end of `connection` gives."""
    torch.set_num_threads(1)
    train(name, 1, lambda: None, watched=watched)  # imports and allocations

    def turn() -> None:
        connection.send(None)
        connection.recv()

    connection.send(train(name, epochs, turn, watched=watched))


def pair(name: str, epochs: int, order: tuple[bool, bool]) -> float:
    """Return the CPU time of the watched training over that of the other one."""
    context = multiprocessing.get_context("spawn")
    ends: dict[bool, Any] = {}
    for watched in order:
        ends[watched], other = context.Pipe()
        context.Process(target=work, args=(name, epochs, other, watched), daemon=True).start()
    done: dict[bool, tuple[float, str]] = {}
    for watched in order:
        ends[watched].recv()  # ready
    while len(done) < 2:
        for watched in order:
            if watched not in done:
                ends[watched].send(None)
                found = ends[watched].recv()
                if found is not None:
                    done[watched] = found
    assert done[True][1] == done[False][1], "the watch changed the weights"
    return done[True][0] / done[False][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", choices=list(NETWORKS))
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else NETWORKS:
        epochs = arguments.epochs * NETWORKS[name][1]
        ratios = [
            pair(name, epochs, (True, False) if number % 2 else (False, True))
            for number in range(arguments.rounds)
        ]
        shown = " ".join(f"{r:.3f}" for r in ratios)
        print(f"{name}: watched / plain {statistics.median(ratios):.3f} ({shown})", flush=True)


if __name__ == "__main__":
    main()
