"""Small PyTorch programs that are not mien's, sound ones and ones with a planted fault.

Read `train` first; the faults are in bench/doctor_operators.py. Nothing here imports mien, so that
bench/doctor_peers.py can run the same trainings in the environments of other packages; an
`Observer` sees each training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn import datasets
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIMIZERS: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd": (lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9), 0.02),
    "adam": (torch.optim.Adam, 2e-3),
    "adamw": (torch.optim.AdamW, 2e-3),
}


@dataclass(frozen=True)
class Case:
    """Data and a network: inputs and targets of both splits, epochs, batch size."""

    name: str
    x: torch.Tensor
    y: torch.Tensor
    xv: torch.Tensor
    yv: torch.Tensor
    model: Callable[[], nn.Module]
    epochs: int = 15
    batch: int = 32

    @property
    def is_regression(self) -> bool:
        return self.y.is_floating_point() and self.y.ndim == 2


def split(x: Any, y: Any, seed: int, fraction: float = 0.25) -> tuple[torch.Tensor, ...]:
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = torch.as_tensor(x)[order], torch.as_tensor(y)[order]
    held = int(len(x) * fraction)
    return x[held:], y[held:], x[:held], y[:held]


def table(loaded: Any, seed: int, *, values: bool = False) -> tuple[torch.Tensor, ...]:
    x = loaded.data.astype(np.float32)
    y = loaded.target.astype(np.float32)[:, None] if values else loaded.target.astype(np.int64)
    x, y, xv, yv = split(x, y, seed)
    mean, std = x.mean(0), x.std(0)
    std[std < 1e-3] = 1.0  # a pixel that is 0 in all of training may be 1 in validation
    if values:
        centre, spread = y.mean(), y.std()
        y, yv = (y - centre) / spread, (yv - centre) / spread
    return (x - mean) / std, y, (xv - mean) / std, yv


def mlp(inputs: int, outputs: int, width: int = 64, dropout: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout),
                         nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(32 * 16, 10),
    )  # fmt: skip


class Text(nn.Module):
    """Mean of embeddings, then two layers; without dropout it overfits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.drop(self.embed(tokens).mean(dim=1)))
        return out


class Block(nn.Module):
    """One transformer block; without strong dropout it overfits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.place = nn.Parameter(torch.randn(16, 32) * 0.02)
        self.drop = nn.Dropout(0.4)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.2, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.embed(tokens) + self.place)
        out: torch.Tensor = self.head(self.block(x).mean(dim=1))
        return out


def sentences(seed: int, n: int = 1200) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    own = rng.random((n, 16)) < 0.35
    words = np.where(own, 40 * y[:, None] + rng.integers(40, size=(n, 16)),
                     rng.integers(200, size=(n, 16)))  # fmt: skip
    return split(words, y, seed)


def cases(seed: int) -> dict[str, Case]:
    digits = datasets.load_digits()
    digits.data = digits.data / 16
    flat = table(digits, seed)
    x, y, xv, yv = split((digits.data.astype(np.float32) - 0.3) / 0.38,
                         digits.target.astype(np.int64), seed)  # fmt: skip
    image = (x.view(-1, 1, 8, 8), y, xv.view(-1, 1, 8, 8), yv)
    half = datasets.make_moons(800, noise=0.25, random_state=seed)
    moons = split(half[0].astype(np.float32), half[1].astype(np.int64), seed)
    blobs = datasets.make_classification(1200, 20, n_informative=8, n_classes=5, class_sep=1.2,
                                         random_state=seed)  # fmt: skip
    hard = split(blobs[0].astype(np.float32), blobs[1].astype(np.int64), seed)
    line = datasets.make_regression(800, 12, n_informative=8, noise=20.0, random_state=seed)
    aims = (line[1] / line[1].std()).astype(np.float32)[:, None]
    values = split(line[0].astype(np.float32), aims, seed)
    tables: dict[str, Any] = {
        "digits": (flat, lambda: mlp(64, 10)),
        "digits-cnn": (image, cnn),
        "iris": (table(datasets.load_iris(), seed), lambda: mlp(4, 3, 16)),
        "wine": (table(datasets.load_wine(), seed), lambda: mlp(13, 3, 16)),
        "cancer": (table(datasets.load_breast_cancer(), seed), lambda: mlp(30, 2, 32, 0.2)),
        "moons": (moons, lambda: mlp(2, 2, 32)),
        "classes": (hard, lambda: mlp(20, 5, 32)),
        "diabetes": (table(datasets.load_diabetes(), seed, values=True),
                     lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))),
        "regression": (values, lambda: mlp(12, 1, 32)),
        "text": (sentences(seed), Text),
        "block": (sentences(seed + 100), Block),
    }  # fmt: skip
    long = {"iris": 40, "wine": 30, "diabetes": 20, "block": 8}
    return {
        name: Case(name, data[0], data[1], data[2], data[3], model, epochs=long.get(name, 15),
                   batch=16 if name in ("iris", "wine", "diabetes") else 32)
        for name, (data, model) in tables.items()
    }  # fmt: skip


@dataclass
class Setup:
    """What a fault may change before and in the loop; `sound` is the case before the fault."""

    case: Case
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Any
    scheduler: Any = None
    shuffle: bool = True
    zero_grad: bool = True
    train_mode: bool = True
    eval_mode: bool = True
    validate: bool = True
    per_batch: bool = False
    clip: float = 0.0
    rate: float = 0.0
    sound: Case | None = None


class Observer:
    """Sees a training; the methods do nothing here."""

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> None:
        """The training starts."""

    def forward(self) -> None:
        """A step's forward pass comes next."""

    def backward(self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        """Gradients were computed; the optimiser has not stepped yet."""

    def step(self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        """The optimiser took a step."""

    def validate(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        """An epoch was finished."""

    def end(self) -> None:
        """The training was finished, or failed."""


def train(case: Case, kind: str, seed: int, change: Any, observer: Observer) -> float:
    """Train one program, with a fault or without; return its validation accuracy or R²."""
    torch.manual_seed(seed)
    model = case.model()
    make, rate = OPTIMIZERS[kind]
    if kind == "sgd" and isinstance(model, Text | Block):
        rate *= 4  # the mean of embeddings has small gradients: 0.02 does not learn in time
    loss: nn.Module = nn.MSELoss() if case.is_regression else nn.CrossEntropyLoss()
    setup = Setup(case, model, make(model.parameters(), lr=rate), loss)
    if change is not None:
        change(setup, seed)
    case, model, optimizer = setup.case, setup.model, setup.optimizer
    observer.start(model, optimizer, setup.loss)
    try:
        for _ in range(case.epochs):
            epoch(setup, observer)
            if setup.validate:
                if setup.eval_mode:
                    model.eval()
                with torch.no_grad():
                    model(case.xv)
                observer.validate(model, case.xv, case.yv)
            if setup.scheduler is not None and not setup.per_batch:
                setup.scheduler.step()
    finally:
        observer.end()
    return score(model, case)


def epoch(setup: Setup, observer: Observer) -> None:
    """Train one epoch."""
    case, model, optimizer = setup.case, setup.model, setup.optimizer
    if setup.train_mode:
        model.train()
    order: Any = torch.randperm(len(case.x)) if setup.shuffle else torch.arange(len(case.x))
    for rows in order.split(case.batch):
        if len(rows) < 2 <= case.batch:
            continue
        x, y = case.x[rows], case.y[rows]
        if setup.zero_grad:
            optimizer.zero_grad()
        observer.forward()
        value = setup.loss(model(x), y)
        value.backward()
        observer.backward(value, x, y)
        if setup.clip:
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
        optimizer.step()
        observer.step(value, x, y)
        if setup.scheduler is not None and setup.per_batch:
            setup.scheduler.step()


@torch.no_grad()
def score(model: nn.Module, case: Case) -> float:
    model.eval()
    out = model(case.xv)
    if case.is_regression and case.yv.shape == out.shape and out.shape[1] == 1:
        return float(1 - (out - case.yv).square().sum() / (case.yv - case.y.mean()).square().sum())
    y = case.yv.argmax(1) if case.yv.ndim == 2 else case.yv
    return float((out.argmax(1) == y).float().mean())
