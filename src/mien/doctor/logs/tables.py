"""Read a table: CSV or TSV, with commas, semicolons or tabs between its columns."""

from __future__ import annotations

import codecs
import csv
import math
import shlex
from typing import TYPE_CHECKING

from mien.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from mien.doctor.logs.runs import Series

# UTF-32 first: in little-endian order its mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
"""Byte order marks and the encodings that they announce."""


def read_table(path: Path) -> Series:
    """Return each column's numbers by row; a column without a number has an empty entry.

    Empty cells are left out, as loggers mix their rows.

    Raises:
        OSError: the file cannot be read.
        SourceError: it is not text in UTF-8, nor in UTF-16 with a byte order mark.
        csv.Error: it is no table.
    """
    text = _decode(path)
    first = text.split("\n", 1)[0]
    # The most frequent one: a header of names may hold any of them once.
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    found: Series = {name.strip(): {} for name in reader.fieldnames or ()}
    for number, row in enumerate(reader):
        for name, cell in row.items():
            value = _number(cell, decimal_comma=delimiter != ",")
            # Cells beyond the header have no name.
            if name is not None and value is not None:
                found[name.strip()][number] = value
    return found


def _decode(path: Path) -> str:
    """Return the text of a file in UTF-8, or in the encoding of its byte order mark."""
    content = path.read_bytes()
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise SourceError(
                f"{path}: its byte order mark says {encoding.upper()}, but byte {error.start:,} "
                "is not",
                hint="write the file again, as UTF-8",
            ) from error
        if any(byte < 32 and byte not in b"\0\t\n\f\r" for byte in content):
            raise SourceError(
                f"{path}: a binary file, not a table of text",
                hint="give the CSV or TSV file that the training program wrote",
            ) from error
        raise _not_utf8(
            path, f"byte {error.start:,} is 0x{content[error.start]:02x}", "LATIN1"
        ) from error
    # UTF-16 without its mark decodes as UTF-8, with a NUL beside each letter.
    header = text.split("\n", 1)[0]
    if "\0" in header:
        order = "UTF-16BE" if header.startswith("\0") else "UTF-16LE"
        raise _not_utf8(path, "its header has NUL bytes", order)
    return text


def _not_utf8(path: Path, reason: str, likely: str) -> SourceError:
    before, after = shlex.quote(str(path)), shlex.quote(f"utf8-{path.name}")
    return SourceError(
        f"{path}: not text in UTF-8: {reason}",
        hint=f"convert it: iconv -f {likely} -t UTF-8 {before} > {after} ({likely} is a guess: "
        "give the encoding it was written in)",
    )


def _number(cell: object, *, decimal_comma: bool = False) -> float | None:
    if not isinstance(cell, str) or not cell.strip():
        return None
    digits = cell.strip()
    if digits.startswith("tensor("):
        # Loops that log a tensor instead of loss.item() write 'tensor(0.5, grad_fn=...)'.
        digits = digits.removeprefix("tensor(").removesuffix(")").split(",")[0]
    elif decimal_comma and "." not in digits:
        digits = digits.replace(",", ".", 1)  # as spreadsheets of many countries write
    try:
        return float(digits)
    except ValueError:
        return math.nan if cell.strip().lower() in ("nan", "null", "none") else None
