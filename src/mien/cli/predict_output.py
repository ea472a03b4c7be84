"""What `mien predict` writes: rows in the form asked for, and a summary on stderr."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mien.cli import exit_codes
from mien.cli.paths import MAX_LISTED, print_problems, similar_file
from mien.cli.render import Column, make_table, print_table, tab_line
from mien.cli.streams import print_note
from mien.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.cli.predict_options import OutputOptions
    from mien.types import ImageReading


def write_readings(
    readings: Iterable[ImageReading],
    output: OutputOptions,
    labels: Sequence[str],
    coverage: float | None,
) -> None:
    """Write a row per face in the form asked for, to a file or standard output.

    Args:
        readings: consumed one by one; JSON, CSV and tabs are printed as each arrives.
        output: form and file.
        labels: of the model, in its order.
        coverage: of the prediction sets; None where there are none.
    """
    from mien.files import write_text
    from mien.predict.sinks.text import write_csv, write_json, write_jsonl

    # A file is written at the end and renamed, so that none is ever half there.
    stream: IO[str] = sys.stdout if output.file is None else io.StringIO()
    columns = _columns(labels, coverage)
    if output.form == "json":
        write_json(readings, stream)
    elif output.form == "jsonl":
        write_jsonl(readings, stream)
    elif output.form == "csv":
        write_csv(readings, labels, stream, with_sets=coverage is not None)
    # In a pipe a table of aligned columns would have to be parsed; cut and awk read tabs.
    elif output.form == "tabs" or (output.file is None and not stream.isatty()):
        stream.write(tab_line(columns))
        stream.writelines(tab_line(row) for reading in readings for row in _rows(reading))
    else:
        _write_table(readings, columns, labels, stream)
    if output.file is not None and isinstance(stream, io.StringIO):
        write_text(output.file, stream.getvalue())


def _columns(labels: Sequence[str], coverage: float | None) -> list[str]:
    sets = [] if coverage is None else [f"set ({coverage:.4g})"]
    return ["image", "expression", *labels, *sets, "box"]


def _rows(reading: ImageReading) -> Iterator[list[str]]:
    from mien.intervals import percent
    from mien.predict.folders import is_folder

    for face in reading.faces:
        probabilities = [percent(p) for p in face.probabilities.values()]
        box = " ".join(f"{v:.0f}" for v in face.box)
        sets = [] if face.prediction_set is None else [" or ".join(face.prediction_set)]
        yield [reading.source, face.label, *probabilities, *sets, box]
    if not reading.faces:
        # A folder has no image that could be unreadable.
        empty = reading.error is not None and is_folder(Path(reading.source))
        why = "no images" if empty else "unreadable" if reading.error else "no face"
        yield [reading.source, why]


def _write_table(
    readings: Iterable[ImageReading], columns: Sequence[str], labels: Sequence[str], stream: IO[str]
) -> None:
    titles = [
        Column(title, right=title in (*labels, "box"), fold=not number)
        for number, title in enumerate(columns)
    ]
    rows = (row for reading in readings for row in _rows(reading))
    print_table(make_table(titles, rows), stream)


class Tally:
    """Counts images and faces while they pass, and lists those with problems."""

    def __init__(self) -> None:
        self.images = self.faces = 0
        self.faceless: list[str] = []
        self.unreadable: list[str] = []
        self.empty: list[str] = []
        self.notes: list[str] = []

    def count(self, readings: Iterable[ImageReading]) -> Iterator[ImageReading]:
        """Yield the readings as they are, and count them."""
        from mien.predict.folders import is_folder

        for reading in readings:
            # A folder without images is no image that could not be read.
            if reading.error is not None and is_folder(Path(reading.source)):
                self.empty.append(reading.error)
                yield reading
                continue
            self.images += 1
            self.faces += len(reading.faces)
            self.notes += [f"{reading.source}: {note}" for note in reading.notes]
            if reading.error is not None:
                # Looking for a similar name lists a folder: too slow for very many files.
                like = "" if len(self.unreadable) > MAX_LISTED else similar_file(reading.source)
                self.unreadable.append(reading.error + like)
            elif not reading.faces:
                self.faceless.append(reading.source)
            yield reading

    def report(self, annotated: Path | None) -> None:
        """Print what was counted on stderr, problems first."""
        print_problems("note", self.notes)
        print_problems("no face", self.faceless)
        print_problems("unreadable", self.unreadable)
        print_problems("empty", self.empty)
        where = f"; annotated images in {annotated}" if annotated else ""
        images, faces = counted(self.images, "image"), counted(self.faces, "face")
        print_note(
            f"{images}, {faces}, {len(self.faceless)} without a face, "
            f"{len(self.unreadable)} unreadable{where}"
        )

    @property
    def exit_code(self) -> int:
        """The exit code of the command: see `mien.cli.exit_codes`."""
        if self.unreadable or self.empty:
            return exit_codes.FAILURE
        return exit_codes.FACELESS if self.faceless else 0
