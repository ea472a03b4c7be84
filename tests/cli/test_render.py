"""Tables that are never cut: in pipes one line a record, in narrow terminals a paragraph."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.table import Table

from mien.cli.render import (
    Column,
    counting_bar,
    make_table,
    print_table,
    progress_bars,
    right_aligned,
    step_lines,
    tab_line,
)

LONG = "/a/very/long/path/" + "folder/" * 20 + "photo [bold].jpg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table(columns: int = 3) -> Table:
    labels = right_aligned(*(f"label-{number}" for number in range(columns)))
    rows = [
        [LONG, *(f"{number}%" for number in range(columns))],
        ["b.jpg", *(f"{number + 50}%" for number in range(columns))],
    ]
    return make_table([Column("image", fold=True), *labels], rows)


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


def test_a_pipe_gets_whole_values_one_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    print_table(table(), stream)
    head, first, second = stream.getvalue().splitlines()
    assert head.split() == ["image", "label-0", "label-1", "label-2"]
    assert first.startswith(LONG)
    assert second.split() == ["b.jpg", "50%", "51%", "52%"]
    assert not head.endswith(" ")


def test_a_wide_terminal_gets_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    print_table(table(), stream)
    lines = plain(stream.getvalue())
    assert lines[0].split() == ["image", "label-0", "label-1", "label-2"]
    assert all(len(line) <= 80 for line in lines)
    # The path is folded and nothing else is.
    assert "".join(line[:40].split("  ")[0].strip() for line in lines[1:-1]).startswith("/a/very/")
    assert lines[-1].split() == ["b.jpg", "50%", "51%", "52%"]


def test_a_narrow_terminal_gets_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    print_table(table(9), stream)
    lines = plain(stream.getvalue())
    assert lines[0] == LONG  # left to the terminal, which copies it whole
    assert lines[lines.index("b.jpg") + 1].startswith("  label-0 50%  label-1 51%")
    pairs = [pair for line in lines[1:] for pair in re.split(r"\s{2,}", line.strip())]
    assert [p for p in pairs if p.startswith("label-8")] == ["label-8 8%", "label-8 58%"]
    assert all(len(line) <= 60 for line in lines if line != LONG)


def test_tabs_and_lines_in_names_are_spelt_out() -> None:
    assert tab_line(["a\tb\nc.jpg", "happy"]) == "a\\tb\\nc.jpg\thappy\n"


def test_numbers_are_aligned_to_the_right_below_the_title() -> None:
    stream = io.StringIO()
    columns = [Column("class"), *right_aligned("n")]
    print_table(make_table(columns, [["happy", "12"], ["all", "1,200"]], title="mine"), stream)
    assert stream.getvalue().splitlines() == [
        "mine",
        "class      n",
        "happy     12",
        "all    1,200",
    ]


def test_a_short_row_leaves_cells_empty() -> None:
    stream = io.StringIO()
    columns = [Column("corruption"), *right_aligned("strength", "accuracy")]
    print_table(make_table(columns, [["none"], ["blur", "2", "0.5"]]), stream)
    assert [line.split() for line in stream.getvalue().splitlines()[1:]] == [
        ["none"], ["blur", "2", "0.5"],
    ]  # fmt: skip


def test_bars_are_drawn_in_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_bars() as progress:
        progress("reading", 1, 2)
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars() as progress:
        progress("reading", 1, 2)
        progress("finding duplicates", 2, 2)
    assert "reading" in terminal.getvalue()
    assert "finding duplicates" in terminal.getvalue()


def test_a_counting_bar_prints_failures_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with counting_bar("trainings", 2) as advance:
        advance("")
        advance("training [a] failed: no memory")
    printed = capsys.readouterr().err
    assert "training [a] failed: no memory\n" in printed
    assert "2/2" in printed


def test_step_lines_come_early_and_then_rarely(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(1000))
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr("mien.cli.render.time", clock)
    show = step_lines("range test", every=40)
    for done in range(1, 101):
        show(done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "range test: step 20 of 100, time left 1:20",
        "range test: step 40 of 100, time left 1:00",
        "range test: step 80 of 100, time left 0:20",
    ]
