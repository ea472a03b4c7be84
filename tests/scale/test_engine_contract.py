"""What every registered engine must do; a new engine needs a case here to pass."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.scale.work import Double, DoubleAll, Work, attempts

from mien.errors import ClusterError
from mien.scale.engine import Engine
from mien.scale.engines import ray as ray_engine
from mien.scale.engines import slurm as slurm_engine
from mien.scale.fingerprint import Fingerprint
from mien.scale.mapping import Outcome, Progress, map_items
from mien.scale.registry import ENGINES, EngineOptions, make_engine

# submitit's debug executor leaves its log files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*DEBUG_:pytest.PytestUnraisableExceptionWarning"
)
CASES = {
    "local": {"name": "local"},
    "ray": {"name": "ray"},
    "slurm": {"name": "slurm", "settings": {"cluster": "local"}, "items_per_job": 3},
    "slurm-debug": {"name": "slurm", "settings": {"cluster": "debug"}, "items_per_job": 3},
}
PACKAGES = {"ray": "ray", "slurm": "submitit", "slurm-debug": "submitit"}
WITH_PROCESSES = tuple(name for name in CASES if name != "slurm-debug")
"""The debug executor works in this process, which must not die."""


def test_every_engine_has_a_case() -> None:
    assert {case["name"] for case in CASES.values()} == set(ENGINES)


@pytest.fixture(params=CASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    made = make(str(request.param), tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture(params=WITH_PROCESSES)
def mortal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    made = make(str(request.param), tmp_path, monkeypatch)
    yield made
    made.close()


def make(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    package = PACKAGES.get(case)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'mien[ray,slurm]'")
    # Workers import this folder's modules too.
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    return make_engine(EngineOptions(workers=2, folder=folder / "jobs", **CASES[case]))  # type: ignore[arg-type]


def works(count: int, **special: Work) -> list[Work]:
    return [special.get(f"n{number}", Work(number)) for number in range(count)]


def by_number(outcomes: Iterator[Outcome[Work]]) -> dict[int, Outcome[Work]]:
    found: dict[int, Outcome[Work]] = {}
    for outcome in outcomes:
        assert outcome.item.number not in found, "an item came twice"
        found[outcome.item.number] = outcome
    return found


def test_each_item_comes_once_with_its_result(engine: Engine, tmp_path: Path) -> None:
    engine.open(Double())
    items = [Work(number, folder=str(tmp_path)) for number in range(20)]
    found = by_number(map_items(engine, items))
    assert {number: outcome.value for number, outcome in found.items()} == {
        number: 2 * number for number in range(20)
    }
    assert all(outcome.attempts == 1 and not outcome.error for outcome in found.values())
    assert [attempts(tmp_path, number) for number in range(20)] == [1] * 20
    # A second list on the same workers, and in order.
    ordered = list(map_items(engine, works(9), ordered=True))
    assert [outcome.value for outcome in ordered] == [2 * number for number in range(9)]
    assert list(map_items(engine, [])) == []
    assert engine.restarts == 0
    engine.close()


def test_an_exception_is_tried_again_and_listed_the_third_time(
    engine: Engine, tmp_path: Path
) -> None:
    engine.open(Double())
    seen: list[Progress] = []
    items = works(
        8,
        n2=Work(2, "raise", 2, str(tmp_path)),
        n5=Work(5, "raise", 9, str(tmp_path)),
    )
    found = by_number(map_items(engine, items, progress=seen.append))
    assert (found[2].value, found[2].attempts) == (4, 3)
    assert found[5].value is None
    assert "ValueError: bad item 5" in found[5].error
    assert (found[5].attempts, attempts(tmp_path, 5)) == (3, 3)
    assert [number for number, outcome in found.items() if outcome.error] == [5]
    assert (seen[-1].done, seen[-1].failed, seen[-1].total) == (8, 1, 8)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_a_worker_that_dies_is_replaced_and_its_item_read_again(
    mortal: Engine, tmp_path: Path
) -> None:
    mortal.open(Double())
    items = works(
        10, n3=Work(3, "die", 1, str(tmp_path)), n6=Work(6, "die", 99, str(tmp_path))
    )
    found = by_number(map_items(mortal, items, ordered=True))
    assert list(found) == list(range(10))
    assert (found[3].value, found[3].attempts) == (6, 2)
    assert "died" in found[6].error
    assert (found[6].attempts, attempts(tmp_path, 6)) == (3, 3)
    assert [number for number, outcome in found.items() if outcome.error] == [6]
    assert mortal.restarts >= 4


def test_the_parts_of_a_batch_that_kills_its_worker_are_tried_one_by_one(
    mortal: Engine, tmp_path: Path
) -> None:
    mortal.open(DoubleAll())
    works_ = works(9, n4=Work(4, "die", 99, str(tmp_path)))
    batches = [tuple(works_[start : start + 3]) for start in range(0, 9, 3)]
    outcomes = list(map_items(mortal, batches, split=lambda batch: [(one,) for one in batch]))
    values = {
        work.number: value
        for outcome in outcomes
        if not outcome.error
        for work, value in zip(outcome.item, outcome.value, strict=True)
    }
    assert values == {number: 2 * number for number in range(9) if number != 4}
    assert [outcome.item[0].number for outcome in outcomes if outcome.error] == [4]
    assert attempts(tmp_path, 4) == 3


def test_a_worker_that_cannot_be_made_ends_the_run(engine: Engine) -> None:
    engine.open(Double("raise"))
    with pytest.raises(ClusterError, match="cannot start: ValueError: no such model"):
        list(map_items(engine, works(3)))


def test_workers_that_die_while_they_start_end_the_run(mortal: Engine) -> None:
    mortal.open(Double("die"))
    with pytest.raises(ClusterError, match="start|before their first item") as caught:
        list(map_items(mortal, works(3)))
    assert caught.value.hint


@pytest.mark.parametrize("case", ["ray", "slurm", "slurm-debug"])
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Fingerprint("9.9.9", "a" * 64, "3.11"), "this process has mien 9.9.9"),
        (None, "other code of mien"),
    ],
)
def test_workers_with_another_mien_are_refused(
    case: str,
    other: Fingerprint | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dataclasses import replace

    from mien.scale import fingerprint as module

    made = make(case, tmp_path, monkeypatch)
    faked = other or replace(module.fingerprint(), code="0" * 64)
    for place in (ray_engine, slurm_engine, module):
        if case != "slurm-debug" or place is module:
            monkeypatch.setattr(place, "fingerprint", lambda: faked)
    if case == "slurm-debug":
        # Driver and job are one process: only what the job compares with is another.
        monkeypatch.setattr(slurm_engine, "fingerprint", _alternating(faked))
    try:
        made.open(Double())
        with pytest.raises(ClusterError, match=words):
            list(map_items(made, works(2)))
    finally:
        made.close()


def _alternating(faked: Fingerprint):  # type: ignore[no-untyped-def]
    from mien.scale.fingerprint import fingerprint

    answers = iter([faked])
    return lambda: next(answers, None) or fingerprint()
