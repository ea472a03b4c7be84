"""What a watch leaves to the loop's time: hooks, imports, and how much validation is evaluated."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from mien import doctor
from mien.doctor.programs import measuring, validation
from mien.doctor.programs.link import Link
from mien.doctor.programs.validation import MAX_EVALUATED, MIN_EVALUATED, Scorer, Validation


class Clock:
    """CPU time that passes with each example that is predicted."""

    def __init__(self, each: float) -> None:
        self.each, self.seconds = each, 0.0
        self.sizes: list[int] = []

    def thread_time(self) -> float:
        return self.seconds

    def predict(self, inputs: Any) -> torch.Tensor:
        self.sizes.append(len(inputs))
        self.seconds += self.each * len(inputs)
        return nn.functional.one_hot(inputs[:, 0].long(), 3).float()


def scored(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, *, seconds: float, batches: tuple[int, ...]
) -> Validation:
    """Return the scores of two epochs with the given batches; a third of the labels is wrong."""
    monkeypatch.setattr(validation, "time", clock)
    criterion = nn.CrossEntropyLoss()
    link = Link("CrossEntropyLoss", criterion, lambda x: x, lambda t: t)
    scorer = Scorer(clock.predict, link, torch.device("cpu"))
    found = Validation()
    for _ in range(2):
        found.start_epoch()
        for size in batches:
            x = (torch.arange(size) % 3).float()[:, None]
            y = torch.where(x[:, 0] == 2, 0, x[:, 0].long())
            started = clock.seconds
            found.add(scorer, x, y, seconds=seconds)
            seconds -= clock.seconds - started
    return found


def test_a_first_validation_that_is_cheap_is_scored_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(1e-6)
    epochs = scored(monkeypatch, clock, seconds=0.01, batches=(600,)).epochs
    # Once to learn what an example costs.
    assert clock.sizes == [MIN_EVALUATED, MAX_EVALUATED, MAX_EVALUATED]
    assert [epoch.n for epoch in epochs] == [MAX_EVALUATED] * 2
    assert epochs[0].right == epochs[1].right == MAX_EVALUATED - MAX_EVALUATED // 3
    assert epochs[0].loss == epochs[1].loss > 0


def test_a_first_validation_that_is_expensive_keeps_to_the_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All 512 would take 0.077 s, which was 2.5% of the training of a small network for 3 s.
    clock = Clock(1.5e-4)
    epochs = scored(monkeypatch, clock, seconds=0.01, batches=(600,)).epochs
    assert clock.sizes == [MIN_EVALUATED] * 2
    assert [epoch.n for epoch in epochs] == [MIN_EVALUATED] * 2


@pytest.mark.parametrize(("each", "n"), [(1e-6, 510), (1e-2, MIN_EVALUATED)])
def test_batches_of_an_epoch_add_up_within_the_budget(
    monkeypatch: pytest.MonkeyPatch, each: float, n: int
) -> None:
    found = scored(monkeypatch, Clock(each), seconds=0.01, batches=(30,) * 17)
    assert [epoch.n for epoch in found.epochs] == [n, n]
    assert found.count == 510


def test_validation_that_is_over_its_budget_has_no_seconds_left() -> None:
    model = nn.Linear(2, 2)
    watch = doctor.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    watch._started = 0.0
    assert watch._validation_left(1.0) == measuring.VALIDATION_ALLOWANCE_S
    assert watch._validation_left(100.0) == pytest.approx(100 * measuring.VALIDATION_BUDGET)
    watch.spent_validating = 1.0
    assert watch._validation_left(100.0) < 0


def test_no_hook_is_left_on_the_weights() -> None:
    # Of removed hooks an empty dictionary would be left, which each backward pass would call.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    own: list[torch.Tensor] = []
    hook: Any = model[0].weight.register_hook  # has no types
    hook(lambda gradient: own.append(gradient))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps = 12
    with doctor.watch(model, optimizer, every=3) as watch:
        during = set()
        for _ in range(steps):
            x, y = torch.randn(16, 8), torch.randint(3, (16,))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.step(loss, x, y)
            during.add(model[2].weight._backward_hooks is None)
    assert len(watch.rows) == 4
    assert during == {True, False}
    assert model[2].weight._backward_hooks is None
    assert len(own) == steps
    assert len(model[0].weight._backward_hooks or ()) == 1


def test_what_only_the_report_needs_is_not_imported_before_it() -> None:
    code = "import sys; from mien import doctor; doctor.watch; print('scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "False"
