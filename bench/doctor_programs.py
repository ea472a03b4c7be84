"""Watches small PyTorch programs that are not mien's: sound ones, and ones with a planted fault.

    python bench/doctor_programs.py [--seeds 0,1,2] [--only NAME] [--sound] [--json FILE]

Sound programs: digits (MLP and CNN), iris, wine, diabetes, breast cancer, two moons, a text
classifier and a transformer block on synthetic sentences, each with SGD, Adam and AdamW. A finding
on one of them is a false alarm. Faults are the operators of DeepCrime (Humbatova, Jahangirova and
Tonella 2021) and those of the rules. The thresholds were set with seeds below 10; report figures
with others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn import datasets
from torch import nn
from torch.nn import functional

from mien import doctor

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor import Report

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
    mean, std = x.mean(0), x.std(0) + 1e-6
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
    """Mean of embeddings, then two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.embed(tokens).mean(dim=1))
        return out


class Block(nn.Module):
    """One transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.place = nn.Parameter(torch.randn(16, 32) * 0.02)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.block(self.embed(tokens) + self.place).mean(dim=1))
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
    long = {"iris": 40, "wine": 30, "diabetes": 20}
    return {
        name: Case(name, data[0], data[1], data[2], data[3], model, epochs=long.get(name, 15),
                   batch=16 if name in long else 32)
        for name, (data, model) in tables.items()
    }  # fmt: skip


@dataclass
class Setup:
    """What a fault may change before and in the loop."""

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


FAULTS: dict[str, tuple[Callable[[Setup, int], None], tuple[str, ...], tuple[str, ...]]] = {}
"""Name → what it changes, names of findings that count as right, programs that it applies to."""
CLASSES = ("digits", "digits-cnn", "text", "block", "classes")
EVERY = (*CLASSES, "regression")


def fault(
    name: str, *rules: str, on: tuple[str, ...] = CLASSES
) -> Callable[[Callable[[Setup, int], None]], Callable[[Setup, int], None]]:
    def register(change: Callable[[Setup, int], None]) -> Callable[[Setup, int], None]:
        FAULTS[name] = (change, rules, on)
        return change

    return register


def rebuild(setup: Setup, rate: float | None = None) -> None:
    """Create the optimiser again, for a model or a rate that changed."""
    group = setup.optimizer.param_groups[0]
    kind: Any = type(setup.optimizer)
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    setup.optimizer = kind(setup.model.parameters(), rate or group["lr"], **more)


@fault("rate-too-high", "learning-rate-too-high", "diverged", "dead-units", on=EVERY)
def _rate_high(s: Setup, seed: int) -> None:
    rebuild(s, s.optimizer.param_groups[0]["lr"] * 300)


@fault("rate-too-low", "learning-rate-too-low", on=EVERY)
def _rate_low(s: Setup, seed: int) -> None:
    rebuild(s, s.optimizer.param_groups[0]["lr"] / 1000)


@fault("zero-grad-forgotten", "gradients-accumulate", on=EVERY)
def _zero(s: Setup, seed: int) -> None:
    s.zero_grad = False


@fault("labels-shuffled", "shuffled-labels")
def _shuffled(s: Setup, seed: int) -> None:
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(s.case.y)))
    s.case = replace(s.case, y=s.case.y[order])


@fault("labels-changed", "label-noise", "shuffled-labels")
def _changed(s: Setup, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = s.case.y.clone()
    rows = rng.random(len(y)) < 0.4
    y[torch.from_numpy(rows)] = torch.from_numpy(rng.integers(int(y.max()) + 1, size=rows.sum()))
    s.case = replace(s.case, y=y)


@fault(
    "class-exchanged",
    "class-confusion",
    "class-recall",
    "class-never-predicted",
    "label-noise",
    "class-imbalance",
)
def _exchanged(s: Setup, seed: int) -> None:
    y = s.case.y.clone()
    y[y == 1] = 2
    s.case = replace(s.case, y=y)


@fault("normalisation-removed", "invalid-inputs", on=("digits", "digits-cnn", "classes"))
def _raw(s: Setup, seed: int) -> None:
    s.case = replace(s.case, x=s.case.x * 60 + 128, xv=s.case.xv * 60 + 128)


@fault("preprocessing-differs", "preprocessing-differs", "domain-shift",
       on=("digits", "digits-cnn", "classes", "regression"))  # fmt: skip
def _differs(s: Setup, seed: int) -> None:
    s.case = replace(s.case, xv=s.case.xv * 16 + 5)


@fault("softmax-twice", "loss-activation-mismatch")
def _softmax(s: Setup, seed: int) -> None:
    s.model = nn.Sequential(s.model, nn.Softmax(dim=1))
    rebuild(s)


@fault("sigmoid-last", "loss-activation-mismatch", on=EVERY)
def _sigmoid(s: Setup, seed: int) -> None:
    s.model = nn.Sequential(s.model, nn.Sigmoid())
    rebuild(s)


@fault("relu-last", "loss-activation-mismatch", on=EVERY)
def _relu(s: Setup, seed: int) -> None:
    s.model = nn.Sequential(s.model, nn.ReLU())
    rebuild(s)


@fault("loss-squared", "loss-activation-mismatch")
def _squared(s: Setup, seed: int) -> None:
    s.loss = nn.MSELoss()
    k = 1 + int(s.case.y.max())
    hot = [functional.one_hot(t, k).float() for t in (s.case.y, s.case.yv)]
    s.case = replace(s.case, y=hot[0], yv=hot[1])


@fault("activation-sigmoid", "vanishing-gradients", "saturated-activations", on=("digits",))
def _deep(s: Setup, seed: int) -> None:
    parts: list[nn.Module] = [nn.Linear(64, 64), nn.Sigmoid()]
    for _ in range(6):
        parts += [nn.Linear(64, 64), nn.Sigmoid()]
    s.model = nn.Sequential(*parts, nn.Linear(64, 10))
    rebuild(s)


@fault("activation-removed", "no-nonlinearity", on=("digits", "classes", "regression"))
def _linear(s: Setup, seed: int) -> None:
    kept = [m for m in s.model.children() if not isinstance(m, nn.ReLU | nn.Dropout)]
    s.model = nn.Sequential(*kept)
    rebuild(s)


@fault("initialiser-zeros", "poor-initialization", on=EVERY)
def _zeros(s: Setup, seed: int) -> None:
    for p in s.model.parameters():
        nn.init.zeros_(p)


@fault("initialiser-ones", "poor-initialization", on=("digits", "classes", "regression"))
def _ones(s: Setup, seed: int) -> None:
    for p in s.model.parameters():
        nn.init.ones_(p)


@fault("initialiser-normal", "poor-initialization", on=("digits", "classes", "regression"))
def _normal(s: Setup, seed: int) -> None:
    for p in s.model.parameters():
        nn.init.normal_(p, std=3.0)


@fault("biases-removed", "missing-bias", on=("regression",))
def _bias(s: Setup, seed: int) -> None:
    for m in s.model.modules():
        if isinstance(m, nn.Linear):
            m.register_parameter("bias", None)
    s.case = replace(s.case, y=s.case.y + 5, yv=s.case.yv + 5)
    rebuild(s)


@fault("batch-of-one", "batch-norm-small-batch", "batch-size-of-one", on=("digits-cnn", "classes"))
def _one(s: Setup, seed: int) -> None:
    s.case = replace(s.case, batch=1, epochs=1, x=s.case.x[:600], y=s.case.y[:600])


@fault("unshuffled", "data-not-shuffled")
def _sorted(s: Setup, seed: int) -> None:
    order = torch.argsort(s.case.y, stable=True)
    s.case = replace(s.case, x=s.case.x[order], y=s.case.y[order])
    s.shuffle = False


@fault("eval-left-on", "trained-in-eval-mode", on=("digits-cnn", "block"))
def _eval(s: Setup, seed: int) -> None:
    s.train_mode = False


@fault("eval-forgotten", "evaluated-in-train-mode", on=("digits-cnn", "block"))
def _train(s: Setup, seed: int) -> None:
    s.eval_mode = False


@fault("frozen", "frozen-parameters", on=EVERY)
def _frozen(s: Setup, seed: int) -> None:
    for p in list(s.model.parameters())[:2]:
        p.requires_grad = False


@fault("other-parameters", "parameters-not-optimized", on=EVERY)
def _other(s: Setup, seed: int) -> None:
    old, s.model = s.model, s.case.model()
    s.optimizer = type(s.optimizer)(old.parameters(), lr=1e-3)  # type: ignore[call-arg]


@fault("head-only", "parameters-not-optimized", on=EVERY)
def _head(s: Setup, seed: int) -> None:
    s.optimizer = type(s.optimizer)(list(s.model.parameters())[-2:], lr=1e-3)  # type: ignore[call-arg]


@fault("scheduler-per-batch", "learning-rate-vanishes", "scheduler-steps", on=EVERY)
def _batchwise(s: Setup, seed: int) -> None:
    s.scheduler = torch.optim.lr_scheduler.StepLR(s.optimizer, 5, 0.1)
    s.per_batch = True


@fault("one-cycle-per-epoch", "scheduler-steps", "learning-rate-too-low", on=EVERY)
def _cycle(s: Setup, seed: int) -> None:
    rate = s.optimizer.param_groups[0]["lr"]
    steps = s.case.epochs * (len(s.case.x) // s.case.batch)
    s.scheduler = torch.optim.lr_scheduler.OneCycleLR(s.optimizer, rate, total_steps=steps)


@fault("dropout-strong", "dropout-too-strong", on=("digits", "classes"))
def _dropout(s: Setup, seed: int) -> None:
    s.model[2].p = 0.9  # type: ignore[index]


@fault("decay-strong", "weight-decay-too-strong", "weight-decay-on-norms", on=CLASSES)
def _decay(s: Setup, seed: int) -> None:
    for group in s.optimizer.param_groups:
        group["weight_decay"] = 1.0


@fault("leak", "data-leakage", on=("digits", "digits-cnn", "classes"))
def _leak(s: Setup, seed: int) -> None:
    n = len(s.case.xv) // 2
    x, y = torch.cat([s.case.x, s.case.xv[:n]]), torch.cat([s.case.y, s.case.yv[:n]])
    s.case = replace(s.case, x=x, y=y)


@fault("labels-off-by-one", "label-encoding", on=CLASSES)
def _offset(s: Setup, seed: int) -> None:
    s.case = replace(s.case, yv=(s.case.yv + 1) % (1 + int(s.case.y.max())))


def train(case: Case, kind: str, seed: int, change: Any = None) -> tuple[Report, float]:
    """Return the report of one program, and its validation accuracy or R²."""
    torch.manual_seed(seed)
    model = case.model()
    make, rate = OPTIMIZERS[kind]
    if kind == "sgd" and isinstance(model, Text):
        rate *= 4  # the mean of embeddings has small gradients: 0.02 does not learn in time
    loss: nn.Module = nn.MSELoss() if case.is_regression else nn.CrossEntropyLoss()
    setup = Setup(case, model, make(model.parameters(), lr=rate), loss)
    if change is not None:
        change(setup, seed)
    case, model, optimizer = setup.case, setup.model, setup.optimizer
    watched = doctor.watch(model, optimizer, loss=setup.loss)
    with watched as watch:
        for _ in range(case.epochs):
            epoch(setup, watch)
            if setup.validate:
                if setup.eval_mode:
                    model.eval()
                with torch.no_grad():
                    model(case.xv)
                watch.validate(model, case.xv, case.yv)
            if setup.scheduler is not None and not setup.per_batch:
                setup.scheduler.step()
        report = watch.report()
    return report, score(model, case)


def epoch(setup: Setup, watch: Any) -> None:
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
        value = setup.loss(model(x), y)
        value.backward()
        optimizer.step()
        watch.step(value, x, y)
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


def main() -> None:  # noqa: C901 - one loop over programs, one over faults
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="")
    parser.add_argument("--sound", action="store_true", help="sound programs only")
    parser.add_argument("--faults", action="store_true", help="faults only")
    parser.add_argument("--quick", action="store_true", help="one program for each fault")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = []
    for seed in [int(s) for s in arguments.seeds.split(",")]:
        found = cases(seed)
        if not arguments.faults:
            for name, case in found.items():
                for kind in OPTIMIZERS:
                    if arguments.only in (name, ""):
                        rows.append(one(case, kind, seed, "", None, ()))
        if not arguments.sound:
            for number, (name, (change, rules, on)) in enumerate(FAULTS.items()):
                for place, program in enumerate(on[-1:] if arguments.quick else on):
                    kind = list(OPTIMIZERS)[(number + place + seed) % 3]
                    if arguments.only in (name, program, ""):
                        rows.append(one(found[program], kind, seed, name, change, rules))
    summary(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def one(
    case: Case, kind: str, seed: int, name: str, change: Any, rules: tuple[str, ...]
) -> dict[str, Any]:
    started = time.perf_counter()
    report, value = train(case, kind, seed, change)
    names = [f.name for f in report.findings]
    named = bool(set(names) & set(rules))
    mark = ("ok " if named else "MISS" if not names else "other") if name else \
        ("ALARM" if names else "ok ")  # fmt: skip
    text = f"{mark:5} {name or 'sound':22} {case.name:11} {kind:5} {seed} {value:6.3f}"
    print(
        f"{text} {time.perf_counter() - started:4.1f}s {' '.join(names)}",
        file=sys.stderr,
        flush=True,
    )
    return {"fault": name, "program": case.name, "optimizer": kind, "seed": seed, "score": value,
            "findings": names, "named": named,
            "evidence": [f.evidence for f in report.findings]}  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> None:
    sound = [r for r in rows if not r["fault"]]
    planted = [r for r in rows if r["fault"]]
    alarms = sum(bool(r["findings"]) for r in sound)
    detected = sum(bool(r["findings"]) for r in planted)
    named = sum(r["named"] for r in planted)
    print(f"sound: {alarms} of {len(sound)} with a finding")
    print(f"faults: {detected} of {len(planted)} detected, {named} named")


if __name__ == "__main__":
    main()
