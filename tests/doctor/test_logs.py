from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.conftest import run_mien

from mien.doctor import diagnose_logs
from mien.doctor.logs.columns import role_of
from mien.doctor.logs.events import read_events
from mien.errors import SourceError

FALLING = [2.0 / (1 + 0.1 * i) for i in range(60)]


def write_csv(path: Path, **columns: Sequence[float]) -> Path:
    lines = [",".join(columns)]
    lines += [",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_events(path: Path, losses: list[float], tag: str = "train/loss") -> Path:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.mkdir(parents=True, exist_ok=True)
    file = path / "events.out.tfevents.1.host"
    with file.open("wb") as stream:
        writer = RecordWriter(stream)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for step, value in enumerate(losses):
            tags = {tag: value, "train/lr": 1e-3}
            summary = {"value": [{"tag": t, "simple_value": v} for t, v in tags.items()]}
            writer.write(Event(step=step, summary=summary).SerializeToString())
    return file


def found(path: Path) -> list[str]:
    return [finding.name for finding in diagnose_logs(path).findings]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train_loss_step", "loss"), ("Loss/test", "validation loss"),
        ("valLoss", "validation loss"),
        ("eval/accuracy", "validation accuracy"), ("lr-Adam", "learning rate"),
        ("grad_norm", "gradient norm"), ("trainer/global_step", "step"), ("speed", None),
    ],
)  # fmt: skip
def test_columns_are_recognised(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_a_sound_log_has_no_finding_and_says_what_was_judged(tmp_path: Path) -> None:
    report = diagnose_logs(write_csv(tmp_path / "log.csv", step=list(range(60)), loss=FALLING))
    assert report.findings == ()
    assert report.facts["judged rules"] == "diverged, loss-not-decreasing"
    needed = report.not_judged["learning-rate-vanishes"]
    assert needed == "needs learning rate (a column such as lr or learning_rate)"
    assert "doctor.watch" in report.not_judged["gradients-accumulate"]


def test_faults_of_curves_are_found(tmp_path: Path) -> None:
    rising = [1.0] * 10 + [1.0 + 0.03 * i for i in range(50)]
    flat, steps = [2.3] * 60, list(range(60))
    assert found(write_csv(tmp_path / "a.csv", epoch=steps, loss=FALLING, val_loss=rising)) == [
        "validation-loss-rises"
    ]
    assert found(write_csv(tmp_path / "b.csv", loss=flat)) == ["loss-not-decreasing"]
    broken = [*FALLING[:20], math.nan, *FALLING[21:]]
    assert found(write_csv(tmp_path / "c.csv", train_loss=broken)) == ["diverged"]
    rates = [0.1] * 20 + [1e-9] * 40
    assert found(write_csv(tmp_path / "d.csv", loss=flat, lr=rates)) == ["learning-rate-vanishes"]
    norms = [900.0] * 60
    assert found(write_csv(tmp_path / "e.csv", loss=FALLING, grad_norm=norms)) == [
        "exploding-gradients"
    ]


def test_event_files_are_read_as_tensorboard_wrote_them(tmp_path: Path) -> None:
    file = write_events(tmp_path / "run", FALLING)
    scalars, remark = read_events(file)
    losses = [s.value for s in scalars if s.tag == "train/loss"]
    assert losses == pytest.approx(FALLING)
    assert [s.step for s in scalars if s.tag == "train/lr"] == list(range(60))
    assert remark == ""
    report = diagnose_logs(tmp_path)
    assert report.facts["loss"] == "train/loss (60 values)"
    assert "loss:&nbsp;train/loss (60 values)" in report.to_html()


@pytest.mark.parametrize("cut", [3, 9, 20, 41])
def test_a_truncated_event_file_is_read_up_to_there(tmp_path: Path, cut: int) -> None:
    file = write_events(tmp_path / "run", FALLING)
    file.write_bytes(file.read_bytes()[:-cut])
    report = diagnose_logs(tmp_path)
    assert report.findings == ()
    (remark,) = report.remarks
    assert "ends within record 61" in remark


def test_damage_within_an_event_file_is_named(tmp_path: Path) -> None:
    file = write_events(tmp_path / "run", FALLING)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    file.write_bytes(bytes(content))
    assert "is damaged in the length of record 32" in diagnose_logs(tmp_path).remarks[0]


def test_other_columns_are_an_error_that_says_which_are_needed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", time=[1.0, 2.0], reward=[0.0, 1.0])
    with pytest.raises(SourceError, match="no column or tag with a loss; found time, reward") as e:
        diagnose_logs(path)
    assert "needed: loss, train_loss" in str(e.value.hint)


def test_a_log_states_no_chance_level_that_it_cannot_know(tmp_path: Path) -> None:
    blank = write_csv(tmp_path / "nan.csv", loss=[math.nan] * 30)
    assert diagnose_logs(blank).findings[0].evidence == "The loss became nan in row 1."
    rising = write_csv(tmp_path / "rising.csv", loss=[*FALLING[:20], *[1e3] * 20])
    evidence = diagnose_logs(rising).findings[0].evidence
    assert "The training loss ended at 1000.00; at the start it was" in evidence


def test_the_command_reads_logs_and_fails_on_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "metrics.csv", loss=[2.3] * 60)
    code, out, err = run_mien(capsys, monkeypatch, "doctor", tmp_path)
    assert code == 0
    assert "the loss does not decrease (loss-not-decreasing, serious" in out
    assert "judged: diverged, loss-not-decreasing" in err
    page = tmp_path / "page.html"
    code, out, _ = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--json", "--html", page,
                            "--fail-on", "error")  # fmt: skip
    assert code == 1
    assert json.loads(out)["findings"][0]["name"] == "loss-not-decreasing"
    assert "The loss does not decrease" in page.read_text()
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--fail-on", "all")
    assert code == 2
    assert "allowed: error, warning" in err
