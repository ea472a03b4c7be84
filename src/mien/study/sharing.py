"""Trainings that are the first epochs of a longer one, which then gives both results.

With a constant learning rate, a training of 8 epochs takes, bit for bit, the first steps of one of
100 epochs with the same other settings and the same seed. So only the longer one is run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.study.plan import Training


@dataclass(frozen=True, slots=True)
class Job:
    """One training to run, and the shorter ones whose results it gives.

    Attributes:
        training: to run.
        shorter: trainings that are its first epochs.
    """

    training: Training
    shorter: tuple[Training, ...] = ()

    @property
    def trainings(self) -> tuple[Training, ...]:
        """All trainings that have a result once the job is done."""
        return (self.training, *self.shorter)


def share(todo: Sequence[Training], planned: Iterable[Training] = ()) -> list[Job]:
    """Return the jobs that give every training of `todo` a result, in its order.

    Args:
        todo: trainings to run.
        planned: trainings that will be run later anyway; one of them is run now instead of its
            first epochs.
    """
    longest: dict[str, Training] = {}
    for training in (*planned, *todo):
        key = _start_key(training)
        if key not in longest or training.recipe.fit.epochs > longest[key].recipe.fit.epochs:
            longest[key] = training
    jobs: dict[str, Job] = {}
    for training in todo:
        key = _start_key(training)
        job = jobs.get(key, Job(longest[key]))
        known = {t.key for t in job.trainings}
        jobs[key] = job if training.key in known else Job(job.training, (*job.shorter, training))
    return list(jobs.values())


def _start_key(training: Training) -> str:
    """Return a key that trainings have in common if one is the first epochs of the other."""
    recipe = training.recipe
    depends_on_length = (
        recipe.schedule.name != "constant"
        or recipe.optimizer.lr == "auto"
        or recipe.fit.early_stopping > 0
        or recipe.fit.initial_size < 1
    )
    if depends_on_length:
        return training.key
    # Any number of epochs will do: only the equality of these keys matters.
    return replace(training, recipe=replace(recipe, fit=replace(recipe.fit, epochs=1))).key
