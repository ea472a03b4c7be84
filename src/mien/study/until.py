"""More seeds until each claim is decided: read `run_until_decided` first.

Every claim gets `seeds` trainings of its cells; then undecided ones get one seed after another.
The tests of `sequential` allow a look after each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.errors import ConfigError, counted
from mien.model.runtime import cores
from mien.study.costs import Costs, duration
from mien.study.plan import trainings
from mien.study.queue import Queue
from mien.study.results_file import all_seeds, find_result
from mien.study.study import CELLS, Outcome
from mien.study.verdict import judge
from mien.study.workers import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.scale.registry import EngineOptions
    from mien.study.cell import Result
    from mien.study.plan import Factor, Plan, Training
    from mien.study.results_file import ResultsFile
    from mien.study.sharing import Job
    from mien.study.verdict import FactorOutcome

CellName = tuple[str, str]
"""Names of a factor and of one of its cells."""


@dataclass(slots=True)
class Progress:
    """The trainings of a study so far.

    Attributes:
        plan: of the study.
        dataset: that it uses.
        folder: of the trainings.
        results: by the key of the training.
        seeds: number of seeds of each cell; their trainings are finished or failed.
        failed: key of each training that failed → why.
        known: every training that was looked up, by its key.
        stored: a file of results, read beside the folder and written after each training.
    """

    plan: Plan
    dataset: Dataset
    folder: Path
    results: dict[str, Result] = field(default_factory=dict)
    seeds: dict[CellName, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    known: dict[str, Training] = field(default_factory=dict)
    stored: ResultsFile | None = None

    @classmethod
    def of_folder(
        cls, plan: Plan, dataset: Dataset, out: Path, stored: ResultsFile | None = None
    ) -> Progress:
        """Return the progress in a study's folder: each cell's seeds up to the first missing."""
        progress = cls(plan, dataset, out / CELLS, stored=stored)
        for factor in plan.factors:
            for cell in factor.cells:
                # Up to the first gap only: pairs are compared seed by seed, in order.
                done = 0
                for training in trainings(plan, factor, cell, plan.max_seeds):
                    if not progress.finished(training):
                        break
                    done += 1
                progress.seeds[factor.name, cell] = done
        return progress

    @property
    def spent(self) -> float:
        """CPU seconds of the finished trainings."""
        return sum(result.own_seconds for result in self.results.values())

    def finished(self, training: Training) -> bool:
        """Return whether a training has a result, and take that result."""
        self.known[training.key] = training
        if training.key not in self.results:
            result = find_result(self.folder, training.key, self.dataset.fingerprint, self.stored)
            if result is not None:
                self.results[training.key] = result
        return training.key in self.results

    def missing(self, factor: Factor, cells: Sequence[str], seeds: int) -> list[Training]:
        """Return the cells' trainings of the first `seeds` seeds that have neither run nor failed.

        Seed by seed, so that an interrupted study has whole pairs.
        """
        columns = [trainings(self.plan, factor, cell, seeds) for cell in cells]
        return [
            training
            for pair in zip(*columns, strict=True)
            for training in pair
            if training.key not in self.failed and not self.finished(training)
        ]

    def first_round(self) -> list[Training]:
        """Return the trainings that are missing before the first look at every claim."""
        plan = self.plan
        todo = [self.missing(factor, list(factor.cells), plan.seeds) for factor in plan.factors]
        return list({training.key: training for part in todo for training in part}.values())

    def judged(self) -> tuple[FactorOutcome, ...]:
        """Return the verdicts of the trainings so far."""
        return judge(self.plan, self.results, self.seeds, sequential=True)

    def outcome(self, stopped: str) -> Outcome:
        """Return the study's outcome so far, and why it stopped."""
        return Outcome(
            plan=self.plan,
            dataset_name=self.dataset.name,
            fingerprint=self.dataset.fingerprint,
            factors=self.judged(),
            failed=dict(self.failed),
            seconds=self.spent,
            trainings=len(self.results) + len(self.failed),
            sequential=True,
            stopped=stopped,
        )


def check_sequential(plan: Plan) -> None:
    """Raise a ConfigError for a plan whose claims cannot be tested one after another."""
    if not plan.families:
        raise ConfigError(
            "the plan declares no families; claims that get more seeds are corrected within them",
            hint='add [[family]] tables with name and words, and family = "..." to each claim',
        )


def run_until_decided(
    progress: Progress,
    data: Path,
    engine: EngineOptions,
    budget_s: float,
    report: Callable[[Training, str], None] = lambda training, error: None,
    looked: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Add seeds to undecided claims until all are decided, or the budget is used up.

    Paired seeds stay paired: a claim's cells get the same seeds. Finished trainings are not
    repeated, and count: the same call resumes an interrupted study.

    Args:
        progress: of the study so far, see `Progress.of_folder`.
        data: the dataset's folder, for the worker processes.
        engine: what they run on.
        budget_s: CPU seconds of all trainings of the study, finished ones included, above 0.
        report: progress callback: gets each training that ended and why it failed, '' if it did
            not.
        looked: progress callback: gets the outcome so far, after each claim's new seeds.

    Raises:
        ConfigError: the plan declares no families, or the budget does not allow a single claim's
            next seeds.
    """
    check_sequential(progress.plan)
    costs = Costs(list(_first_trainings(progress.plan)), progress.dataset)

    stored = progress.stored
    if stored is not None:
        stored.add_from_folder(all_seeds(progress.plan), progress.folder)

    def ended(training: Training, error: str) -> None:
        if error:
            progress.failed[training.key] = error
        elif stored is not None:
            stored.add_from_folder({training.key: training}, progress.folder)
        report(training, error)

    queue = Queue(progress, costs, budget_s)
    workers = engine.workers or cores()

    def more() -> list[Job]:
        """Return what the workers that have nothing to do get, after each training that ended."""
        before = queue.taken
        jobs = queue.start(workers)
        if queue.taken > before:
            looked(progress.outcome("still running"))
        return jobs

    with Pool(data, progress.folder, engine) as pool:
        while jobs := more():
            pool.run(jobs, ended, more)
    if queue.too_costly and not queue.taken:
        _refuse(budget_s, progress.spent, min(queue.too_costly))
    return progress.outcome(_why(queue))


def _first_trainings(plan: Plan) -> Iterator[Training]:
    for factor in plan.factors:
        for cell in factor.cells:
            yield trainings(plan, factor, cell, 1)[0]


def _refuse(budget_s: float, spent: float, cost: float) -> None:
    raise ConfigError(
        f"budget: {duration(budget_s / 60)} of CPU time is too small for one more round: "
        f"{duration(spent / 60) if spent else 'nothing'} is spent, and the cheapest undecided "
        f"claim's next seeds take {duration(cost / 60)}",
        hint=f"set budget to {(spent + cost) / 60 + 1:.0f}m or more",
    )


def _why(queue: Queue) -> str:
    """Return in words why no more seeds are added."""
    verdicts = [c.verdict for factor in queue.progress.judged() for c in factor.claims]
    open_ = verdicts.count("undecided")
    if not open_:
        return "every claim is decided"
    if queue.too_costly:
        cost = duration(min(queue.too_costly) / 60)
        why = f"the next seeds, {cost} of CPU time, would exceed the budget"
    else:
        why = f"all {queue.progress.plan.max_seeds} seeds (max_seeds) are used"
    return f"{counted(open_, 'claim')} undecided: {why}"
