"""The trainings of a study so far, whose claims get more seeds until they are decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.study.plan import trainings
from mien.study.results_file import find_result
from mien.study.study import CELLS, Outcome
from mien.study.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.study.cell import Result
    from mien.study.plan import Factor, Plan, Training
    from mien.study.results_file import ResultsFile
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
