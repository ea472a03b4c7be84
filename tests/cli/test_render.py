"""Tables that are never cut: in pipes one line a record, in narrow terminals a paragraph."""

from __future__ import annotations

import io
import re

import pytest
from rich.table import Table

from mien.cli.render import print_table, tab_line

LONG = "/a/very/long/path/" + "folder/" * 20 + "photo [bold].jpg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table(columns: int = 3) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("image", overflow="fold")
    for number in range(columns):
        made.add_column(f"label-{number}", justify="right")
    made.add_row(LONG, *(f"{number}%" for number in range(columns)))
    made.add_row("b.jpg", *(f"{number + 50}%" for number in range(columns)))
    return made


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
