"""A study whose trainings write results at once, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mien import __version__
from mien.scale.registry import EngineOptions
from mien.study.cell import Result
from mien.study.measures import MEASURES
from mien.study.plan import Training
from mien.study.sharing import Job

PLAN = """
title = "Rates"
recipe = "poster"
seeds = 4
max_seeds = 30
train = 96
validation = 40

[set]
"network.width" = 2
"network.hidden" = 8
"fit.epochs" = 4

[[family]]
name = "rate"
words = "Other rates are better."

[[factor]]
name = "rate"
title = "Learning rate"
[factor.cells]
"base" = { "optimizer.lr" = 0.001 }
"large" = { "optimizer.lr" = 0.002 }
"small" = { "optimizer.lr" = 0.003 }
"dear" = { "optimizer.lr" = 0.004, "fit.epochs" = 40 }
"shown only" = { "optimizer.lr" = 0.005 }

[[factor.claims]]
family = "rate"
words = "Large is better."
comparisons = [{ higher = "large", lower = "base" }]

[[factor.claims]]
family = "rate"
primary = true
words = "Small is better."
comparisons = [{ higher = "small", lower = "base" }]

[[factor.claims]]
family = "rate"
words = "Dear is better."
comparisons = [{ higher = "dear", lower = "base" }]
"""
MEANS = {0.001: 0.60, 0.002: 0.80, 0.003: 0.6125, 0.004: 0.6125, 0.005: 0.5}
"""Accuracy by learning rate: one clear claim and two that need more seeds."""


@dataclass
class FakePool:
    """Writes results instead of training: accuracies by MEANS with noise, a second an epoch."""

    data: Path
    folder: Path
    options: EngineOptions
    ran: ClassVar[list[Training]] = []
    fails: ClassVar[set[float]] = set()
    stop_after: ClassVar[int] = 10**6
    fingerprint: ClassVar[str] = ""
    latest_first: ClassVar[bool] = False

    def __enter__(self) -> FakePool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        pending: Sequence[Job],
        report: Callable[[Training, str], None],
        more: Callable[[], Sequence[Job]] = tuple,
    ) -> None:
        jobs = list(pending)
        while jobs:
            for training in jobs.pop(-1 if self.latest_first else 0).trainings:
                if len(self.ran) >= self.stop_after:
                    raise KeyboardInterrupt
                self.ran.append(training)
                self.train(training, report)
            jobs.extend(more())

    def train(self, training: Training, report: Callable[[Training, str], None]) -> None:
        if training.recipe.optimizer.rate in self.fails:
            report(training, "it failed")
            return
        result = fake_result(training, self.fingerprint)
        (self.folder / training.key).mkdir(parents=True)
        text = json.dumps(asdict(result))
        (self.folder / training.key / "result.json").write_text(text)
        report(training, "")


def fake_result(training: Training, fingerprint: str) -> Result:
    lr, seed = training.recipe.optimizer.rate, training.recipe.fit.seed
    noise = np.random.default_rng([seed, round(lr * 1e4)]).normal(0, 0.006)
    measures: dict[str, float | None] = {**dict.fromkeys(MEASURES), "accuracy": MEANS[lr] + noise}
    return Result(
        training.key, fingerprint, measures, 100, 96, 40, float(training.recipe.fit.epochs),
        mien=__version__,
    )  # fmt: skip
