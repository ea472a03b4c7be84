"""Tables for a terminal, a pipe and a file: never a value cut, never a record on two lines."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

ENDLESS = 1_000_000
"""Columns of what is no terminal."""
NARROWEST = 24
"""A first column that may be folded keeps at least this width; else each record is a paragraph."""
_ESCAPES = {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def tab_line(cells: Iterable[str]) -> str:
    """Return one line of tab-separated values; a tab or line break in a value is spelt out."""
    return "\t".join(cell.translate(_ESCAPES) for cell in cells) + "\n"


def print_table(table: Table, stream: IO[str] | None = None) -> None:
    """Print a table of rich's so that no value is cut and none is split over lines.

    In a terminal that is wide enough it is aligned; a first column with `overflow="fold"` is
    folded where that is enough. In a narrower one each row is a paragraph: its first value, and
    below it the others by name. Elsewhere rows are aligned, as wide as they need to be.

    Args:
        table: whose cells are plain text; nothing in them is taken for markup.
        stream: where to; standard output where None.
    """
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    terminal = stream.isatty()
    console = Console(
        file=stream, highlight=False, markup=False, emoji=False,
        width=None if terminal else ENDLESS,
    )  # fmt: skip
    for number, column in enumerate(table.columns):
        column.no_wrap = number > 0 or column.overflow != "fold"
    if not terminal or _fits(table, console):
        if not terminal:
            table.columns[0].no_wrap = True
        _print_aligned(table, console)
    else:
        _print_paragraphs(table, console)


def _print_aligned(table: Table, console: Console) -> None:
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as kept:
        console.print(table)
    # rich pads the last column too
    console.file.writelines(f"{line.rstrip()}\n" for line in kept.get().splitlines())


def _fits(table: Table, console: Console) -> bool:
    from rich.measure import Measurement

    needed = Measurement.get(console, console.options.update(width=ENDLESS), table).maximum
    first = table.columns[0]
    if first.overflow == "fold":
        widths = Measurement.get(console, console.options.update(width=ENDLESS), _first(table))
        needed -= max(0, widths.maximum - NARROWEST)
    return needed <= console.width


def _first(table: Table) -> Table:
    """Return the first column alone."""
    from rich.table import Table

    column = table.columns[0]
    alone = Table(str(column.header), box=None, padding=0)
    for cell in column.cells:
        alone.add_row(cell)
    return alone


def _print_paragraphs(table: Table, console: Console) -> None:
    if table.title:
        console.print(table.title, style="bold", soft_wrap=True)
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    names = [str(column.header) for column in table.columns]
    for row in zip(*columns, strict=True):
        console.print(row[0] or "-", style="bold", soft_wrap=True)
        pairs = [f"{name} {cell}".strip() for name, cell in zip(names[1:], row[1:], strict=True)
                 if cell]  # fmt: skip
        for line in _wrapped(pairs, console.width - 2):
            console.print(f"  {line}", soft_wrap=True)


def _wrapped(pairs: Sequence[str], width: int) -> list[str]:
    """Put pairs on lines, two spaces apart; none is broken."""
    from rich.cells import cell_len

    lines: list[str] = []
    for pair in pairs:
        if lines and cell_len(lines[-1]) + 2 + cell_len(pair) <= width:
            lines[-1] += f"  {pair}"
        else:
            lines.append(pair)
    return lines
