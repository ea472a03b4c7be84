"""Several runs in one folder of logs: each is judged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.conftest import run_mien
from tests.doctor.test_logs import FALLING, write_csv, write_events

from mien.doctor import diagnose_logs
from mien.doctor.diagnose import foreign_rules

BROKEN = [*FALLING[:40], math.nan]


def test_each_run_is_judged_and_named(tmp_path: Path) -> None:
    write_events(tmp_path / "a", FALLING)
    write_events(tmp_path / "b", BROKEN)
    report = diagnose_logs(tmp_path)
    assert list(report.runs) == ["a", "b"]
    assert report.runs["a"].findings == ()
    assert [finding.name for finding in report.runs["b"].findings] == ["diverged"]
    assert [finding.title for finding in report.findings] == ["b: the training diverged"]
    assert report.fails("error")
    assert report.facts["runs"] == "2 (a, b)"
    values = report.to_dict()
    assert values["findings"][0]["title"] == "b: the training diverged"
    assert values["runs"]["b"]["findings"][0]["title"] == "the training diverged"
    page = report.to_html()
    assert "<h2>Run a</h2>\n<p>Nothing found; " in page
    assert page.index("<h2>Run b</h2>") < page.index("The training diverged")
    assert page.count("<figure") == 1
    assert "b: the training diverged" in report._repr_html_()


def test_the_command_names_runs_and_fails_over_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "a.csv", loss=FALLING)
    write_csv(tmp_path / "b.csv", loss=[*BROKEN[:30], math.nan], lr=[0.1] * 31)
    code, out, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--fail-on", "error")
    assert code == 1
    assert out.startswith("run a.csv: nothing found; ")
    count = len(foreign_rules())
    assert f"run b.csv: 1 finding; {count - 3} of {count} rules could not judge this" in out
    assert "\n\nrun b.csv: the training diverged (diverged" in out
    assert "run a.csv: judged: diverged, loss-not-decreasing\n" in err
    assert "run b.csv: judged: diverged, loss-not-decreasing, learning-rate-vanishes\n" in err
    # What is true of every run is said once.
    assert err.count("not judged: validation-loss-rises: needs validation loss") == 1
    page = tmp_path / "doctor.html"
    code, out, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--json", "--html", page)
    assert code == 0
    assert err == f"page: {page}\n"
    assert page.is_file()
    assert list(json.loads(out)["runs"]) == ["a.csv", "b.csv"]


def test_a_single_run_has_no_runs(tmp_path: Path) -> None:
    write_events(tmp_path / "a", FALLING)
    # A table without a loss belongs to the only run.
    write_csv(tmp_path / "norms.csv", grad_norm=[1.0] * 60)
    report = diagnose_logs(tmp_path)
    assert report.runs == {}
    assert "runs" not in report.to_dict()
    assert report.facts["gradient norm"] == "grad_norm (60 values)"


def test_files_of_one_folder_with_different_losses_are_one_run(tmp_path: Path) -> None:
    rising = [1.0] * 10 + [1.0 + 0.03 * i for i in range(50)]
    write_csv(tmp_path / "a.csv", loss=FALLING)
    write_csv(tmp_path / "b.csv", val_loss=rising)
    report = diagnose_logs(tmp_path)
    assert report.runs == {}
    assert [finding.name for finding in report.findings] == ["validation-loss-rises"]


@pytest.mark.parametrize(
    ("train", "held"), [("train", "validation"), ("loss_train", "loss_val"), ("Train", "eval")]
)
def test_splits_in_folders_of_their_own_are_one_run(tmp_path: Path, train: str, held: str) -> None:
    for name in (train, held):
        write_events(tmp_path / name, FALLING, "epoch_loss")
    report = diagnose_logs(tmp_path)
    assert report.runs == {}
    assert report.facts["loss"] == f"{train.lower().split('_')[-1]}/epoch_loss (60 values)"
    word = held.split("_")[-1]
    assert report.facts["validation loss"] == f"{word}/epoch_loss (60 values)"


def test_a_run_without_a_loss_among_others_is_named(tmp_path: Path) -> None:
    write_events(tmp_path / "a", FALLING)
    write_events(tmp_path / "b", FALLING)
    (tmp_path / "c").mkdir()
    write_csv(tmp_path / "c" / "log.csv", accuracy=[0.5] * 3)
    report = diagnose_logs(tmp_path)
    assert list(report.runs) == ["a", "b"]
    assert report.remarks == ("c/log.csv holds no loss and was not judged.",)
    assert "c/log.csv holds no loss" in report.to_html()
