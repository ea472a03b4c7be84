"""The parser of plain command lines gives what Typer gives, or leaves the line to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT

from mien.cli.application import command_line
from mien.cli.commands import QUICK
from mien.cli.predict import predict
from mien.cli.quick import parse

TYPER = command_line("predict").commands["predict"]
SHARED = ("help", "quiet", "verbose")
"""Options that Typer handles itself: they are no arguments of the function."""
PLAIN: tuple[list[str], ...] = (
    ["photo.jpg"],
    [],
    ["a.jpg", "b.jpg", "--json"],
    ["--csv", "a.jpg", "-o", "rows.csv", "b.jpg"],
    ["-", "--min-confidence", "0.5", "--threads=2"],
    ["a.jpg", "--model", "mien-tiny", "--rotate", "auto", "--prior=a=b"],
    ["a b.jpg", "--output=x y.csv", "--coverage", ".9", "--annotate", "out"],
)
LEFT_TO_TYPER = (
    ["--help"],
    ["a.jpg", "-q"],
    ["a.jpg", "--verbose"],
    ["a.jpg", "--treads", "2"],
    ["a.jpg", "--json=1"],
    ["a.jpg", "--threads", "-1"],
    ["a.jpg", "--threads", "two"],
    ["a.jpg", "--threads", "99999999999999999999"],
    ["a.jpg", "--threads"],
    ["a.jpg", "--model", ""],
    ["", "--json"],
    ["a.jpg", "--model", "a", "--model", "b"],
    ["a.jpg", "--json", "--json"],
    ["a.jpg", "--min-confidence", "1e-1"],
    ["a.jpg", "-orows.csv"],
    ["--", "--json"],
    ["\udcff.jpg"],
)


def by_typer(words: list[str]) -> dict[str, Any]:
    params = TYPER.make_context("predict", list(words)).params
    values = {name: value for name, value in params.items() if name not in SHARED}
    # As the function gets it: Typer passes its default where no argument is given.
    return values | {"paths": values["paths"] or None}


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_a_plain_line_gives_what_typer_gives(words: list[str]) -> None:
    found = parse(predict, words)
    assert found is not None
    assert found == by_typer(words)
    expected = by_typer(words)
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize("words", LEFT_TO_TYPER, ids=ascii)
def test_what_may_need_a_message_is_left_to_typer(words: list[str]) -> None:
    assert parse(predict, words) is None


FLAGS = sorted(flag for parameter in TYPER.params for flag in parameter.opts if "-" in flag)
ODD = "- -- 1 0.5 -1 a.jpg None 1. +1 1_0 nan inf -c -oa true a=b \u0663".split()  # noqa: SIM905
WORDS = st.sampled_from([*FLAGS, *(f"{flag}=1" for flag in FLAGS), *ODD, "", " 1"])


@given(st.lists(WORDS | st.text(max_size=3), max_size=6))
def test_no_line_gives_other_arguments_than_typers(words: list[str]) -> None:
    found = parse(predict, words)
    if found is not None:
        assert found == by_typer(words)


def test_a_file_that_may_not_be_read_is_left_to_typer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    assert parse(predict, ["a.jpg", "--model", str(model)]) is not None
    # Root may read everything.
    monkeypatch.setattr("os.access", lambda *_: False)
    assert parse(predict, ["a.jpg", "--model", str(model)]) is None


def test_plain_commands_start_without_typer_and_without_what_images_do_not_need() -> None:
    assert frozenset({"predict"}) == QUICK
    photo = ROOT / "examples" / "grace_hopper.jpg"
    code = (
        "import sys; from mien.cli.main import run\n"
        f"try:\n    run(['predict', {str(photo)!r}])\n"
        "finally:\n    print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'mien.predict.pipeline'" in done.stdout
    for name in ("typer", "pydantic", "rich", "jinja2", "av", "mien.video", "mien.imaging.draw"):
        assert f"'{name}'" not in done.stdout, name


def test_import_mien_waits_for_no_numpy() -> None:
    code = "import sys, mien; print('numpy' in sys.modules); print(mien.Reader, mien.Readings)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False\n<class 'mien.reader.Reader'> <class 'mien.types.Read")
