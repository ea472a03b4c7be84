"""CSV sources: 'list' (paths and labels), 'fer2013' (pixels), and FERPlus's votes."""

from __future__ import annotations

import csv
from difflib import get_close_matches
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from mien.data.columns import column_name
from mien.data.dataset import Dataset
from mien.data.sources.fields import index_labels, split_name
from mien.data.sources.images import ImageCropper
from mien.data.sources.resize import resize_crops
from mien.errors import DataError, did_you_mean
from mien.files import plain
from mien.imaging.codec import SUFFIXES
from mien.labels import FERPLUS_VOTES, SEVEN, canonical, class_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

FERPLUS_HEADER = (
    "Usage",
    "Image name",
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)


LIST_COLUMNS = ("path", "label", "split", "subject")
FER2013_SIDE = 48
"""Height and width of FER2013's crops; other sizes are read where all rows have the same."""


def read_header(path: Path) -> list[str]:
    """Return the first row of a CSV file, stripped; an empty or unreadable file is a DataError."""
    for _, row in read_rows(path):
        return [name.strip() for name in row]
    raise DataError(f"{path} is empty", hint="it needs a header line and rows")


def read_list(
    path: Path,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Read a CSV of `path,label[,split,subject]`; paths are relative to the file's folder.

    Further columns, such as age or lighting, become the dataset's columns.

    Paths with backslashes, as Windows writes them, are read on every system. An empty label means
    that there is none, as in a test set without labels.

    Args:
        path: CSV file to read.
        size: height and width of a crop, in pixels.
        progress: called with (done, total), in images.
        cropper: how images become crops; ImageCropper() where None.

    Raises:
        DataError: a column is missing, a row is short or names no path, a split is unknown.
    """
    rows = _list_rows(path)
    texts = [row["path"].strip() for _, row in rows]
    files = [_file(path.parent, text) for text in texts]
    crops = (cropper or ImageCropper()).read(files, [plain(t) for t in texts], size, progress)
    # Before unreadable images are left out: a class that loses all of its images is reported.
    declared = [row["label"] for _, row in rows]
    rows = [rows[i] for i in crops.kept]
    names, labels = index_labels(
        [class_name(row["label"], f"{path}, line {n}") for n, row in rows], SEVEN
    )
    splits = [split_name(row.get("split", ""), f"{path}, line {n}") for n, row in rows]
    return Dataset.unsplit(
        name=path.stem,
        images_nhw=crops.images_nhw,
        label_names=names,
        labels_n=labels,
        sources_n=np.array([texts[i] for i in crops.kept], np.str_),
        source_splits_n=np.array(splits, "<U10"),
        subjects_n=np.array([row.get("subject", "").strip() for _, row in rows], np.str_),
        skipped=tuple(crops.skipped),
        notes=tuple(crops.notes),
        declared=tuple(dict.fromkeys(canonical(text) for text in declared if text.strip())),
        columns=_further_columns([row for _, row in rows]),
        origins=crops.origins,
        thumbnails=tuple(crops.thumbnails),
        facts=crops.facts(),
    )


def _list_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line, row) of each image of a list; no row, or an empty path, is a DataError."""
    rows = list(_records(path, required=("path", "label"), known=LIST_COLUMNS))
    if not rows:
        raise DataError(f"{path} has no rows", hint="add lines such as faces/1.jpg,happy")
    for number, row in rows:
        if not row["path"].strip():
            raise DataError(f"{path}, line {number}: the path is empty", hint="fill or delete it")
    return rows


def _further_columns(rows: Sequence[dict[str, str]]) -> dict[str, NDArray[np.str_]]:
    """Return the columns of a list beside LIST_COLUMNS; a column without a name is left out."""
    names = [name for name in (rows[0] if rows else ()) if name and name not in LIST_COLUMNS]
    return {
        column_name(name): np.array([row[name].strip() for row in rows], np.str_) for name in names
    }


def _file(folder: Path, text: str) -> Path:
    r"""Return the file of a row; img\1.png is read as img/1.png where no file has that name."""
    file = folder / text
    if "\\" in text:
        try:
            found = file.exists()
        except (OSError, ValueError):  # reading it will report why
            return file
        return file if found else folder / PureWindowsPath(text).as_posix()
    return file


def read_fer2013(
    path: Path, size: int, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """Read FER2013's CSV: `emotion,pixels[,Usage]`, 48x48 grey values in each row.

    Args:
        path: CSV file to read.
        size: height and width of a crop, in pixels.
        progress: called with (rows, 0) while the number of rows is unknown, at last with (n, n).

    Raises:
        DataError: wrong columns, a wrong number of pixels, a value that is no grey level, an
            unknown label or usage; the message names the line.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    splits: list[str] = []
    side = 0
    records = _records(path, required=("pixels",), known=("emotion", "pixels", "usage"))
    for number, row in records:
        where = f"{path}, line {number}"
        pixels = _pixels(row["pixels"], where)
        square = round(len(pixels) ** 0.5)
        # The first row decides; where it is damaged, the usual size makes the message right.
        side = side or (square if square * square == len(pixels) else FER2013_SIDE)
        if len(pixels) != side * side:
            raise DataError(
                f"{where}: {len(pixels)} pixels, expected {side * side} ({side} x {side})",
                hint="the row is truncated or damaged; restore it or delete it",
            )
        images.append(pixels.reshape(side, side))
        labels.append(_emotion(row.get("emotion", ""), where))
        splits.append(split_name(row.get("usage", ""), where))
        if progress and number % 1000 == 0:
            # The total is not known before the end of the file.
            progress(number, 0)
    if not images:
        raise DataError(f"{path} has no rows", hint="restore the file")
    if progress:
        progress(len(images), len(images))
    names, indices = index_labels(labels, SEVEN)
    return Dataset.unsplit(
        name=path.stem,
        images_nhw=resize_crops(np.stack(images), size),
        label_names=names,
        labels_n=indices,
        sources_n=np.array([f"{path.name}#{i}" for i in range(len(images))], np.str_),
        source_splits_n=np.array(splits, "<U10"),
    )


def read_votes(path: Path, rows: int) -> NDArray[np.float32]:
    """Read FERPlus's votes, float32 [rows, 10] in the order of labels.FERPLUS_VOTES.

    FERPlus joins FER2013 by row: its n-th row votes on FER2013's n-th row.

    Args:
        path: FERPlus's fer2013new.csv.
        rows: expected number of rows.

    Raises:
        DataError: other columns, another number of rows, or a vote that is no count.
    """
    header = tuple(read_header(path))
    if header != FERPLUS_HEADER:
        raise DataError(
            f"{path} is not FERPlus's vote file: its columns are {_shown(header)}",
            hint=f"expected {', '.join(FERPLUS_HEADER)}",
        )
    votes: list[list[int]] = []
    for number, row in islice(read_rows(path), 1, None):
        if not any(cell.strip() for cell in row):  # spreadsheets append empty rows
            continue
        counts = [int(cell) if cell.strip().isdecimal() else -1 for cell in row[2:]]
        if len(counts) != len(FERPLUS_VOTES) or min(counts) < 0:
            raise DataError(
                f"{path}, line {number}: expected {len(FERPLUS_VOTES)} counts of votes, "
                f"got {_shown(row[2:]) or 'none'}",
                hint="restore the line",
            )
        votes.append(counts)
    if len(votes) != rows:
        raise DataError(
            f"{path} has votes on {len(votes)} images, the source has {rows}",
            hint="votes are joined by row; use the vote file that belongs to this source",
        )
    return np.array(votes, np.float32)


def _pixels(text: str, where: str) -> NDArray[np.uint8]:
    try:
        values = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        # Out of range, so that the check below reports it.
        values = np.array([-1])
    if not len(values) or values.min() < 0 or values.max() > 255:
        raise DataError(
            f"{where}: the pixels are not grey levels: {text[:40]!r}",
            hint="expected whole numbers 0 to 255, separated by spaces",
        )
    return values.astype(np.uint8)


def _emotion(text: str, where: str) -> str:
    text = text.strip()
    if not text:
        return ""
    # int() alone would take '-1' and '1_0' too.
    if not text.isdecimal() or int(text) >= len(SEVEN):
        raise DataError(
            f"{where}: unknown label {text!r}",
            hint=f"expected 0 to {len(SEVEN) - 1}: {', '.join(SEVEN)}",
        )
    return SEVEN[int(text)]


def _records(
    path: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row by lower-case column name), checking columns and lengths."""
    header = [name.lower() for name in read_header(path)]
    _refuse_headless(path, header, required, known)
    twice = sorted({name for name in known if header.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}", hint="rename or delete one of them")
    for name in required:
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}; its columns are: {_shown(header)}",
                hint=did_you_mean(name, header) + f"expected: {', '.join(known)}",
            )
    _refuse_misspelt(path, header, known)
    for number, row in islice(read_rows(path), 1, None):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(row)} cells under {len(header)} columns",
                hint="quote cells that hold commas, or complete the line",
            )
        yield number, dict(zip(header, row, strict=True))


MAX_CHARACTERS, MAX_CELLS = 24, 8
"""Maximum length of a cell, and number of cells of a row, in a message."""


def _shown(cells: Sequence[str]) -> str:
    """Return a row for a message, shortened: a row of pixels would fill screens."""
    short = [
        cell if len(cell) <= MAX_CHARACTERS else f"{cell[:MAX_CHARACTERS]}…"
        for cell in cells[:MAX_CELLS]
    ]
    more = f" and {len(cells) - MAX_CELLS} more" if len(cells) > MAX_CELLS else ""
    return ", ".join(short) + more


def is_pixels(cell: str) -> bool:
    """Return whether a cell holds a row of pixels: many whole numbers with spaces between."""
    words = cell[:200].split()
    return len(words) >= 16 and all(word.isdecimal() for word in words)


def _refuse_headless(
    path: Path, header: list[str], required: tuple[str, ...], known: tuple[str, ...]
) -> None:
    """Raise a DataError where the first row is data, as in a table without its header line."""
    if any(name in header for name in required):
        return
    pixels = any(is_pixels(cell) for cell in header)
    images = any(PureWindowsPath(cell).suffix in SUFFIXES for cell in header)
    if pixels or images:
        expected = ("emotion", "pixels", "usage") if pixels else known
        raise DataError(
            f"{path} has no header line: its first line is {_shown(header)}",
            hint=f"add a first line that names the columns, such as {','.join(expected)}",
        )


def _refuse_misspelt(path: Path, header: list[str], known: tuple[str, ...]) -> None:
    """Raise a DataError for a column whose name is nearly a known one, and would be ignored.

    An ignored 'subjects' would silently put one subject into two splits.
    """
    absent = [name for name in known if name not in header]
    for name in header:
        near = get_close_matches(name, absent, n=1, cutoff=0.7) if name not in known else []
        if near:
            raise DataError(
                f"{path} has an unknown column {name!r}",
                hint=f"did you mean {near[0]!r}? otherwise rename it; known: {', '.join(known)}",
            )


def _delimiter(header: str) -> str:
    """Return the delimiter of a header line: spreadsheets in many countries write semicolons."""
    return next((mark for mark in ",;\t|" if mark in header), ",")


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of a CSV file in UTF-8, the header too; commas, semicolons, tabs or bars.

    UTF-16 with a byte order mark is read too, as spreadsheets write it.

    Raises:
        DataError: the file cannot be read, or is not a CSV file.
    """
    csv.field_size_limit(1 << 24)  # a row of pixels exceeds csv's default limit
    try:
        with path.open("rb") as start:
            # Excel's 'Unicode text' is UTF-16 with a byte order mark.
            wide = start.read(2) in (b"\xff\xfe", b"\xfe\xff")
        # The byte order mark would become part of the first column's name (utf-8-sig drops it).
        # newline: the csv module treats line breaks inside quotes itself.
        with path.open(newline="", encoding="utf-16" if wide else "utf-8-sig") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (UnicodeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a CSV file in UTF-8: {error}", hint="save it as CSV, UTF-8"
        ) from error
