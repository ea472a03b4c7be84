"""Measures what a doctor adds to a training: CPU time, paired.

    python bench/doctor_overhead.py [--rounds 20] [--seconds 3] [--only mlp] [--doctor mien]
    ENVS/torchmortem/bin/python bench/doctor_overhead.py --doctor torchmortem

Each round trains the same network twice from the same seed in one process, without a doctor and
with one. The two take turns of BLOCK steps, so that other programs on the machine slow both alike;
the thread's CPU time of each turn is counted, and the generators' states are exchanged between
turns. In its turn a training reads its own CPU time from the clock, as it would alone: with that of
both, a doctor's budget would be twice as large. A garbage collection before each round keeps what
the imports and the round before left behind out of the turns. Each loop evaluates validation once
an epoch, and the watched one calls the doctor's method for it besides. The report is made after the
loop and is not counted. It checks that both end with the same weights, bit for bit. It prints the
median ratio of the rounds with a 95% interval (of the median, from order statistics), and each
round's.

`--doctor log` measures what the doctors that read logs need: a loss, a rate and a gradient norm in
each step. `--doctor none` compares the training with itself.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from doctor_adapters import OBSERVERS
from doctor_cases import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 10
"""Steps of a turn."""
thread_time = time.thread_time


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 7),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(576, 256), nn.ReLU(), nn.Linear(256, 256),
                         nn.ReLU(), nn.Linear(256, 7))  # fmt: skip


class Block(nn.Module):
    """A transformer block over the rows of the images, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(24, 64)
        self.block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.head = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.block(self.embed(x.squeeze(1))).mean(dim=1))
        return out


NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": cnn, "block": Block}


class Log(Observer):
    """Records what a log of the doctors that read curves holds."""

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> None:
        self.model, self.optimizer, self.rows = model, optimizer, []  # type: ignore[var-annotated]

    def backward(self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = torch._foreach_norm(grads)
        self.norm = float(torch.stack(norms).norm())

    def step(self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        self.rows.append((loss.item(), self.optimizer.param_groups[0]["lr"], self.norm))


class Training:
    """One training in turns, its CPU time and the state of its generator."""

    def __init__(self, name: str, data: tuple[torch.Tensor, ...], epochs: int, doctor: str) -> None:
        torch.manual_seed(0)
        self.model, self.criterion = NETWORKS[name](), nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.observer: Any = Log() if doctor == "log" else OBSERVERS[doctor]()
        self.data, self.epochs, self.seconds = data, epochs, 0.0
        self.state, self.turns = torch.get_rng_state(), self.run()

    def turn(self) -> bool:
        """Train for BLOCK steps; return whether there are more."""
        torch.set_rng_state(self.state)
        before = thread_time() - self.seconds
        time.thread_time = lambda: thread_time() - before
        more = next(self.turns, None) is not None
        self.seconds, time.thread_time = time.thread_time(), thread_time
        self.state = torch.get_rng_state()
        return more

    def run(self) -> Iterator[int]:
        x, y, xv, yv = self.data
        model, observer, step = self.model, self.observer, 0
        observer.start(model, self.optimizer, self.criterion)
        for _ in range(self.epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(64):  # type: ignore[no-untyped-call]
                inputs, targets = x[rows], y[rows]
                self.optimizer.zero_grad()
                observer.forward()
                loss = self.criterion(model(inputs), targets)
                loss.backward()
                observer.backward(loss, inputs, targets)
                self.optimizer.step()
                observer.step(loss, inputs, targets)
                step += 1
                if step % BLOCK == 0:
                    yield step
            model.eval()
            with torch.no_grad():
                float(self.criterion(model(xv), yv))
            observer.validate(model, xv, yv)

    def digest(self) -> str:
        total = hashlib.sha256()
        for value in self.model.state_dict().values():
            total.update(value.numpy().tobytes())
        return total.hexdigest()


def images() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    y = torch.randint(7, (3512,))
    x = torch.randn(3512, 1, 24, 24) + torch.randn(7, 1, 24, 24)[y]
    return x[512:], y[512:], x[:512], y[:512]


def pair(name: str, epochs: int, doctor: str, *, watched_first: bool) -> float:
    """Return the CPU time of the watched training over that of the other one."""
    data = images()
    plain, watched = (Training(name, data, epochs, kind) for kind in ("none", doctor))
    order = (watched, plain) if watched_first else (plain, watched)
    gc.collect()
    more = True
    while more:
        more = all([training.turn() for training in order])
    for training in order:
        while training.turn():
            pass
    watched.observer.end()
    assert watched.digest() == plain.digest(), "the doctor changed the weights"
    return watched.seconds / plain.seconds


def epochs_for(name: str, seconds: float) -> int:
    """Return the epochs that a training without a doctor takes for about so many seconds."""
    probe = Training(name, images(), 1, "none")
    while probe.turn():
        pass
    return max(2, round(seconds / probe.seconds))


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return a 95% interval of the median: order statistics by the binomial distribution."""
    n, found = len(values), sorted(values)
    if n < 6:
        return found[0], found[-1]
    rank = max(0, int((n - 1.96 * n**0.5) / 2))
    return found[rank], found[n - 1 - rank]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU time of a training")
    parser.add_argument("--only", choices=list(NETWORKS))
    parser.add_argument("--doctor", default="mien", choices=[*OBSERVERS, "log"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in [arguments.only] if arguments.only else NETWORKS:
        pair(name, 1, arguments.doctor, watched_first=False)  # imports and allocations
        epochs = epochs_for(name, arguments.seconds)
        ratios = []
        for number in range(arguments.rounds):
            first = bool(number % 2)
            ratios.append(pair(name, epochs, arguments.doctor, watched_first=first))
            print(f"  {ratios[-1]:.3f}", end="", flush=True)
        low, high = median_interval(ratios)
        print(f"\n{name}, {epochs} epochs, {arguments.doctor}: {statistics.median(ratios):.3f} "
              f"(95% interval {low:.3f} to {high:.3f}, n = {len(ratios)})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
