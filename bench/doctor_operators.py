"""Faults that bench/doctor_programs.py and bench/doctor_peers.py plant in small programs.

Operators of DeepCrime (Humbatova, Jahangirova and Tonella, ISSTA 2021; the others are in
bench/doctor_deepcrime.py) and those of mien's rules, some in bench/doctor_evaluations.py. Each
entry of `FAULTS` says what it changes and which findings name it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from doctor_cases import OPTIMIZERS, Case, Setup, cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def trainings(
    seeds: list[int], *, sound: bool, faults: bool, quick: bool, only: str = ""
) -> Iterator[tuple[str, Case, str, int, Any, tuple[str, ...]]]:
    """Yield (fault or '', program, optimiser, seed, what the fault changes, right names).

    With `quick` each fault is planted in one program a seed, in turn in all that it applies to.
    """
    import doctor_deepcrime  # noqa: F401 - registers its faults after those above
    import doctor_evaluations  # noqa: F401 - and these after them

    warnings.simplefilter("ignore")
    kinds = list(OPTIMIZERS)
    for seed in seeds:
        found = cases(seed)
        if sound:
            for name, case in found.items():
                for kind in kinds:
                    if only in (name, ""):
                        yield "", case, kind, seed, None, ()
        for number, (name, (change, rules, on)) in enumerate(FAULTS.items() if faults else ()):
            chosen = (on[(number + seed) % len(on)],) if quick else on
            for place, program in enumerate(chosen):
                kind = kinds[(number + place + seed) % 3]
                if only in (name, program, ""):
                    yield name, found[program], kind, seed, change, rules
