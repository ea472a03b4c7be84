"""Which claims get the next seeds, while earlier ones still run; see `until.run_until_decided`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.study.forecast import seeds_until_decided
from mien.study.plan import trainings
from mien.study.sharing import Job, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.study.claims import Claim
    from mien.study.costs import Costs
    from mien.study.plan import Factor, Training
    from mien.study.progress import Progress
    from mien.study.verdict import ClaimOutcome


@dataclass(frozen=True, slots=True)
class Batch:
    """The next seeds of one claim.

    Attributes:
        factor: of the claim.
        cells: that it compares.
        seeds: that these cells have afterwards.
        jobs: to run for that; trainings that another batch runs are not among them.
        cost: estimated CPU seconds.
    """

    factor: Factor
    cells: tuple[str, ...]
    seeds: int
    jobs: list[Job]
    cost: float


class Queue:
    """Chooses the claims that get the next seeds.

    Claims first get the plan's seeds: primary ones, then secondary ones, in the plan's order. Then
    the undecided claim is next that the least CPU time will decide, if its differences stay as
    they are (forecast.py). Claims that more than the plan's `max_seeds` would decide come last,
    the one for whose extra seeds the least time was spent first. The order may depend on the
    results, since the tests hold at any stopping time; the results of a claim are taken in the
    order of its seeds, however they finish.

    Args:
        progress: of the study.
        costs: of its trainings.
        budget_s: CPU seconds of all trainings of the study.

    Attributes:
        taken: batches whose results were taken.
        too_costly: estimated CPU seconds of the batches that the budget did not allow at the
            last choice.
    """

    def __init__(self, progress: Progress, costs: Costs, budget_s: float) -> None:
        self.progress, self.costs, self.budget_s = progress, costs, budget_s
        self.extra: dict[tuple[str, tuple[str, ...]], float] = {}
        self.running: list[Batch] = []
        self.taken = 0
        self.too_costly: list[float] = []

    def start(self, workers: int = 1) -> list[Job]:
        """Take the results that came in, and return jobs for the workers that are free.

        Args:
            workers: that run jobs at the same time.

        Returns:
            Jobs that count as running from now on; an empty list if all workers are busy, all is
            decided, or the budget allows no more.
        """
        self._take_finished()
        jobs: list[Job] = []
        while self._unfinished() < workers:
            batch = self._next()
            if batch is None:
                break
            self.running.append(batch)
            jobs += batch.jobs
            # An empty batch costs nothing: its results are there, and only have to be counted.
            self._take_finished()
        return jobs

    def _unfinished(self) -> int:
        """Return the number of jobs that still run."""
        return sum(any(map(self._runs, j.trainings)) for b in self.running for j in b.jobs)

    def _runs(self, training: Training) -> bool:
        return training.key not in self.progress.failed and not self.progress.finished(training)

    def _take_finished(self) -> None:
        """Take the results of the batches all of whose seeds have run, earlier ones included."""
        for batch in sorted(self.running, key=lambda b: b.seeds):
            if self.progress.missing(batch.factor, batch.cells, batch.seeds):
                continue
            self.running.remove(batch)
            self.taken += 1
            for cell in batch.cells:
                key = batch.factor.name, cell
                self.progress.seeds[key] = max(self.progress.seeds[key], batch.seeds)
            if batch.seeds > self.progress.plan.seeds:
                place = batch.factor.name, batch.cells
                self.extra[place] = self.extra.get(place, 0.0) + batch.cost

    def _next(self) -> Batch | None:
        """Return the next seeds to run; None if all is decided, or the budget allows no more."""
        # Emptied at each call, because results that came in since change the estimates.
        self.too_costly = []
        # Measured costs replace the estimates as trainings finish.
        self.costs.add(self.progress.results, self.progress.known)
        # A longer training that another claim's first look needs gives a shorter one's result.
        planned = self.progress.first_round()
        busy = {t.key for b in self.running for j in b.jobs for t in j.trainings}
        left = self.budget_s - self.progress.spent - sum(b.cost for b in self.running)
        for factor, cells, seeds in self._wanted():
            missing = self.progress.missing(factor, cells, seeds)
            todo = share([t for t in missing if t.key not in busy], planned)
            cost = sum(self.costs.seconds(job.training) for job in todo)
            if todo and cost > left:
                self.too_costly.append(cost)
                continue
            return Batch(factor, cells, seeds, todo, cost)
        return None

    def _wanted(self) -> Iterator[tuple[Factor, tuple[str, ...], int]]:
        """Yield factor, cells and number of seeds of what lacks seeds, the next one first."""
        plan, seeds = self.progress.plan, self.progress.seeds
        by_name = {factor.name: factor for factor in plan.factors}
        judged = self.progress.judged()
        running = {(b.factor.name, b.cells, b.seeds) for b in self.running}
        claims = [(by_name[f.factor.name], claim) for f in judged for claim in f.claims]
        # Stable: primary claims first, each group in the plan's order.
        claims.sort(key=lambda pair: not pair[1].claim.primary)
        more: list[tuple[float, float, tuple[Factor, tuple[str, ...], int]]] = []
        for factor, outcome in claims:
            cells = _cells_of(outcome.claim)
            common = min(seeds[factor.name, cell] for cell in cells)
            if common < plan.seeds:
                if (factor.name, cells, plan.seeds) not in running:
                    yield factor, cells, plan.seeds
                continue
            # Behind the seeds that run: workers that are free need not wait for them.
            wanted = common + 1
            while (factor.name, cells, wanted) in running:
                wanted += 1
            if outcome.verdict == "undecided" and wanted <= plan.max_seeds:
                spent = self.extra.get((factor.name, cells), 0.0)
                item = factor, cells, wanted
                more.append((self._remaining(outcome, item), spent, item))
        for factor in plan.factors:  # cells that no claim compares
            for cell in factor.cells:
                first = (factor.name, (cell,), plan.seeds)
                if seeds[factor.name, cell] < plan.seeds and first not in running:
                    yield factor, (cell,), plan.seeds
        for *_, item in sorted(more, key=lambda entry: entry[:2]):
            yield item

    def _remaining(self, outcome: ClaimOutcome, item: tuple[Factor, tuple[str, ...], int]) -> float:
        """Return the CPU seconds that will probably decide a claim; inf beyond `max_seeds`."""
        factor, cells, seeds = item
        needed = seeds_until_decided(outcome)
        # Seeds that run already may decide it: others first.
        runs_already = any(b.factor is factor and b.cells == cells for b in self.running)
        if needed > self.progress.plan.max_seeds or (runs_already and needed < seeds):
            return math.inf
        first = [trainings(self.progress.plan, factor, cell, 1)[0] for cell in cells]
        return max(1.0, needed - seeds + 1) * sum(self.costs.seconds(one) for one in first)


def _cells_of(claim: Claim) -> tuple[str, ...]:
    """Return the names of the cells that a claim compares, each once."""
    return tuple(dict.fromkeys(name for c in claim.comparisons for name in (c.higher, c.lower)))
