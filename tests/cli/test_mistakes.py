"""What people type wrongly: each mistake ends in one line, with a hint, and no traceback."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.cli import mistakes
from tests.cli.mistakes import CASES, Mistake, make_place

from mien.cli.main import run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("mistakes"))


@pytest.mark.parametrize("mistake", CASES, ids=[case.command for case in CASES])
def test_a_mistake_is_one_line_and_a_hint(
    mistake: Mistake, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    before = sorted(p.relative_to(place) for p in place.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        run(shlex.split(mistake.command)[1:])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert "Traceback" not in err
    assert ended.value.code == mistake.code, err
    error, hint = lines[-2:]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert 5 < len(hint) < 300
    assert len(error) < 300
    assert mistake.part.lower() in f"{error}\n{hint}".lower()
    assert out == ""
    assert sorted(p.relative_to(place) for p in place.rglob("*")) == before  # nothing was written


def test_the_page_shows_command_answer_and_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mistakes, "CASES", [CASES[0]])
    mistakes.write_page(tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"$ {CASES[0].command}\nerror: " in page
    assert page.endswith("exit code 2\n```\n")
