"""Changes of the data and of what is trained on them, for bench/doctor_settings.py."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from doctor_cases import Observer, Setup, train
from doctor_operators import rebuild

FOLDS = 5


class BestEpoch(Observer):
    """Early stopping: the weights of the epoch with the lowest validation loss are kept."""

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> None:
        self.model, self.loss, self.lowest = model, loss, float("inf")
        self.best: dict[str, Any] | None = None

    def validate(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        was = model.training
        model.eval()
        with torch.no_grad():
            value = float(self.loss(model(x), y))
        model.train(was)
        if value < self.lowest:
            self.lowest, self.best = value, copy.deepcopy(model.state_dict())

    def end(self) -> None:
        if self.best is not None:
            self.model.load_state_dict(self.best)


class Held(BestEpoch):
    """Predicts the validation data, here a left-out fold, with the weights of the best epoch."""

    guess: torch.Tensor

    def validate(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        super().validate(model, x, y)
        self.x = x

    @torch.no_grad()
    def end(self) -> None:
        super().end()
        self.model.eval()
        self.guess = self.model(self.x).argmax(dim=1)


def drop_contradicted(s: Setup) -> None:
    """Leave out the examples whose label a model that was fitted on the other folds contradicts."""
    x, y = s.case.x, s.case.y
    if y.ndim != 1 or y.is_floating_point():
        return
    kind, folds = type(s.optimizer).__name__.lower(), torch.randperm(len(x)) % FOLDS
    kept = torch.zeros(len(x), dtype=torch.bool)
    for fold in range(FOLDS):
        rest, left = folds != fold, folds == fold
        held = Held()
        part = replace(s.case, x=x[rest], y=y[rest], xv=x[left], yv=y[left])
        train(part, kind, fold, None, held)
        kept[left] = held.guess == y[left]
    s.case = replace(s.case, x=x[kept], y=y[kept])


def weight_classes(s: Setup) -> None:
    """Weight the loss by the inverse of the classes' counts."""
    if isinstance(s.loss, nn.CrossEntropyLoss):
        outputs = s.model(s.case.x[:2]).shape[1]
        counts = torch.bincount(s.case.y, minlength=outputs).float()
        s.loss = nn.CrossEntropyLoss(weight=counts.sum() / (outputs * counts.clamp(min=1)))


def sample_classes(s: Setup) -> None:
    """Draw as many examples of each class as the most common one has, with replacement."""
    y = s.case.y
    if y.ndim != 1 or y.is_floating_point():
        return
    rows = [torch.nonzero(y == k).flatten() for k in set(y.tolist())]
    most = max(len(r) for r in rows)
    drawn = torch.cat([torch.cat([r, r[torch.randint(len(r), (most - len(r),))]]) for r in rows])
    s.case = replace(s.case, x=s.case.x[drawn], y=y[drawn])


def drop_in_training(setup: Setup, finding: Any) -> None:
    """Put dropout modules in the place of calls that are always on."""
    # Here: importing it first would register its faults before others, and move all of them.
    from doctor_evaluations import Always

    for module in list(setup.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Always):
                setattr(module, name, nn.Dropout(0.3))


def remove_target(setup: Setup, finding: Any) -> None:
    """Leave out the input columns that hold the target."""
    case = setup.case
    if case.x.ndim != 2 or not case.x.is_floating_point():
        return
    kept = ~(case.x == case.y.reshape(len(case.y), -1)[:, :1]).all(dim=0)
    first = next(m for m in setup.model.modules() if isinstance(m, nn.Linear))
    if bool(kept.all()):
        return
    setup.case = replace(case, x=case.x[:, kept], xv=case.xv[:, kept])
    parts = list(setup.model.children())
    setup.model = nn.Sequential(nn.Linear(int(kept.sum()), first.out_features), *parts[1:])
    rebuild(setup)
