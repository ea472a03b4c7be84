from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_mien
from tests.patience import child, until

from mien.data.dataset import load_dataset
from mien.errors import ConfigError, DataError, counted
from mien.scale.mapping import ATTEMPTS
from mien.scale.registry import EngineOptions
from mien.study.cell import Result, random_subset, read_result, run_training
from mien.study.costs import duration, estimate_seconds, refuse_costly
from mien.study.measures import MEASURES
from mien.study.plan import Plan, load_plan, trainings
from mien.study.report import Provenance, as_json, markdown, page
from mien.study.sharing import Job
from mien.study.study import (
    CELLS,
    Outcome,
    pending,
    unique,
)
from mien.study.verdict import judge
from mien.study.workers import run_all

STUDY = """
title = "Two rates"
note = "A note <with> an angle."
recipe = "poster"
seeds = 2
train = 96
validation = 40

[set]
"network.width" = 2
"network.hidden" = 8
"fit.epochs" = 2

[[factor]]
name = "rate"
title = "Learning rate"
shown = ["accuracy", "gap"]
[factor.cells]
"0.001" = { "optimizer.lr" = 0.001 }
"0.01" = { "optimizer.lr" = 0.01 }

[[factor.claims]]
words = "0.01 is better."
comparisons = [{ higher = "0.01", lower = "0.001" }]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mien.data.build import write_dataset
    from mien.data.drawn import draw_faces, split_drawn

    folder = tmp_path_factory.mktemp("study") / "drawn"
    write_dataset(split_drawn(draw_faces(240, 5)), folder)
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "two.toml").write_text(STUDY)
    return load_plan(tmp_path / "two.toml")


def test_durations_and_counts_in_words() -> None:
    assert duration(0.4) == duration(1) == "1 minute"
    assert duration(2.2) == "2 minutes"
    assert counted(1, "factor") == "1 factor"
    assert counted(1200, "training") == "1,200 trainings"


def test_a_study_writes_reports_and_repeats_no_training(
    tmp_path: Path, data: Path, plan: Plan, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = ["study", tmp_path / "two.toml", "--data", data, "--out", out, "--jobs", 2]
    code, printed, err = run_mien(capsys, monkeypatch, *command)
    assert code == 0
    assert "0.01 is better." in printed
    assert "4 trainings to do, 0 done" in err
    assert {p.name for p in out.iterdir()} == {
        "trainings", "report.html", "report.md", "report.json", "rate.png", "verdicts.png",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["factors"][0]["claims"][0]["verdict"] in printed
    for key in unique(plan):
        assert (out / CELLS / key / "result.json").exists()
        assert not (out / CELLS / key / "checkpoints").exists()
    stamps = {key: (out / CELLS / key / "result.json").stat().st_mtime_ns for key in unique(plan)}
    # A half-written result is repeated, and no other training.
    first = next(iter(stamps))
    (out / CELLS / first / "result.json").write_text('{"key": "')
    code, _, err = run_mien(capsys, monkeypatch, *command)
    assert "1 training to do, 3 done" in err
    again = {key: (out / CELLS / key / "result.json").stat().st_mtime_ns for key in unique(plan)}
    assert {key for key in stamps if again[key] != stamps[key]} == {first}


def test_a_training_is_reproducible(tmp_path: Path, data: Path, plan: Plan) -> None:
    dataset = load_dataset(data)
    training = next(iter(unique(plan).values()))
    first = run_training(training, dataset, tmp_path / "a")
    second = run_training(training, dataset, tmp_path / "b")
    assert first.measures == second.measures
    assert set(first.measures) == set(MEASURES)
    assert read_result(tmp_path / "a", training.key, dataset.fingerprint) == first
    assert read_result(tmp_path / "a", training.key, "other data") is None


def test_the_seed_samples_the_training_images_and_validation_is_fixed(
    data: Path, plan: Plan
) -> None:
    dataset = load_dataset(data)
    one, two = trainings(plan, plan.factors[0], "0.001")
    parts = [random_subset(dataset, t) for t in (one, two)]
    assert [int((p.splits_n == "train").sum()) for p in parts] == [96, 96]
    validation = [set(p.split("validation").sources_n) for p in parts]
    train = [set(p.split("train").sources_n) for p in parts]
    assert validation[0] == validation[1]
    assert len(validation[0]) == 40
    assert train[0] != train[1]
    assert not validation[0] & train[0]


def test_too_few_images_are_refused(data: Path, plan: Plan) -> None:
    training = replace(next(iter(unique(plan).values())), train=100_000)
    with pytest.raises(DataError, match="needs 100,000"):
        random_subset(load_dataset(data), training)


def test_a_diverged_training_is_a_result(tmp_path: Path, data: Path) -> None:
    wild = STUDY.replace("0.01 }", '30.0, "optimizer.name" = "sgd", "network.batch_norm" = false }')
    (tmp_path / "wild.toml").write_text(wild.replace('"fit.epochs" = 2', '"fit.epochs" = 20'))
    plan = load_plan(tmp_path / "wild.toml")
    training = trainings(plan, plan.factors[0], "0.01")[0]
    result = run_training(training, load_dataset(data), tmp_path)
    assert result.measures["accuracy"] == pytest.approx(1 / 3, abs=0.12)
    assert result.measures["reduction_ratio"] is None
    assert "the loss became" in result.note


def test_a_training_whose_process_is_killed_three_times_and_a_failure_are_reported(
    tmp_path: Path, data: Path, plan: Plan
) -> None:
    pairs = list(unique(plan).values())
    impossible = replace(pairs[0], train=100_000)
    slow = replace(pairs[1], recipe=replace(pairs[1].recipe, fit=replace(
        pairs[1].recipe.fit, epochs=500)))  # fmt: skip
    ended: dict[str, str] = {}
    killed = threading.Thread(target=_kill_children_when, args=(tmp_path / slow.key,), daemon=True)
    killed.start()
    run_all(
        [Job(impossible), Job(slow), Job(pairs[2])], data, tmp_path, EngineOptions(workers=1),
        lambda t, e: ended.update({t.key: e}),
    )  # fmt: skip
    assert "needs 100,000" in ended[impossible.key]
    assert "died (signal 9)" in ended[slow.key]
    assert ended[pairs[2].key] == ""
    assert not (tmp_path / slow.key / "result.json").exists()
    assert (tmp_path / pairs[2].key / "result.json").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_killed_study_leaves_no_training_behind(tmp_path: Path, data: Path, plan: Plan) -> None:
    command: list[str | Path] = [
        sys.executable, "-m", "mien", "study", tmp_path / "two.toml", "--data", data,
        "--out", tmp_path / "out", "--yes", "--set", "fit.epochs=100000",
    ]  # fmt: skip
    with child(command, stderr=subprocess.DEVNULL) as study:
        until(lambda: list((tmp_path / "out" / CELLS).glob("*/metrics.jsonl")))
        workers = _children(study.pid)
        assert workers
        study.kill()
        study.wait()
        until(lambda: not any(_alive(pid) for pid in workers))
    assert not list((tmp_path / "out" / CELLS).glob("*/result.json"))


def _children(parent: int) -> list[int]:
    """Return the process ids of a process's children that train."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == parent and "spawn_main" in command:
            found.append(int(folder.name))
    return found


def _alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill_children_when(folder: Path) -> None:
    """Kill this process's training processes each time that one has started in `folder`."""
    for _ in range(ATTEMPTS):
        while not (folder / "metrics.jsonl").exists():
            time.sleep(0.05)
        killed = multiprocessing.active_children()
        for worker in killed:
            os.kill(worker.pid or 0, signal.SIGKILL)
        # Not join(), which would take the exit code away from the engine's own thread.
        for worker in killed:
            connection.wait([worker.sentinel])
        (folder / "metrics.jsonl").unlink()


def test_a_costly_study_is_not_started_without_yes(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ", ".join(str(0.001 * (i + 1)) for i in range(50))
    text = STUDY[: STUDY.index("[factor.cells]")]
    epochs = "10000, 20000, 30000, 40000, 50000"
    text += f'[factor.grid]\n"optimizer.lr" = [{grid}]\n"fit.epochs" = [{epochs}]\n'
    (tmp_path / "grid.toml").write_text(text)
    out = tmp_path / "out"
    code, _, err = run_mien(
        capsys, monkeypatch, "study", tmp_path / "grid.toml", "--data", data, "--out", out
    )
    assert code == 2
    assert "500 trainings take about" in err
    assert "--yes" in err
    assert not out.exists()


def test_a_costly_study_needs_a_confirmation() -> None:
    refuse_costly(170, 45.0, yes=False)
    refuse_costly(10**6, 1e6, yes=True)
    with pytest.raises(ConfigError, match="3.0 hours"):
        refuse_costly(10, 180.0, yes=False)


def test_the_estimate_grows_with_the_work(tmp_path: Path, data: Path, plan: Plan) -> None:
    dataset = load_dataset(data)
    todo = list(pending(plan, dataset, tmp_path).values())
    longer = [replace(t, recipe=replace(t.recipe, fit=replace(t.recipe.fit, epochs=2000)))
              for t in todo]  # fmt: skip
    assert 0 < estimate_seconds(todo, dataset) < estimate_seconds(longer, dataset)
    assert estimate_seconds([], dataset) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two.toml"], "needs --data"),
        (["two.toml", "--data", "nowhere"], "nowhere"),
        (["none.toml", "--data", "nowhere"], "there is no study plan none.toml"),
        (["two.toml", "--data", "D", "--seeds", "1"], "--seeds: 1 is out of range, 2 or more"),
        (["two.toml", "--data", "D", "--jobs", "0"], "--jobs: 0 is out of range, 1 or more"),
    ],
)
def test_invalid_command_lines_are_refused_with_a_hint(
    tmp_path: Path, data: Path, plan: Plan, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    command = [str(data) if a == "D" else a for a in arguments]
    code, _, err = run_mien(capsys, monkeypatch, "study", *command)
    assert code in (1, 2)
    assert message in err
    assert "hint:" in err


def results(plan: Plan, better: float) -> dict[str, Result]:
    """Results in which 0.01 is better by `better`, with a little noise."""
    made = {}
    rng = np.random.default_rng(0)
    for cell, gain in (("0.001", 0.0), ("0.01", better)):
        for training in trainings(plan, plan.factors[0], cell):
            measures: dict[str, Any] = dict.fromkeys(MEASURES, 0.5)
            measures["accuracy"] = 0.6 + gain + rng.normal(0, 0.003)
            made[training.key] = Result(training.key, "f", measures, 1000, 96, 40, 1.0)
    return made


@pytest.mark.parametrize(("better", "verdict"), [(0.1, "supported"), (-0.1, "not supported")])
def test_every_form_of_the_report_shows_the_verdicts(
    plan: Plan, better: float, verdict: str
) -> None:
    plan = replace(plan, seeds=5)
    factors = judge(plan, results(plan, better))
    assert factors[0].claims[0].verdict == verdict
    outcome = Outcome(plan, "drawn", "f", factors, {"0123": "it <died>"}, 60.0, 10)
    provenance = Provenance("mien study x", "2026-11-24", "machine", "10 trainings")
    text, html = markdown(outcome, provenance), page(outcome, provenance)
    for form in (text, html):
        assert verdict in form
        assert "0.01 is better." in form
        assert "n = 5 seeds" in form
    assert "A note &lt;with&gt; an angle." in html
    assert "it &lt;died&gt;" in html
    assert "currentColor" in html
    assert "prefers-color-scheme: dark" in html
    assert "http" not in html.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    json.dumps(as_json(outcome, provenance), allow_nan=False)


def test_missing_trainings_leave_a_claim_undecided(plan: Plan) -> None:
    plan = replace(plan, seeds=5)
    known = results(plan, 0.1)
    for training in trainings(plan, plan.factors[0], "0.01")[1:]:
        del known[training.key]
    (factor,) = judge(plan, known)
    assert factor.claims[0].verdict == "undecided"
    sentence = factor.claims[0].comparisons[0].sentence()
    assert "fewer than two seeds" in sentence
    assert "Missing: seeds 1, 2, 3, 4 of 0.01." in sentence
    assert [r is None for r in factor.cells[1].results] == [False, True, True, True, True]


def test_a_missing_training_is_named_in_the_report(plan: Plan) -> None:
    plan = replace(plan, seeds=5)
    known = results(plan, 0.1)
    gone = trainings(plan, plan.factors[0], "0.01")[3].key
    del known[gone]
    factors = judge(plan, known)
    assert factors[0].claims[0].verdict == "supported"
    outcome = Outcome(plan, "drawn", "f", factors, {gone: "it died"}, 60.0, 10)
    provenance = Provenance("mien study x", "2026-11-24", "machine", "10 trainings")
    for form in (markdown(outcome, provenance), page(outcome, provenance)):
        assert "n = 4 seeds" in form
        assert "Missing: seed 3 of 0.01." in form
        assert "rate: 0.01, seed 3" in form
        assert "it died" in form
