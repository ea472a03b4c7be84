from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mien.data.dataset import Dataset
from mien.study.cell import read_result, run_job, run_training
from mien.study.plan import Training, load_plan, trainings
from mien.study.sharing import Job, share
from mien.train.recipe.settings import FitConfig, ScheduleConfig

SMALL = ["network.width=2", "network.hidden=8", "fit.epochs=5", "data.train=96"]


def training(epochs: int, *overrides: str, seed: int = 0) -> Training:
    plan = load_plan(Path("poster"), [*SMALL, "data.validation=40", *overrides])
    found = trainings(plan, plan.factors[0], "Adam 0.001", seed + 1)[seed]
    return with_fit(found, epochs=epochs)


def with_fit(found: Training, **values: object) -> Training:
    fit: FitConfig = replace(found.recipe.fit, **values)  # type: ignore[arg-type]
    return replace(found, recipe=replace(found.recipe, fit=fit))


def with_schedule(found: Training, schedule: ScheduleConfig) -> Training:
    return replace(found, recipe=replace(found.recipe, schedule=schedule))


def test_shorter_trainings_are_part_of_the_longest() -> None:
    short, middle, long = training(2), training(3), training(5)
    other = training(2, seed=1)
    assert share([short, other, long, middle]) == [Job(long, (short, middle)), Job(other)]
    assert share([short, short]) == [Job(short)]


def test_a_planned_training_takes_the_place_of_its_first_epochs() -> None:
    short, long, unrelated = training(2), training(5), training(9, seed=1)
    assert share([short], [long, unrelated]) == [Job(long, (short,))]
    assert share([long], [short]) == [Job(long)]


@pytest.mark.parametrize(
    "changed",
    [
        lambda t: with_schedule(t, ScheduleConfig(name="cosine")),
        lambda t: with_fit(t, early_stopping=3),
        lambda t: with_fit(t, initial_size=0.5),
        lambda t: replace(t, train=95),
    ],
)
def test_trainings_that_take_other_steps_are_not_shared(changed: object) -> None:
    assert callable(changed)
    short, long = changed(training(2)), changed(training(5))
    assert share([short, long]) == ([Job(long, (short,))] if long.train == 95 else
                                    [Job(short), Job(long)])  # fmt: skip
    assert share([training(2), long]) == [Job(training(2)), Job(long)]


def test_shared_results_are_those_of_trainings_by_themselves(
    tmp_path: Path, drawn: Dataset
) -> None:
    short, long = training(2), training(5)
    whole, part = run_job(Job(long, (short,)), drawn, tmp_path / "shared")
    for result, own in ((whole, long), (part, short)):
        alone = run_training(own, drawn, tmp_path / "alone")
        assert result.measures == alone.measures
        assert read_result(tmp_path / "shared", own.key, drawn.fingerprint) == result
        assert (result.key, result.note, result.train_n) == (own.key, "", alone.train_n)
    assert part.part_of == long.key
    assert 0 < part.seconds < whole.seconds
    assert (part.own_seconds, whole.own_seconds) == (0, whole.seconds)


def test_a_diverged_training_gives_its_epochs_before(tmp_path: Path, drawn: Dataset) -> None:
    wild = ("optimizer.name=sgd", "network.batch_norm=false", "network.dropout=0",
            "network.conv_batch_norm=false")  # fmt: skip
    whole = None
    for rate in (0.5, 1.0, 2.0, 4.0, 8.0):  # one of them diverges, and not in the first epoch
        long = training(12, *wild)
        optimizer = replace(long.recipe.optimizer, lr=rate)
        long = replace(long, recipe=replace(long.recipe, optimizer=optimizer))
        shorts = tuple(with_fit(long, epochs=n) for n in range(1, 12))
        whole, *parts = run_job(Job(long, shorts), drawn, tmp_path / str(rate))
        if whole.note and not parts[0].note:
            break
    assert whole is not None
    assert whole.note
    notes = [bool(p.note) for p in parts]
    assert notes == sorted(notes)
    last = notes.index(True)
    for number in (last - 1, last):
        alone = run_training(shorts[number], drawn, tmp_path / "alone")
        assert (alone.measures, alone.note) == (parts[number].measures, parts[number].note)
