"""What every registered engine must do; a new engine needs a case here to pass."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.scale.work import Double, DoubleAll, Niceness, Work, attempts

from mien.errors import ClusterError, ConfigError, MienError
from mien.scale import fingerprint
from mien.scale.engine import Engine
from mien.scale.engines import ray as ray_engine
from mien.scale.engines import slurm as slurm_engine
from mien.scale.engines.local import LocalEngine
from mien.scale.engines.ray import RayEngine
from mien.scale.fingerprint import Fingerprint
from mien.scale.mapping import Outcome, Progress, map_items
from mien.scale.registry import ENGINES, EngineOptions, make_engine

# submitit's debug executor leaves its log files open.
pytestmark = pytest.mark.filterwarnings("ignore:.*DEBUG_:pytest.PytestUnraisableExceptionWarning")
CASES: dict[str, dict[str, Any]] = {
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
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    made = make(str(request.param), tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture(params=WITH_PROCESSES)
def mortal(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    made = make(str(request.param), tmp_path, monkeypatch)
    yield made
    made.close()


def make(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    package = PACKAGES.get(case)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'mien[ray,slurm]'")
    # Workers import this folder's modules too.
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    return make_engine(EngineOptions(workers=2, folder=folder / "jobs", **CASES[case]))


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


def test_a_list_may_grow_while_it_is_worked_on(engine: Engine) -> None:
    engine.open(Double())
    items = works(3)
    found: dict[int, Any] = {}
    for outcome in map_items(engine, items):
        found[outcome.item.number] = outcome.value
        if len(items) < 12:
            items.append(Work(len(items)))
    assert found == {number: 2 * number for number in range(12)}


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
    mortal: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mortal.open(Double())
    items = works(10, n3=Work(3, "die", 1, str(tmp_path)), n6=Work(6, "die", 99, str(tmp_path)))
    found = by_number(map_items(mortal, items, ordered=True))
    assert list(found) == list(range(10))
    assert (found[3].value, found[3].attempts) == (6, 2)
    assert "died" in found[6].error
    assert (found[6].attempts, attempts(tmp_path, 6)) == (3, 3)
    # Items that waited behind those are none the worse for it.
    others = [outcome for number, outcome in found.items() if number not in (3, 6)]
    assert all(outcome.attempts == 1 for outcome in others)
    assert [number for number, outcome in found.items() if outcome.error] == [6]
    assert mortal.restarts >= 4
    # Stdout is for a command's results: Ray and submitit print nothing there.
    assert capfd.readouterr().out == ""


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


def test_workers_have_the_priority_of_the_driver(mortal: Engine) -> None:
    """Ray's own default would let every other program come first."""
    mortal.open(Niceness())
    assert [outcome.value for outcome in map_items(mortal, works(2))] == [os.nice(0)] * 2


def test_a_worker_that_cannot_be_made_ends_the_run(engine: Engine) -> None:
    engine.open(Double("raise"))
    with pytest.raises(ClusterError, match="cannot start: ValueError: no such model"):
        list(map_items(engine, works(3)))


def test_workers_that_die_while_they_start_end_the_run(mortal: Engine) -> None:
    mortal.open(Double("die"))
    with pytest.raises(ClusterError, match="start|before their first item") as caught:
        list(map_items(mortal, works(3)))
    assert caught.value.hint


@pytest.mark.parametrize("case", ["ray", "slurm"])
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
    made = make(case, tmp_path, monkeypatch)
    faked = other or replace(fingerprint.fingerprint(), code="0" * 64)
    # The driver's, not that of the workers, which are processes of their own.
    for place in (ray_engine, slurm_engine, fingerprint):
        monkeypatch.setattr(place, "fingerprint", lambda: faked)
    try:
        made.open(Double())
        with pytest.raises(ClusterError, match=words):
            list(map_items(made, works(2)))
    finally:
        made.close()


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("127.0.0.1:1", ClusterError, "the Ray cluster 127.0.0.1:1 cannot be reached: Connection"),
        ("nowhere", ConfigError, "'nowhere' is not a Ray cluster's address"),
        ("ray://127.0.0.1:10001", ConfigError, "is not a Ray cluster's address"),
        ("auto", ClusterError, "no Ray cluster runs on this machine"),
    ],
)
def test_a_ray_cluster_that_is_not_there_is_reported(
    address: str, kind: type[MienError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    engine = make_engine(EngineOptions("ray", address=address))
    with pytest.raises(kind, match=words) as caught:
        engine.open(Double())
    assert "ray start" in caught.value.hint or "HOST:PORT" in caught.value.hint
    engine.close()


def test_a_port_that_does_not_speak_ray_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    # Ray itself tries for minutes. How long this takes is measured in bench/scale.py.
    monkeypatch.setattr(ray_engine, "JOIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        engine = make_engine(EngineOptions("ray", address=f"127.0.0.1:{server.getsockname()[1]}"))
        with pytest.raises(ClusterError, match="cannot be reached: no answer within 0 s"):
            engine.open(Double())


def test_without_slurm_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="sbatch is not found"):
        make_engine(EngineOptions("slurm", folder=tmp_path / "jobs")).open(Double())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cluster": "pbs"}, "cluster: 'pbs' is not one of slurm, local, debug"),
        ({"cluster": "local", "memory": 4}, "submitit refuses a setting"),
    ],
)
def test_settings_that_submitit_does_not_have_are_refused(
    settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    engine = make_engine(EngineOptions("slurm", folder=tmp_path / "jobs", settings=settings))
    with pytest.raises(ConfigError, match=words):
        engine.open(Double())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "rya"}, "engine: unknown value 'rya'"),
        ({"workers": -1}, "workers: -1 is out of range"),
        ({"threads": 0}, "threads: 0 is out of range"),
        ({"address": "auto"}, "address: only the engine ray has one"),
        ({"settings": {"cluster": "local"}}, "settings: only the engine slurm"),
    ],
)
def test_options_that_no_engine_has_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EngineOptions(**options)  # type: ignore[arg-type]


def test_a_process_that_died_idle_costs_its_next_item_no_attempt() -> None:
    engine = LocalEngine(1)
    engine.open(Double())
    try:
        assert [outcome.value for outcome in map_items(engine, works(1))] == [0]
        (process,) = multiprocessing.active_children()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        (outcome,) = map_items(engine, [Work(7)])
        assert (outcome.value, outcome.attempts, engine.restarts) == (14, 1, 1)
    finally:
        engine.close()


def test_a_ray_cluster_without_a_free_cpu_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    engine = RayEngine(workers=1, threads=2)
    engine.open(Double())
    try:
        # It started for this run, with room for its workers: take that away from them.
        monkeypatch.setattr(ray_engine, "START_S", 0.0)
        with pytest.raises(ClusterError, match="no worker was ready for 0 s") as caught:
            list(map_items(engine, [Work(1, "die", 99)]))
        assert "each needs 2 free CPUs" in caught.value.hint
    finally:
        engine.close()


def test_ray_that_does_not_start_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def fail(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen...")

    monkeypatch.setattr(ray, "init", fail)
    engine = RayEngine(workers=1)
    with pytest.raises(ClusterError, match="Ray does not start on this machine: The current node"):
        engine.open(Double())
    engine.close()
