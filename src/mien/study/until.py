"""More seeds until each claim is decided: read `run_until_decided` first.

Every claim gets `seeds` trainings of its cells; then undecided ones get one seed after another.
The tests of `sequential` allow a look after each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import ConfigError, counted
from mien.model.runtime import cores
from mien.study.costs import Costs, duration
from mien.study.plan import trainings
from mien.study.queue import Queue
from mien.study.results_file import all_seeds
from mien.study.study import Outcome
from mien.study.workers import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mien.scale.registry import EngineOptions
    from mien.study.plan import Plan, Training
    from mien.study.progress import Progress
    from mien.study.sharing import Job


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
