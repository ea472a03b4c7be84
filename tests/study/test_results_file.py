from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import run_mien
from tests.study.fakes import PLAN, FakePool, fake_result

import mien
from mien.data.dataset import Dataset
from mien.errors import SourceError
from mien.scale.registry import EngineOptions
from mien.study.plan import Plan, load_plan
from mien.study.progress import Progress
from mien.study.results_file import ResultsFile, all_seeds, open_results
from mien.study.study import CELLS, Outcome
from mien.study.until import run_until_decided


def run(
    plan: Plan, dataset: Dataset, out: Path, file: Path, budget_s: float = 1e6
) -> tuple[Outcome, ResultsFile]:
    stored = open_results(file, plan, dataset.fingerprint)
    progress = Progress.of_folder(plan, dataset, out, stored)
    return run_until_decided(progress, out, EngineOptions(workers=1), budget_s), stored


def verdicts(outcome: Outcome) -> list[str]:
    return [claim.verdict for factor in outcome.factors for claim in factor.claims]


@pytest.fixture
def file(tmp_path: Path, plan: Plan, dataset: Dataset) -> Path:
    """A file with eight results."""
    stored = open_results(tmp_path / "results.jsonl", plan, dataset.fingerprint)
    known = list(all_seeds(plan).values())[:8]
    stored.add([(t, fake_result(t, dataset.fingerprint)) for t in known])
    return stored.path


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_study_continues_on_another_machine(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.jsonl"
    whole, _ = run(plan, dataset, tmp_path / "whole", tmp_path / "whole.jsonl")
    ran = len(FakePool.ran)
    FakePool.ran.clear()
    monkeypatch.setattr(FakePool, "stop_after", 19)
    with pytest.raises(KeyboardInterrupt):
        run(plan, dataset, tmp_path / "first", file)
    assert len(lines_of(file)) == 19
    monkeypatch.setattr(FakePool, "stop_after", 10**6)
    # The other machine has the file and no study folder.
    outcome, _ = run(plan, dataset, tmp_path / "second", file)
    assert verdicts(outcome) == verdicts(whole)
    assert outcome.seconds == pytest.approx(sum(line["seconds"] for line in lines_of(file)))
    keys = [t.key for t in FakePool.ran]
    assert len(keys) == len(set(keys)) == len(lines_of(file)) >= ran
    before = len(keys)
    again, _ = run(plan, dataset, tmp_path / "third", file)
    assert len(FakePool.ran) == before
    assert verdicts(again) == verdicts(whole)


def test_results_of_the_folder_are_added_to_the_file(
    tmp_path: Path, plan: Plan, dataset: Dataset
) -> None:
    run_until_decided(
        Progress.of_folder(plan, dataset, tmp_path), tmp_path, EngineOptions(workers=1), 1e6
    )
    done = len(FakePool.ran)
    run(plan, dataset, tmp_path, tmp_path / "results.jsonl")
    assert len(FakePool.ran) == done == len(lines_of(tmp_path / "results.jsonl"))


def test_joined_files_count_each_training_once(
    tmp_path: Path, plan: Plan, dataset: Dataset, file: Path
) -> None:
    joined = tmp_path / "joined.jsonl"
    joined.write_text(file.read_text() + "\n" + file.read_text())
    stored = open_results(joined, plan, dataset.fingerprint)
    assert len(stored.results) == 8
    assert stored.summary() == f"{joined}: 8 finished trainings"


def test_lines_that_do_not_fit_are_counted_and_kept(
    tmp_path: Path, plan: Plan, dataset: Dataset, file: Path
) -> None:
    rows = lines_of(file)
    rows[0]["fingerprint"] = "other"
    rows[1]["mien"] = "0.0.9"
    rows[2]["recipe"]["optimizer"]["lr"] = rows[3]["recipe"]["optimizer"]["lr"] = 0.7
    rows[2]["key"] = rows[3]["key"] = "0" * 16
    del rows[4]["measures"]["accuracy"]
    write(file, rows)
    stored = open_results(file, plan, dataset.fingerprint)
    assert set(stored.results) == {row["key"] for row in rows[5:]}
    assert stored.summary() == (
        f"{file}: 3 finished trainings; 5 lines not used: 1 of other data, 2 of another version of "
        "mien, 2 of settings that this study does not have"
    )
    known = all_seeds(plan)[rows[0]["key"]]
    stored.add([(known, fake_result(known, dataset.fingerprint))])
    assert lines_of(file)[:8] == rows
    assert len(lines_of(file)) == 9


def test_settings_added_to_recipes_since_do_not_change_a_training(
    plan: Plan, dataset: Dataset, file: Path
) -> None:
    rows = lines_of(file)
    right = {row["key"] for row in rows}
    for row in rows:
        # As an older version wrote it: without a setting that recipes have now.
        del row["recipe"]["optimizer"]["sam"]
        row["key"] = "an older key"
    rows[0]["recipe"]["optimizer"]["removed_since"] = 1
    write(file, rows)
    stored = open_results(file, plan, dataset.fingerprint)
    assert len(stored.results) == 7
    assert set(stored.results) < right
    assert stored.unused == {"settings": 1}


def test_results_of_another_version_are_not_added(
    tmp_path: Path, plan: Plan, dataset: Dataset
) -> None:
    stored = open_results(tmp_path / "results.jsonl", plan, dataset.fingerprint)
    training = next(iter(all_seeds(plan).values()))
    stored.add([(training, replace(fake_result(training, "f"), mien="0.0.9"))])
    assert not stored.path.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"key": "', "is not valid JSON"),
        ("[1]", "expected an object"),
        ('{"key": "x"}', "lacks fingerprint, measures"),
        ({"measures": []}, "measures must be an object"),
        ({"seconds": -1}, "seconds must be a number, 0 or more, got -1"),
        ({"train_n": 1.5}, "train_n must be a whole number, 0 or more, got 1.5"),
        ({"note": None}, "note must be text, got None"),
        ({"accuracy": 1.7}, "accuracy must be null or a number from 0 to 1, got 1.7"),
        ({"accuracy": "high"}, "accuracy must be null or a number from 0 to 1, got 'high'"),
        ({"accuracy": float("nan")}, "NaN is not a number"),
    ],
)
def test_a_damaged_line_is_named(
    plan: Plan, dataset: Dataset, file: Path, line: str | dict[str, Any], message: str
) -> None:
    if isinstance(line, dict):
        row = lines_of(file)[2]
        (row["measures"] if "accuracy" in line else row).update(line)
        line = json.dumps(row)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(SourceError) as caught:
        open_results(file, plan, dataset.fingerprint)
    assert f"{file}, line 3" in caught.value.message
    assert message in caught.value.message
    assert "remove or repair that line" in caught.value.hint


def test_files_that_cannot_be_read_are_named(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(SourceError, match="Is a directory"):
        open_results(tmp_path, plan, "f")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        open_results(tmp_path / "binary.jsonl", plan, "f")


def test_the_command_reads_and_writes_the_file(
    tmp_path: Path, drawn_folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    text = PLAN[: PLAN.index('"small" =')]
    claims = PLAN[PLAN.index("[[factor.claims]]") : PLAN.index('words = "Small')]
    text += claims.replace('family = "rate"\n', 'family = "rate"\nprimary = true\n', 1)
    text = text[: text.rindex("[[factor.claims]]")]
    (tmp_path / "rates.toml").write_text(
        text.replace("seeds = 4", "seeds = 2").replace("max_seeds = 30", "max_seeds = 2")
    )
    file, out = tmp_path / "results.jsonl", tmp_path / "out"
    command = ["study", tmp_path / "rates.toml", "--data", drawn_folder, "--results", file]
    code, printed, err = run_mien(capsys, monkeypatch, *command, "--out", out)
    assert code == 0, err
    assert f"{file}: 0 finished trainings" in err
    assert len(lines_of(file)) == 4
    code, _, err = run_mien(capsys, monkeypatch, *command, "--out", tmp_path / "no", "--dry-run")
    assert "0 trainings to do, 4 done" in err
    assert not (tmp_path / "no").exists()
    before = file.read_bytes()
    code, again, err = run_mien(capsys, monkeypatch, *command, "--out", tmp_path / "b", "--report")
    assert (code, again) == (0, printed)
    assert not (tmp_path / "b" / CELLS).exists()
    assert file.read_bytes() == before
    file.write_text(file.read_text()[:-20])
    code, _, err = run_mien(capsys, monkeypatch, *command, "--out", out)
    assert code == 1
    assert "results.jsonl, line 4 is not valid JSON" in err


def test_a_line_holds_all_that_a_verdict_needs(plan: Plan, dataset: Dataset, file: Path) -> None:
    row = lines_of(file)[0]
    training = all_seeds(plan)[row["key"]]
    result = fake_result(training, dataset.fingerprint)
    assert {k: row[k] for k in asdict(result)} == asdict(result)
    assert row["mien"] == mien.__version__
    assert row["recipe"] == json.loads(json.dumps(training.recipe.to_dict()))


def test_the_file_is_used_by_a_plan_of_one_factor(
    tmp_path: Path, dataset: Dataset, file: Path
) -> None:
    other = PLAN.replace('"optimizer.lr" = 0.001 ', '"optimizer.lr" = 0.009 ')
    (tmp_path / "other.toml").write_text(other)
    stored = open_results(file, load_plan(tmp_path / "other.toml"), dataset.fingerprint)
    # The file holds seeds of the first cell only.
    assert not stored.results
    assert stored.unused == {"settings": 8}
