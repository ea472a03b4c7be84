"""A study, from its plan to its report: read `run_study` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.study.costs import images_trained
from mien.study.plan import all_trainings
from mien.study.results_file import find_result
from mien.study.sharing import share
from mien.study.verdict import FactorOutcome, judge
from mien.study.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.scale.registry import EngineOptions
    from mien.study.cell import Result
    from mien.study.plan import Plan, Training
    from mien.study.results_file import ResultsFile

CELLS = "trainings"
"""Folder of the trainings in the study's folder."""


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
        sequential: whether seeds were added until claims were decided.
        stopped: why no more seeds were added; '' for a fixed number of seeds.
    """

    plan: Plan
    dataset_name: str
    fingerprint: str
    factors: tuple[FactorOutcome, ...]
    failed: dict[str, str]
    seconds: float
    trainings: int
    sequential: bool = False
    stopped: str = ""


def run_study(
    plan: Plan,
    dataset: Dataset,
    data: Path,
    out: Path,
    engine: EngineOptions,
    report: Callable[[Training, str], None] = lambda training, error: None,
    stored: ResultsFile | None = None,
) -> Outcome:
    """Run the trainings without a result, and judge the claims.

    A training with a result in `out` or `stored` is not repeated; a failed one is.

    Args:
        plan: the study.
        dataset: in memory.
        data: its folder, for the worker processes.
        out: the study's folder.
        engine: what they run on.
        report: progress callback: gets each training that ended and why it failed, '' if it did
            not.
        stored: a file of results to read and to write after each training.
    """
    folder = out / CELLS
    failed: dict[str, str] = {}
    if stored is not None:
        stored.add_from_folder(unique(plan), folder)

    def ended(training: Training, error: str) -> None:
        if error:
            failed[training.key] = error
        elif stored is not None:
            stored.add_from_folder({training.key: training}, folder)
        report(training, error)

    # A failed training has no result file, so pending() lists it again on the next call.
    todo = share(list(pending(plan, dataset, out, stored).values()))
    run_all(todo, data, folder, engine, ended)
    return collect(plan, dataset, out, failed, stored)


def collect(
    plan: Plan,
    dataset: Dataset,
    out: Path,
    failed: Mapping[str, str] | None = None,
    stored: ResultsFile | None = None,
) -> Outcome:
    """Return the outcome of the finished trainings in `out`, without running any.

    Args:
        plan: the study.
        dataset: that its trainings used.
        out: the study's folder.
        failed: key of each training that just failed → why.
        stored: a file of further results.
    """
    distinct = unique(plan)
    results: dict[str, Result] = {}
    for key in distinct:
        result = find_result(out / CELLS, key, dataset.fingerprint, stored)
        if result is not None:
            results[key] = result
    return Outcome(
        plan=plan,
        dataset_name=dataset.name,
        fingerprint=dataset.fingerprint,
        factors=judge(plan, results),
        # A process may die between writing its result and reporting it.
        failed={key: why for key, why in (failed or {}).items() if key not in results},
        seconds=sum(result.own_seconds for result in results.values()),
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


def pending(
    plan: Plan, dataset: Dataset, out: Path, stored: ResultsFile | None = None
) -> dict[str, Training]:
    """Return the trainings without a result in `out` or `stored`, the longest first.

    With the longest first, no process is left alone with a long one at the end.
    """
    missing = {
        key: training
        for key, training in unique(plan).items()
        if find_result(out / CELLS, key, dataset.fingerprint, stored) is None
    }
    return dict(sorted(missing.items(), key=lambda item: -images_trained(item[1], dataset)))
