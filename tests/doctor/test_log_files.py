"""Files that are no logs, damaged, or of another encoding."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.conftest import run_mien
from tests.doctor.test_logs import FALLING, write_csv, write_events

from mien.doctor import diagnose_logs
from mien.doctor.logs.checksum import masked_crc
from mien.doctor.logs.columns import role_of
from mien.doctor.logs.events import HEADER, read_events
from mien.doctor.logs.tables import read_table
from mien.doctor.rule import RULES
from mien.errors import ConfigError, SourceError


def test_the_checksum_is_the_masked_crc_32c() -> None:
    # RFC 3720, B.4: the CRC-32C of 32 zero bytes; the mask as TFRecord specifies it.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert masked_crc(bytes(32)) == masked


def test_damaged_records_are_left_out_and_counted(tmp_path: Path) -> None:
    file = write_events(tmp_path, FALLING)
    content = bytearray(file.read_bytes())
    for value in (FALLING[20], FALLING[40]):
        place = content.index(_float(value))
        content[place + 3] ^= 0x40  # the highest bit of the exponent
    file.write_bytes(content)
    scalars, remark = read_events(file)
    losses = {s.step: s.value for s in scalars if s.tag == "train/loss"}
    assert sorted(losses) == [step for step in range(60) if step not in (20, 40)]
    assert max(losses.values()) == 2.0
    assert remark == f"{file.name}: 2 of 61 records were damaged and left out."
    assert diagnose_logs(tmp_path).remarks == (remark,)


def test_a_damaged_length_ends_the_reading(tmp_path: Path) -> None:
    file = write_events(tmp_path, FALLING)
    content = bytearray(file.read_bytes())
    first = HEADER + content[0] + 4
    content[first] ^= 1
    file.write_bytes(content)
    scalars, remark = read_events(file)
    assert scalars == []
    assert "is damaged in the length of record 2; what is before it was read." in remark
    with pytest.raises(SourceError, match="found none. .*length of record 2"):
        diagnose_logs(tmp_path)


def test_without_a_learning_rate_the_remedy_names_none(tmp_path: Path) -> None:
    broken = [*FALLING[:20], math.nan]
    (finding,) = diagnose_logs(write_csv(tmp_path / "a.csv", loss=broken)).findings
    assert finding.remedy.startswith("Lower the learning rate, and clip gradients with")
    assert "lr" not in finding.numbers
    known = write_csv(tmp_path / "b.csv", loss=broken, lr=[0.3] * 21)
    (finding,) = diagnose_logs(known).findings
    assert finding.remedy.startswith("Lower the learning rate, to about 0.01, and clip")
    assert finding.numbers["lr"] == 0.3


def test_a_folder_without_logs_says_what_it_holds_and_what_counts(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(SourceError, match="no log found: the folder holds no file") as error:
        diagnose_logs(tmp_path)
    for name in ("a.log", "b.txt", "x.csv/c.log", "d.md"):
        (tmp_path / name).write_text("loss 1\n")
    with pytest.raises(SourceError, match=r"4 other files: a.log, b.txt, d.md and 1 more") as error:
        diagnose_logs(tmp_path)
    for counts in ("run folder that mien train wrote", "events.out.tfevents", ".csv, .tsv"):
        assert counts in error.value.hint
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        diagnose_logs(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="path: expected a path, found NoneType"):
        diagnose_logs(None)  # type: ignore[arg-type]


def test_tables_with_tabs_are_found_in_a_folder(tmp_path: Path) -> None:
    rows = "".join(f"{i}\t{loss}\n" for i, loss in enumerate(FALLING))
    for name in ("log.tsv", "LOG.CSV"):
        (tmp_path / name).write_text("epoch\tloss\n" + rows)
        assert diagnose_logs(tmp_path).facts["loss"] == "loss (60 values)"
        (tmp_path / name).unlink()


def test_a_header_without_rows_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("epoch,loss,val_loss\n")
    with pytest.raises(SourceError, match="only a header, .*; its columns: epoch, loss, val_loss"):
        diagnose_logs(file)
    file.write_text("epoch;loss\n0;high\n")
    with pytest.raises(SourceError, match="no number in loss; found numbers in epoch"):
        diagnose_logs(file)


def test_a_short_log_says_that_hardly_anything_was_judged(tmp_path: Path) -> None:
    report = diagnose_logs(write_csv(tmp_path / "a.csv", loss=[2.3], val_loss=[2.3], lr=[0.1]))
    assert str(report).splitlines()[0] == "doctor: nothing could be judged"
    assert report.facts["judged rules"] == "none"
    assert report.remarks == ("Nothing could be judged: the log has 1 value of the loss.",)
    needed = "needs 12 finite values of the loss; the log has 1"
    assert report.not_judged["loss-not-decreasing"] == needed
    assert "needs 5 finite values of the validation" in report.not_judged["validation-loss-rises"]
    assert "needs 20 finite values" in report.not_judged["learning-rate-vanishes"]
    assert "Nothing could be judged." in report.to_html()
    report = diagnose_logs(write_csv(tmp_path / "b.csv", loss=FALLING[:5]))
    count = len(RULES) - 1  # the steps of a log cannot be repeated
    assert str(report).startswith(f"doctor: nothing found; {count - 1} of {count} rules")
    assert report.facts["judged rules"] == "diverged"
    assert report.remarks == ("Hardly anything could be judged: the log has 5 values of the loss.",)
    report = diagnose_logs(write_csv(tmp_path / "c.csv", loss=[math.nan]))
    assert [finding.name for finding in report.findings] == ["diverged"]


def test_encodings_are_read_by_their_mark_or_named(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    text = "epoch,loss,größe\n" + "".join(f"{i},{loss},3\n" for i, loss in enumerate(FALLING))
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        file.write_text(text, encoding=encoding)
        assert diagnose_logs(file).facts["loss"] == "loss (60 values)"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(SourceError, match="not text in UTF-8: byte 13 is 0xf6") as error:
        diagnose_logs(file)
    assert f"iconv -f LATIN1 -t UTF-8 {file} > utf8-log.csv" in error.value.hint
    file.write_text("epoch,loss\n1,2\n", encoding="utf-16-le")
    with pytest.raises(SourceError, match="its header has NUL bytes") as error:
        diagnose_logs(file)
    assert "iconv -f UTF-16LE" in error.value.hint
    file.write_bytes(b"\xff\xfea")
    with pytest.raises(SourceError, match="byte order mark says UTF-16"):
        diagnose_logs(file)


@pytest.mark.parametrize("flags", [["--deep"], ["--data", "."], ["--try"]])
def test_flags_that_need_a_run_of_mien_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
) -> None:
    write_csv(tmp_path / "metrics.csv", loss=FALLING)
    code, out, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, *flags)
    assert (code, out) == (2, "")
    assert f"{flags[0]} needs a run folder that mien train wrote" in err


def test_a_log_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.csv").write_bytes(b"loss\n\xf6\n")
    for path in (tmp_path, tmp_path / "nowhere"):
        code, _, err = run_mien(capsys, monkeypatch, "doctor", path, "--fail-on", "error")
        assert code == 2
        assert err.startswith(f"error: {path}")


def _float(value: float) -> bytes:
    import struct

    return struct.pack("<f", value)


MODEL = '{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}'
"""The config.json that Hugging Face's Trainer writes beside the logs."""


def test_the_config_of_another_program_s_model_makes_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(MODEL)
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path)
    assert code == 2
    assert "no log found: the folder holds 1 other file: config.json" in err
    assert "its config.json has a recipe" in err
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--deep")
    assert code == 2
    assert "has no config.json of mien" in err
    write_events(tmp_path / "runs", FALLING)
    code, out, _ = run_mien(capsys, monkeypatch, "doctor", tmp_path)
    assert code == 0
    assert "nothing found" in out


@pytest.mark.parametrize("content", ['{"schema": 2}', '{"recipe": {}}', "{"])
def test_a_damaged_run_of_mien_is_not_read_as_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    content: str,
) -> None:  # fmt: skip
    (tmp_path / "config.json").write_text(content)
    write_events(tmp_path, FALLING)
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path)
    assert code == 1
    assert "config.json" in err or "not written by mien" in err


def test_numbers_with_a_decimal_comma_or_of_a_logged_tensor(tmp_path: Path) -> None:
    rows = [f"{value}".replace(".", ",") for value in FALLING]
    comma, tensor = tmp_path / "comma.csv", tmp_path / "tensor.csv"
    comma.write_text("epoch;loss\n" + "\n".join(f"{i};{row}" for i, row in enumerate(rows)))
    tensor.write_text(
        "epoch,loss\n" + "\n".join(f'{i},"tensor({v}, grad_fn=<A>)"' for i, v in enumerate(FALLING))
    )
    for path in (comma, tensor):
        assert list(read_table(path)["loss"].values()) == FALLING


def test_binary_and_empty_files_are_named_as_such(tmp_path: Path) -> None:
    image, empty = tmp_path / "image.csv", tmp_path / "empty.csv"
    image.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    empty.touch()
    with pytest.raises(SourceError, match=r"image\.csv: a binary file, not a table") as caught:
        diagnose_logs(image)
    assert "iconv" not in caught.value.hint
    with pytest.raises(SourceError, match=r"empty\.csv: the file is empty"):
        diagnose_logs(empty)


def test_the_page_replaces_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_csv(tmp_path / "a.csv", loss=FALLING)
    before = log.read_text()
    for path in (log, tmp_path):
        code, _, err = run_mien(capsys, monkeypatch, "doctor", path, "--html", log)
        assert code == 2
        assert "a.csv is one of the logs" in err
    assert log.read_text() == before
    page = tmp_path / "doctor.html"
    for _ in range(2):  # a page is replaced by the next
        assert run_mien(capsys, monkeypatch, "doctor", tmp_path, "--html", page)[0] == 0


def test_an_empty_level_to_fail_on_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_csv(tmp_path / "a.csv", loss=FALLING)
    code, _, err = run_mien(capsys, monkeypatch, "doctor", log, "--fail-on", "")
    assert code == 2  # the variable of a pipeline that is not set
    assert "--fail-on" in err


def test_a_folder_of_runs_of_mien_says_how_one_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "a.csv", loss=FALLING)
    assert "runs of mien" not in run_mien(capsys, monkeypatch, "doctor", tmp_path)[2]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"recipe": {}}')
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path)
    assert code == 0
    assert "holds 2 runs of mien, judged by the curves alone" in err
    assert f"mien doctor {tmp_path / 'one'}" in err


def test_the_training_loss_of_a_log_is_drawn_by_row(tmp_path: Path) -> None:
    (finding,) = diagnose_logs(write_csv(tmp_path / "a.csv", loss=[1.0] * 40)).findings
    assert finding.plot is not None
    assert finding.plot.xlabel == "row"
    assert 38 < float(finding.plot.x[-1]) <= 40
    assert finding.evidence == "The training loss started at 1 and ended at 1 after 40 values."


def test_the_learning_rates_of_a_log_are_counted_by_value(tmp_path: Path) -> None:
    rates = [0.1 * 0.3**i for i in range(30)]
    path = write_csv(tmp_path / "a.csv", loss=FALLING[:30], lr=rates)
    found = {f.name: f for f in diagnose_logs(path).findings}["learning-rate-vanishes"]
    assert found.evidence.startswith("In 80% of the 30 values the learning rate was below")
    assert found.plot is not None
    assert found.plot.xlabel == "row"


def test_a_speed_is_no_step() -> None:
    assert role_of("eval/steps_per_second") is None
    assert role_of("global_step") == "step"
    assert role_of("loss_per_token") == "loss"
