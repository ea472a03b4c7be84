"""The operators of DeepCrime that bench/doctor_operators.py lacks, planted in the same programs.

DeepCrime (Humbatova, Jahangirova and Tonella, ISSTA 2021) has 24 operators; `CODES` says which
faults stand for which. Three do not fit: the programs have no early stopping (RCP), no penalty that
could be removed (RRW), and no layer to which a bias could be added (WAB).
DeepCrime searches for the weakest mutant that changes the accuracy; here each operator has one
strength. Importing this module registers the faults.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from doctor_operators import fault, rebuild

if TYPE_CHECKING:
    from doctor_cases import Case, Setup

CODES = {
    "TCL": ("labels-changed", "class-labels-changed"),
    "TRD": ("data-deleted",),
    "TUD": ("data-unbalanced",),
    "TAN": ("noise-added",),
    "TCO": ("classes-overlap",),
    "HBS": ("batch-large", "batch-of-one"),
    "HLR": ("rate-too-high", "rate-too-low"),
    "HNE": ("epochs-cut",),
    "HDB": ("batching-disabled",),
    "ACH": ("activation-sigmoid", "activation-softmax", "activation-exponential"),
    "ARM": ("activation-removed",),
    "AAL": ("sigmoid-last", "relu-last", "softmax-twice"),
    "RAW": ("penalty-added",),
    "RCW": ("decay-strong",),
    "RCD": ("dropout-strong", "dropout-removed"),
    "WCI": ("initialiser-zeros", "initialiser-ones", "initialiser-normal"),
    "WRB": ("biases-removed",),
    "LCH": ("loss-squared", "loss-absolute", "loss-divergence"),
    "OCH": ("optimiser-changed",),
    "OCG": ("clip-changed",),
    "VRM": ("validation-removed",),
}
"""Code of DeepCrime's operator → faults of `doctor_operators.FAULTS`."""

FOUR = ("digits", "digits-cnn", "text", "block")
FIVE = (*FOUR, "regression")
SLOW = ("underfitting", "learning-rate-too-low")


def chosen(case: Case, rows: np.ndarray) -> Case:
    """Return the case with these training examples only, in this order."""
    kept = torch.from_numpy(rows)
    return replace(case, x=case.x[kept], y=case.y[kept])


def by_size(case: Case) -> np.ndarray:
    """Return the classes, the most common one first."""
    return np.argsort(-np.bincount(case.y.numpy()), kind="stable")


@fault("class-labels-changed", "label-noise", "class-never-predicted", "class-recall",
       "class-confusion", on=FOUR)  # fmt: skip
def _class_labels(s: Setup, seed: int) -> None:
    """80% of the most common class get other labels (TCL)."""
    rng, y = np.random.default_rng(seed), s.case.y.clone()
    common, classes = by_size(s.case)[0], 1 + int(y.max())
    rows = np.flatnonzero((y.numpy() == common) & (rng.random(len(y)) < 0.8))
    y[torch.from_numpy(rows)] = torch.from_numpy(
        (common + rng.integers(1, classes, len(rows))) % classes
    )
    s.case = replace(s.case, y=y)


@fault("data-deleted", "too-little-data", "overfitting", "model-too-large", "underfitting",
       "validation-loss-rises", on=FIVE)  # fmt: skip
def _deleted(s: Setup, seed: int) -> None:
    rng, n = np.random.default_rng(seed), len(s.case.x)
    s.case = chosen(s.case, rng.permutation(n)[: n * 5 // 100])


@fault("data-unbalanced", "class-imbalance", "class-never-predicted", "class-recall",
       "accuracy-misleads", on=FOUR)  # fmt: skip
def _unbalanced(s: Setup, seed: int) -> None:
    """The classes that are less common than the average lose 97% of their examples (TUD)."""
    rng, y = np.random.default_rng(seed), s.case.y.numpy()
    counts = np.bincount(y)
    rare = counts[y] < counts.mean()
    s.case = chosen(s.case, np.flatnonzero(~rare | (rng.random(len(y)) < 0.03)))


@fault("noise-added", "preprocessing-differs", "domain-shift", "invalid-inputs",
       on=("digits", "digits-cnn", "regression"))  # fmt: skip
def _noise(s: Setup, seed: int) -> None:
    """Each training example gets noise of its own standard deviation (TAN)."""
    torch.manual_seed(seed)
    x = s.case.x
    spread = x.flatten(1).std(dim=1).view(-1, *[1] * (x.ndim - 1))
    s.case = replace(s.case, x=x + spread * torch.randn_like(x))


@fault("classes-overlap", "label-noise", "class-confusion", "class-recall",
       "class-never-predicted", on=FOUR)  # fmt: skip
def _overlap(s: Setup, seed: int) -> None:
    """The most common class comes a second time, labelled as the next most common (TCO)."""
    first, second = by_size(s.case)[:2]
    rows = s.case.y == int(first)
    x = torch.cat([s.case.x, s.case.x[rows]])
    s.case = replace(s.case, x=x, y=torch.cat([s.case.y, torch.full((int(rows.sum()),), second)]))


@fault("batch-large", *SLOW, on=FIVE)
def _batch(s: Setup, seed: int) -> None:
    s.case = replace(s.case, batch=256)


@fault("epochs-cut", *SLOW, on=FIVE)
def _epochs(s: Setup, seed: int) -> None:
    s.case = replace(s.case, epochs=1)


@fault("batching-disabled", *SLOW, on=FIVE)
def _whole(s: Setup, seed: int) -> None:
    s.case = replace(s.case, batch=len(s.case.x))


class Exponential(nn.Module):
    """Keras' activation of that name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


def exchange(module: nn.Module, new: nn.Module) -> None:
    """Put another activation in the place of each ReLU."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, new)
        exchange(child, new)


@fault("activation-softmax", "hidden-softmax", "vanishing-gradients", "saturated-activations",
       on=("digits", "digits-cnn", "text", "regression"))  # fmt: skip
def _softmax(s: Setup, seed: int) -> None:
    exchange(s.model, nn.Softmax(dim=1))


@fault("activation-exponential", "exploding-gradients", "diverged", "learning-rate-too-high",
       on=("digits", "digits-cnn", "text", "regression"))  # fmt: skip
def _exponential(s: Setup, seed: int) -> None:
    exchange(s.model, Exponential())


class Penalised(nn.Module):
    """A loss plus `factor` times the absolute values of all weights (0.01 is Keras' default)."""

    factor = 0.01

    def __init__(self, loss: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.loss, self.weights = loss, [p for p in model.parameters() if p.ndim > 1]

    def forward(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.loss(out, y)
        return value + self.factor * torch.stack([w.abs().sum() for w in self.weights]).sum()


@fault("penalty-added", "penalty-too-strong", "weight-decay-too-strong", "underfitting", on=FIVE)
def _penalty(s: Setup, seed: int) -> None:
    s.loss = Penalised(s.loss, s.model)


@fault("dropout-removed", "overfitting", "model-too-large", on=("text", "block"))
def _no_dropout(s: Setup, seed: int) -> None:
    for module in s.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def one_hot(s: Setup) -> None:
    k = 1 + int(s.case.y.max())
    y, yv = (functional.one_hot(t, k).float() for t in (s.case.y, s.case.yv))
    s.case = replace(s.case, y=y, yv=yv)


@fault("loss-absolute", "loss-activation-mismatch", "underfitting", on=FOUR)
def _absolute(s: Setup, seed: int) -> None:
    s.loss = nn.L1Loss()
    one_hot(s)


@fault("loss-divergence", "loss-activation-mismatch", "diverged", on=FOUR)
def _divergence(s: Setup, seed: int) -> None:
    """Kullback-Leibler divergence of values that are no logarithms of probabilities."""
    s.loss = nn.KLDivLoss(reduction="batchmean")
    one_hot(s)


@fault("optimiser-changed", *SLOW, on=FIVE)
def _optimizer(s: Setup, seed: int) -> None:
    """Plain SGD with Keras' default rate, a tenth of it where that still learns."""
    s.optimizer = torch.optim.SGD(s.model.parameters(), lr=1e-3)


@fault("clip-changed", "clipping-always", *SLOW, on=FIVE)
def _clip(s: Setup, seed: int) -> None:
    """A tiny maximal norm; with Adam it changes next to nothing."""
    s.clip = 1e-3
    rebuild(s)


@fault("validation-removed", "no-validation", on=FIVE)
def _unvalidated(s: Setup, seed: int) -> None:
    s.validate = False
