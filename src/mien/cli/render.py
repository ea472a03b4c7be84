"""What the command line prints: tables on stdout, progress on stderr.

A table is never cut: no value is shortened and no row is split over two lines. In a terminal that
is too narrow each row becomes a paragraph.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from mien.cli.streams import print_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

UNLIMITED_WIDTH = 1_000_000
"""Columns of a pipe or a file, in characters."""
MIN_FOLDED_WIDTH = 24
"""A first column may be folded to this many characters; below it rows become paragraphs."""
_ESCAPES = {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: its header; may be empty.
        right: align to the right, as numbers are.
        fold: a long value, such as a path, may be folded in a terminal. First column only.
    """

    title: str
    right: bool = False
    fold: bool = False


def right_aligned(*titles: str) -> list[Column]:
    """Return columns of numbers."""
    return [Column(title, right=True) for title in titles]


def make_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, title: str = ""
) -> Table:
    """Return a table in the one style of the command line; pass it to `print_table`.

    Args:
        columns: at least one.
        rows: of plain text, at most one cell for each column; missing cells are empty.
        title: printed above the table; none where empty.
    """
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left"
    )
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold" if column.fold else "ellipsis",
        )
    for row in rows:
        table.add_row(*row)
    return table


def print_table(table: Table, stream: IO[str] | None = None) -> None:
    """Print a table of rich's so that no value is cut and none is split over lines.

    In a terminal that is wide enough, columns are aligned; a first column with `overflow="fold"`
    is folded if that makes the table fit. In a narrower terminal each row is a paragraph: its
    first value, and below it the others by name. Into a pipe or a file, columns are aligned at
    any width.

    Args:
        table: its cells are plain text; rich's markup is not interpreted.
        stream: destination (default: standard output).
    """
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    # Only a terminal has a width; in a file every row stays one line.
    terminal = stream.isatty()
    console = Console(
        # File names may hold [bold] or :smile:, which rich would interpret.
        file=stream, highlight=False, markup=False, emoji=False,
        width=None if terminal else UNLIMITED_WIDTH,
    )  # fmt: skip
    for number, column in enumerate(table.columns):
        column.no_wrap = number > 0 or column.overflow != "fold"
    if not terminal or _fits(table, console):
        if not terminal:
            # In a file a folded path would be two lines, and a row must stay one.
            table.columns[0].no_wrap = True
        _print_aligned(table, console)
    else:
        _print_paragraphs(table, console)


def tab_line(cells: Iterable[str]) -> str:
    """Return one line of tab-separated values; tabs and line breaks in a value are escaped."""
    return "\t".join(cell.translate(_ESCAPES) for cell in cells) + "\n"


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a progress callback (stage, done, total) that shows one bar on stderr per stage.

    The bars vanish at the end; where stderr is no terminal, none is shown.
    """
    from rich.console import Console
    from rich.progress import Progress, TaskID

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                # Without a total the bar pulses: the first call may come before the total is
                # known.
                tasks[stage] = bars.add_task(stage, total=None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield update


@contextmanager
def counting_bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function that moves a bar on stderr by one, and prints a line above it.

    The bar stays when the work is done; where stderr is no terminal, only its end is printed.

    Args:
        what: the things that are counted.
        total: their number.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(what, *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)

        def advance(line: str) -> None:
            bar.advance(task)
            if line:
                bar.console.print(line, highlight=False, markup=False)

        yield advance


def step_lines(what: str, *, every: int) -> Callable[[int, int], None]:
    """Return a progress callback (done, total) that prints a line to stderr now and then.

    Lines rather than a bar: a training's log file should hold them.

    Args:
        what: the work, to start each line with.
        every: steps from one line to the next. A line at step 20 comes before the first of them.
    """
    from mien.train.loop.progress import duration

    first: list[float] = []

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
        elif done == 20 or done % every == 0:
            # The first step compiles and warms caches; it says nothing about the others.
            left = (now - first[0]) / (done - 1) * (total - done)
            print_note(f"{what}: step {done} of {total}, time left {duration(left)}")

    return show


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

    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    needed = Measurement.get(console, unlimited, table).maximum
    if table.columns[0].overflow == "fold":
        first = Measurement.get(console, unlimited, _first_column(table)).maximum
        needed -= max(0, first - MIN_FOLDED_WIDTH)
    return needed <= console.width


def _first_column(table: Table) -> Table:
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
        # soft_wrap: rich would break or crop a long path; left to the terminal, it can be copied
        # whole.
        console.print(row[0] or "-", style="bold", soft_wrap=True)
        pairs = [f"{name} {cell}".strip() for name, cell in zip(names[1:], row[1:], strict=True)
                 if cell]  # fmt: skip
        for line in _wrapped(pairs, console.width - 2):
            console.print(f"  {line}", soft_wrap=True)


def _wrapped(pairs: Sequence[str], width: int) -> list[str]:
    """Put 'name value' pairs on lines of at most `width`, two spaces apart; none is broken."""
    from rich.cells import cell_len

    lines: list[str] = []
    for pair in pairs:
        if lines and cell_len(lines[-1]) + 2 + cell_len(pair) <= width:
            lines[-1] += f"  {pair}"
        else:
            lines.append(pair)
    return lines
