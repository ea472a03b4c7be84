"""Trainings on an engine of `mien.scale`, one thread each; a worker that dies loses one attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.errors import MienError
from mien.scale.mapping import map_items
from mien.scale.registry import EngineOptions, make_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mien.scale.engine import Engine
    from mien.study.plan import Training
    from mien.study.sharing import Job


def run_all(
    pending: Sequence[Job],
    data: Path,
    folder: Path,
    engine: EngineOptions,
    report: Callable[[Training, str], None],
) -> None:
    """Run all jobs of `pending`; results are written into the folders of their trainings.

    Args:
        pending: jobs to run.
        data: the dataset's folder.
        folder: gets a folder for each training; other machines must see both.
        engine: what they run on.
        report: progress callback: gets each training that ended and why it failed, '' if it did
            not.
    """
    with Pool(data, folder, engine) as pool:
        pool.run(pending, report)


@dataclass(slots=True)
class Pool:
    """Workers that stay for several lists of jobs; use it in a `with` statement.

    Attributes:
        data: the dataset's folder.
        folder: gets a folder for each training.
        options: of the engine, which is opened when the first job is there.
    """

    data: Path
    folder: Path
    options: EngineOptions
    _engine: Engine | None = field(default=None, init=False)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def run(
        self,
        pending: Sequence[Job],
        report: Callable[[Training, str], None],
        more: Callable[[], Sequence[Job]] = tuple,
    ) -> None:
        """Run all jobs of `pending`, in that order; see `run_all`.

        Args:
            pending: jobs to run.
            report: progress callback, see `run_all`.
            more: called after each job that ended; returns further jobs, to be run as well.
        """
        if not pending:
            return
        jobs = list(pending)
        if self._engine is None:
            self._engine = make_engine(self.options)
            self._engine.open(MakeTrainer(self.data, self.folder))
        for outcome in map_items(self._engine, jobs):
            # A training that fails by itself would fail again: only lost workers are tried again.
            for training in outcome.item.trainings:
                report(training, outcome.error or outcome.value)
            jobs.extend(more())


@dataclass(frozen=True, slots=True)
class MakeTrainer:
    """Makes what runs jobs in a worker.

    Attributes:
        data: the dataset's folder.
        folder: of the trainings.
    """

    data: Path
    folder: Path

    def __call__(self) -> Callable[[Job], str]:
        """Return a function from a job to why it failed, '' if it did not."""
        from mien.data.dataset import load_dataset
        from mien.study.cell import run_job

        # Once for each process: a large dataset takes seconds to load.
        dataset = load_dataset(self.data)

        def train(job: Job) -> str:
            try:
                run_job(job, dataset, self.folder)
            except MienError as error:
                return error.message
            except Exception as error:  # noqa: BLE001 - one training must not end the study
                return f"{type(error).__name__}: {error}"
            return ""

        return train
