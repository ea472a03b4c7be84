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
REPEATS = 3
"""Cross-validations whose probabilities are averaged before labels are corrected."""


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

    probs: torch.Tensor

    def validate(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        super().validate(model, x, y)
        self.x = x

    @torch.no_grad()
    def end(self) -> None:
        super().end()
        self.model.eval()
        self.probs = self.model(self.x).softmax(dim=1)


def left_out_probabilities(s: Setup, repeats: int) -> torch.Tensor:
    """Return each example's class probabilities by models that were fitted on the other folds."""
    x, y = s.case.x, s.case.y
    kind = type(s.optimizer).__name__.lower()
    probs = torch.zeros(len(x), 1 + int(y.max()))
    for repeat in range(repeats):
        folds = torch.randperm(len(x)) % FOLDS
        for fold in range(FOLDS):
            rest, left = folds != fold, folds == fold
            held = Held()
            part = replace(s.case, x=x[rest], y=y[rest], xv=x[left], yv=y[left])
            train(part, kind, fold + FOLDS * repeat, None, held)
            probs[left] += held.probs[:, : probs.shape[1]] / repeats
    return probs


def drop_contradicted(s: Setup) -> None:
    """Leave out the examples whose label a model that was fitted on the other folds contradicts."""
    x, y = s.case.x, s.case.y
    if y.ndim != 1 or y.is_floating_point():
        return
    kept = left_out_probabilities(s, 1).argmax(dim=1) == y
    s.case = replace(s.case, x=x[kept], y=y[kept])


def correct_contradicted(s: Setup) -> None:
    """Correct labels by confident learning (Northcutt et al. 2021, as in cleanlab).

    An example is of the most probable of those classes whose probability is above the mean one of
    the examples that are labelled so.
    """
    y = s.case.y
    if y.ndim != 1 or y.is_floating_point():
        return
    probs = left_out_probabilities(s, REPEATS)
    classes = range(probs.shape[1])
    limits = torch.stack([probs[y == k, k].mean() if bool((y == k).any()) else torch.tensor(1.0)
                          for k in classes])  # fmt: skip
    above = probs >= limits
    likely = torch.where(above, probs, torch.tensor(-1.0)).argmax(dim=1)
    s.case = replace(s.case, y=torch.where(above.any(dim=1), likely, y))


def one_label_each(s: Setup, finding: Any) -> None:
    """Leave out the copies that the finding names; all examples with several labels otherwise."""
    x, y = s.case.x, s.case.y
    labels: dict[bytes, set[int]] = {}
    keys = [row.numpy().tobytes() for row in x]
    for key, label in zip(keys, y.tolist(), strict=True):
        labels.setdefault(key, set()).add(label)
    names = [finding.numbers.get(name) for name in ("kept", "copied_as")]
    first, second = (None if n is None else int(n.split()[-1]) for n in names)
    wrong = [
        len(labels[key]) > 1 and (first is None or (label == second and first in labels[key]))
        for key, label in zip(keys, y.tolist(), strict=True)
    ]
    kept = ~torch.tensor(wrong)
    s.case = replace(s.case, x=x[kept], y=y[kept])


def join_labels(s: Setup, finding: Any) -> None:
    """Take the labels in their right order, if it is only their order that is wrong."""
    assert s.sound is not None
    right, y = s.sound.y, s.case.y
    if torch.equal(s.sound.x, s.case.x) and torch.equal(right.sort().values, y.sort().values):
        s.case = replace(s.case, y=right)


def map_labels(s: Setup, finding: Any) -> None:
    """Map a missing class to itself again, if the finding names the class that it was mapped to."""
    names = [finding.numbers.get(name) for name in ("class", "merged_into")]
    if s.sound is None or None in names or len(s.sound.y) != len(s.case.y):
        return
    missing, merged = (int(str(n).split()[-1]) for n in names)
    rows = (s.sound.y == missing) & (s.case.y == merged)
    s.case = replace(s.case, y=torch.where(rows, s.sound.y, s.case.y))


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
