"""Standard output and error as shells leave them: closed, full, quiet, a pipe whose reader left."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.cli.examples import EXAMPLES
from mien.cli.main import run
from mien.cli.streams import NoteStream

MIEN = Path(sys.executable).with_name("mien")
FULL = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")


def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("mien", str(MIEN), 1)
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False,
        env={**os.environ, **more},
    )  # fmt: skip


def test_a_closed_output_disturbs_only_what_prints(examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "readings.json"
    done = shell(f"mien predict {examples} -o {out} >&-")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(out.read_text())) == 2
    assert "Traceback" not in done.stderr
    done = shell(f"mien predict {examples} >&-")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: cannot write the output: Bad file descriptor",
        "hint: standard output is closed; open it, or write to a file",
    ]
    assert "Traceback" not in done.stderr


@FULL
@pytest.mark.parametrize("error", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_notes_that_nobody_can_read_stop_nothing(examples: Path, error: str) -> None:
    done = shell(f"mien predict {examples} --json {error}")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    assert shell(f"mien predict nowhere.jpg --model none.onnx {error}").returncode == 1


@FULL
@pytest.mark.parametrize("command", ["--version", "--help", "models --no-speed", "networks"])
def test_a_full_disk_behind_any_command(command: str) -> None:
    done = shell(f"mien {command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: cannot write the output: No space left on device"
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", ["models --no-speed --json", "--help", "data show --help"])
def test_a_reader_may_leave_any_command(command: str) -> None:
    done = shell(f"mien {command} | head -c 1 | wc -c")
    assert done.stdout.strip() == "1"
    assert done.stderr == ""


def test_quiet_keeps_results_and_trouble(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (["--quiet", "predict", str(examples)], ["predict", str(examples), "-q"]):
        with pytest.raises(SystemExit) as ended:
            run(line)
        out, err = capsys.readouterr()
        assert ended.value.code == 0
        assert len(out.splitlines()) == 3
        assert err == ""
    with pytest.raises(SystemExit) as ended:
        run(["predict", str(tmp_path / "none.jpg"), "-q"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("unreadable: cannot read")


def test_verbose_shows_where_an_error_comes_from(examples: Path) -> None:
    done = shell(f"mien predict {examples} --labels hapy --verbose")
    assert done.returncode == 2
    assert "DEBUG mien: mien 0." in done.stderr
    assert "named_labels" in done.stderr  # the traceback
    assert "error: no label set is called 'hapy'" in done.stderr


def test_a_lack_of_memory_is_told_in_two_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], examples: Path
) -> None:
    from mien import reader

    for error in (MemoryError(), RuntimeError("can't start new thread")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(reader, "Reader", fail)
        with pytest.raises(SystemExit) as ended:
            run(["predict", str(examples)])
        first, second = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1
        assert first.startswith("error: not enough memory (")
        assert "--threads 1" in second


def test_other_errors_of_ours_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, examples: Path
) -> None:
    from mien import reader

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake in mien")

    monkeypatch.setattr(reader, "Reader", fail)
    with pytest.raises(RuntimeError, match="a mistake in mien"):
        run(["predict", str(examples)])


def test_quiet_lines_are_judged_whole() -> None:
    kept = io.StringIO()
    notes = NoteStream(kept, quiet=True)
    for piece in ("read", "ing\nerr", "or: no\nhint", ": yes\nhow it went\n"):
        notes.write(piece)
    assert kept.getvalue() == "error: no\nhint: yes\n"
    assert not notes.isatty()


def test_completion_for_each_shell() -> None:
    for name in ("bash", "zsh", "fish"):
        chosen = shell(
            f"mien --show-completion {name}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
        )
        assert chosen.returncode == 0, chosen.stderr
        assert "_MIEN_COMPLETE" in chosen.stdout
    done = shell(
        "mien", _MIEN_COMPLETE="complete_bash", COMP_WORDS="mien predict --from", COMP_CWORD="2"
    )
    assert done.stdout.split() == ["--from-file"]


# A test for each command: forty processes in one would reach its time limit on a busy machine.
@pytest.mark.parametrize("path", EXAMPLES)
def test_help_names_examples_and_fits_80_columns(path: str) -> None:
    done = shell(f"mien {path} -h", COLUMNS="80")
    assert done.returncode == 0
    assert done.stdout == shell(f"mien {path} --help", COLUMNS="80").stdout
    usage, _, examples = done.stdout.partition("Examples:\n")
    assert [line.strip() for line in examples.splitlines()] == list(EXAMPLES[path])
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert path in {"", "data", "people"} or "--quiet" in usage
