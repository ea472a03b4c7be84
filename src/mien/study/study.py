"""A study, from its plan to its report: read `run_study` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, counted
from mien.study.cell import Result, random_subset, read_result
from mien.study.plan import all_trainings
from mien.study.verdict import FactorOutcome, judge
from mien.study.workers import run_all
from mien.train.loop.timing import seconds_per_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.study.plan import Plan, Training

CELLS = "trainings"
SCORED = 2000
"""Training images predicted after each epoch, see train.fit.TRAIN_SAMPLE."""
SCORING = 1 / 3
"""Cost of predicting an image over that of training on it."""
MAX_TIMED = 8
"""Networks that are timed for an estimate, at most."""

MAX_TRAININGS, MAX_MINUTES = 1000, 120.0
"""Trainings and minutes above which a study needs a confirmation."""
COSTLY = "pass yes=True to start them; fewer seeds or factors, or more jobs, take less time"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a study.

    Attributes:
        plan: of the study.
        dataset_name: of the data.
        fingerprint: of the data.
        factors: with cells and verdicts.
        failed: key of each training without a result → why.
        seconds: CPU time of all trainings.
        trainings: number of distinct trainings.
    """

    plan: Plan
    dataset_name: str
    fingerprint: str
    factors: tuple[FactorOutcome, ...]
    failed: dict[str, str]
    seconds: float
    trainings: int


def run_study(
    plan: Plan,
    dataset: Dataset,
    data: Path,
    out: Path,
    jobs: int,
    report: Callable[[Training, str], None] = lambda training, error: None,
) -> Outcome:
    """Run the trainings without a result, and judge the claims.

    A training with a result in `out` is not repeated; a failed one is.

    Args:
        plan: the study.
        dataset: in memory.
        data: its folder, for the worker processes.
        out: the study's folder.
        jobs: worker processes, 1 or more, one thread each.
        report: progress callback: gets each training that ended and why it failed, '' if it did
            not.
    """
    folder = out / CELLS
    failed: dict[str, str] = {}

    def ended(training: Training, error: str) -> None:
        if error:
            failed[training.key] = error
        report(training, error)

    run_all(list(pending(plan, dataset, out).values()), data, folder, jobs, ended)
    distinct = unique(plan)
    results: dict[str, Result] = {}
    for key in distinct:
        result = read_result(folder, key, dataset.fingerprint)
        if result is not None:
            results[key] = result
    return Outcome(
        plan=plan,
        dataset_name=dataset.name,
        fingerprint=dataset.fingerprint,
        factors=judge(plan, results),
        # A process may die between writing its result and reporting it.
        failed={key: why for key, why in failed.items() if key not in results},
        seconds=sum(result.seconds for result in results.values()),
        trainings=len(distinct),
    )


def unique(plan: Plan) -> dict[str, Training]:
    """Return the study's distinct trainings by key; factors have some in common."""
    return {training.key: training for _, _, training in all_trainings(plan)}


def places(plan: Plan) -> dict[str, str]:
    """Return the factors, cells and seeds that each training belongs to, in words, by its key."""
    found: dict[str, list[str]] = {}
    for factor, cell, training in all_trainings(plan):
        place = f"{factor.name}: {cell}, seed {training.recipe.fit.seed}"
        found.setdefault(training.key, []).append(place)
    return {key: "; ".join(shared) for key, shared in found.items()}


def pending(plan: Plan, dataset: Dataset, out: Path) -> dict[str, Training]:
    """Return the trainings without a result, the longest first.

    With the longest first, no process is left alone with a long one at the end.
    """
    missing = {
        key: training
        for key, training in unique(plan).items()
        if read_result(out / CELLS, key, dataset.fingerprint) is None
    }
    return dict(sorted(missing.items(), key=lambda item: -_images(item[1], dataset)))


def estimate_seconds(trainings: list[Training], dataset: Dataset) -> float:
    """Return an estimate of the trainings' total time in seconds, on one thread of this machine.

    It times a few steps of up to MAX_TIMED networks, and uses their mean for the others.
    """
    if not trainings:
        return 0.0
    by_network: dict[str, list[Training]] = {}
    for training in trainings:
        by_network.setdefault(repr(training.recipe.network), []).append(training)
    groups = list(by_network.values())
    # Evenly over the networks: their costs differ by orders of magnitude.
    chosen = np.unique(np.linspace(0, len(groups) - 1, min(MAX_TIMED, len(groups))).astype(int))
    timed = {int(i): _timed(groups[int(i)][0], dataset) for i in chosen}
    mean = float(np.mean(list(timed.values())))
    return sum(
        _images(training, dataset) * timed.get(number, mean)
        for number, group in enumerate(groups)
        for training in group
    )


def _timed(training: Training, dataset: Dataset) -> float:
    small = random_subset(dataset, training).split("train")
    return seconds_per_image(small, training.recipe)


def _images(training: Training, dataset: Dataset) -> float:
    """Return the cost of a training, in images trained on."""
    train = _count(training.train, int((dataset.splits_n == "train").sum()))
    validation = _count(training.validation, int((dataset.splits_n == "validation").sum()))
    return training.recipe.fit.epochs * (train + SCORING * (min(SCORED, train) + validation))


def _count(size: float, total: int) -> float:
    return total * (size or 1.0) if size < 1 else size


def refuse_costly(count: int, minutes: float, *, yes: bool, hint: str = COSTLY) -> None:
    """Raise a ConfigError for more than MAX_TRAININGS or MAX_MINUTES, unless `yes` is set.

    Args:
        count: trainings to run.
        minutes: that they take.
        yes: start them all the same.
        hint: of the error, in the caller's terms.
    """
    if not yes and (count > MAX_TRAININGS or minutes > MAX_MINUTES):
        raise ConfigError(
            f"{count:,} trainings take about {duration(minutes)} on this machine",
            hint=hint,
        )


def duration(minutes: float) -> str:
    """Return a time given in minutes as text, in minutes, hours or days."""
    if minutes < 90:
        return counted(max(1, round(minutes)), "minute")
    return f"{minutes / 60:.1f} hours" if minutes < 2880 else f"{minutes / 1440:.1f} days"
