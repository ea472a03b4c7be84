"""What a notebook shows of an object: a title, lines, tables and an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a notebook cell.

    Attributes:
        head: names of the columns.
        rows: the cells, as text.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def cell_html(
    title: str,
    *,
    lines: Sequence[str] = (),
    tables: Sequence[Table] = (),
    image: bytes | None = None,
) -> str:
    """Return an HTML fragment for a notebook cell; all text is escaped.

    Args:
        title: in bold.
        lines: below it, a sentence each.
        tables: below them.
        image: a PNG or JPEG file, at the end.
    """
    return render("cell.html", title=title, lines=lines, tables=tables, image=image)
