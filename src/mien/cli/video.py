"""`mien video`: videos, cameras and streams to tables, images and reports."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli import engine_options as engines
from mien.cli import exit_codes
from mien.cli import options as shared
from mien.cli import video_options as options
from mien.cli.paths import similar_file
from mien.cli.people_request import PeopleRequest
from mien.cli.remote import local_output
from mien.cli.render import Column, make_table, print_table, right_aligned
from mien.errors import ConfigError, SourceError, counted
from mien.predict.detectors import DEFAULT
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.reader import Reader
    from mien.video.frame import FrameResult
    from mien.video.people.folder import PeopleFolder
    from mien.video.session import Session
    from mien.video.sinks.outputs import OutputFolder, OutputOptions
    from mien.video.sinks.resume import ResumePoint
    from mien.video.sources import Source
    from mien.video.summary import Summary


def video(
    sources: options.Sources,
    as_json: options.AsJson = False,
    as_csv: options.AsCsv = False,
    out: options.Out = None,
    rows: options.RowFormat = "csv",
    annotate: options.Annotate = False,
    timeline: options.Timeline = False,
    report: options.Report = False,
    blur_faces: options.BlurFaces = False,
    no_images: options.NoImages = False,
    people: options.People = False,
    keep_embeddings: options.KeepEmbeddings = False,
    resume: options.Resume = False,
    start: options.Start = 0.0,
    end: options.End = None,
    every: options.Every = 1,
    fps: options.Fps = None,
    detect_every: options.DetectEvery = None,
    read_every: options.ReadEvery = None,
    smooth: shared.Smooth = "exponential",
    smooth_seconds: shared.SmoothSeconds = 0.15,
    segments: options.Segments = "labels",
    lost_seconds: options.LostSeconds = 1.0,
    size: options.Size = None,
    rate: options.Rate = None,
    model: shared.PredictionModel = None,
    detector: shared.Detector = DEFAULT,
    min_confidence: shared.MinConfidence = None,
    prior: shared.Prior = "",
    threads: shared.Threads = 0,
    engine: engines.EngineName = "",
    workers: engines.Workers = 0,
    address: engines.Address = "",
    engine_set: engines.EngineSet = [],
    split_seconds: options.SplitSeconds = 300.0,
) -> None:
    """Track faces through videos and classify their expressions over time, on this machine.

    Prints a summary, or rows, one per face and frame; --out writes both while it runs. Exit code:
    0 done, 3 where some source shows no face, 1 where some could not be read to their end."""
    files = _wanted_files(rows, annotate, timeline, report, blur_faces, not no_images)
    request = engines.EngineRequest(engine, workers, address, engine_set, out, resume, threads)
    kind = _check(files, request, (size, rate), as_json=as_json, as_csv=as_csv)
    finding = PeopleRequest.checked(people, keep_embeddings, request)
    session = _session((model, detector, min_confidence, prior, request.reader_threads),
                       (start, end, every, fps), (detect_every, read_every), blur_faces,
                       (smooth, smooth_seconds), lost_seconds, segments)  # fmt: skip
    raise typer.Exit(_start(session, sources, kind, request, files, (size, rate), model,
                            split_seconds, finding))  # fmt: skip


def _session(
    reader: tuple[Path | None, str, float | None, str, int],
    selection: tuple[float, float | None, int, float | None],
    every: tuple[int | None, int | None],
    blur: bool,
    smooth: tuple[str, float],
    lost_s: float,
    segments: str,
) -> Session:
    """Return the session of these options; models are loaded."""
    from mien.predict.prior import parse_prior
    from mien.reader import Reader
    from mien.video.plan import VideoSettings
    from mien.video.select import Selection

    model, detector, min_confidence, prior, threads = reader
    made = Reader(model, detector=detector, min_confidence=min_confidence,
                  prior=parse_prior(prior), threads=threads)  # fmt: skip
    detect_every, read_every = every
    detect_every = 1 if blur and detect_every is None else detect_every  # misses no face
    settings = VideoSettings(detect_every, read_every, smooth=smooth[0], smooth_s=smooth[1],
                             lost_s=lost_s)  # fmt: skip
    return made.session(selection=Selection(*selection), settings=settings, segments=segments)


def _start(
    session: Session,
    sources: list[str],
    kind: str,
    request: engines.EngineRequest,
    files: OutputOptions,
    raw: tuple[str | None, float | None],
    model: Path | None,
    split_seconds: float,
    people: PeopleRequest,
) -> int:
    """Read the sources, on an engine where one is asked for; return the exit code."""
    with local_output(request.out, resume=request.resume, new=bool(request.name)) as folder:
        if not request.name:
            return _run(session, sources, kind, folder, files, request.resume, raw, people)
        from mien.cli.engine import video_on_engine  # here: one video needs no engine

        request = replace(request, out=folder)
        return video_on_engine(session, sources, request, model, split_seconds)


def _wanted_files(
    rows: str, annotate: bool, timeline: bool, report: bool, blur: bool, images: bool
) -> OutputOptions:
    """Return the files to write: also an annotated video if only --blur-faces asks for images."""
    from mien.video.sinks.outputs import OutputOptions

    annotate = annotate or (blur and images and not (timeline or report))
    return OutputOptions(rows, annotate, timeline, report, blur, images)


def read_videos(reader: Reader, paths: list[Path], kind: str, annotate: Path | None) -> int:
    """Read videos for `mien predict`, with default settings; return the exit code."""
    from mien.video.sinks.outputs import OutputOptions

    return _run(reader.session(), paths, kind, annotate, OutputOptions(annotate=True))


def _check(
    files: OutputOptions,
    request: engines.EngineRequest,
    raw: tuple[str | None, float | None],
    *,
    as_json: bool,
    as_csv: bool,
) -> str:
    """Refuse options that contradict each other, before a model is loaded; return what to print."""
    request.check(
        False, json=as_json, csv=as_csv, size=raw[0], rate=raw[1], blur_faces=files.blur,
        annotate=files.annotate, timeline=files.timeline, report=files.report,
        format=files.rows not in ("csv", "parquet"),
    )  # fmt: skip
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", hint="choose one")
    images = files.annotate or files.timeline or files.report
    if request.out is None and (images or request.resume):
        raise ConfigError("images, reports and --resume need a folder", hint="give --out DIR")
    return "json" if as_json else "csv" if as_csv else "table"


def _run(
    session: Session,
    specs: Sequence[str | Path],
    kind: str,
    out: Path | None,
    files: OutputOptions,
    resume: bool = False,
    raw: tuple[str | None, float | None] = (None, None),
    people: PeopleRequest = PeopleRequest(),
) -> int:
    """Read sources into a folder, or print them; return the exit code."""
    from mien.video.sinks.outputs import OutputFolder
    from mien.video.sources import RawFormat, list_sources

    sources = list_sources(specs, raw=RawFormat.parse(*raw), warn=_say)
    runner = _Runner(session)
    if out is not None:
        found = people.start(out, _say, resume)
        runner.write(sources, OutputFolder(out, files, runner.settings), resume, found)
        if found is not None:
            people.finish(found)
    else:
        runner.show(sources, kind)
    return runner.exit_code


def _say(text: str) -> None:
    typer.echo(text, err=True)


class _Runner:
    """Runs one session after another, and counts the sources that went wrong."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unreadable = self._faceless = 0

    @property
    def settings(self) -> dict[str, Any]:
        """How sources are read, as JSON types: only rows that agree in it are resumed."""
        session = self._session
        return {
            "model": session.classifier.info.to_metadata(),
            "detector": session.detector.name,
            "settings": asdict(session.settings),
            "selection": asdict(session.selection),
        }

    @property
    def exit_code(self) -> int:
        if self._unreadable:
            return exit_codes.FAILURE
        return exit_codes.FACELESS if self._faceless else 0

    def write(
        self,
        sources: Iterable[Source],
        folder: OutputFolder,
        resume: bool,
        people: PeopleFolder | None = None,
    ) -> None:
        """Write the files of each source; collect the faces of its tracks for `people`."""
        labels = self._session.labels
        for source in sources:
            path = folder.name(source)
            if resume and folder.is_done(source, path):
                _say(f"done already: {source.name}")
                continue
            point = self._resume_point(source, folder, path) if resume else None
            sinks = folder.sinks(source, path, labels, point)
            if people is not None:
                sinks.append(people.collector(source, resumed=point is not None))
            summary = self._read(source, sinks, point)
            if summary is not None:
                _say(f"{_in_words(summary.to_dict())}; written to {path}.*")

    def _resume_point(self, source: Source, folder: OutputFolder, path: Path) -> ResumePoint | None:
        """Return where to resume a source, and tell the user."""
        error = folder.earlier_error(source, path)
        if error is not None:
            _say(f"read again from the start: {source.name} (the earlier run ended with: {error})")
        point = folder.resume_point(source, path, self._session.settings, self._session.labels)
        if point is not None:
            _say(f"resuming {source.name} after frame {point.last:,}")
        elif folder.was_cut_off(path):
            _say(f"the earlier run was cut off; read again from the start: {source.name}")
        return point

    def show(self, sources: Iterable[Source], kind: str) -> None:
        """Print the rows ('csv' or 'json') or the summary ('table') of each source."""
        from mien.video.sinks.row_stream import RowStream

        labels = self._session.labels
        for number, source in enumerate(sources):
            sinks: list[Sink] = []
            if kind != "table":
                # Rows of a live source must arrive at once; for files, flushing each frame only
                # costs time.
                stream = RowStream(sys.stdout, kind, labels, flush=source.live)
                # One header for all sources: their rows are one table.
                if number == 0:
                    sys.stdout.write(stream.header)
                sinks.append(stream)
            summary = self._read(source, sinks)
            if summary is None:
                continue
            if kind == "table":
                _print_tracks(summary.to_dict(), labels)
            else:
                _say(_in_words(summary.to_dict()))
        sys.stdout.flush()

    def _read(
        self, source: Source, sinks: list[Sink], resume: ResumePoint | None = None
    ) -> Summary | None:
        """Run the session on a source; None where nothing of it can be read."""
        if sys.stderr.isatty():
            sinks = [*sinks, _Progress(source.name)]
        try:
            summary = self._session.run(source, sinks, resume)
        except SourceError as error:  # one bad source does not end the others
            self._report(error, source)
            return None
        # A video without a face is a result, not an error: it is counted for exit code 3.
        self._faceless += not summary.has_faces
        if summary.error is not None:
            self._report(summary.error, source)
        return summary

    def _report(self, error: SourceError, source: Source) -> None:
        self._unreadable += 1
        _say(f"unreadable: {error.message}; {error.hint}{similar_file(source.name)}")


class _Progress(Sink):
    """Shows the newest frame's number and time on a terminal."""

    needs_pixels = False

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(name)
        self._name, self._count = name, 0

    # It shows the newest frame only: a resumed session has nothing to rebuild for it.
    @property
    def resumable(self) -> bool:
        return True

    def open(self) -> None:
        self._bar.start()

    def write(self, result: FrameResult) -> None:
        self._count += 1
        text = f"{self._name}  frame {self._count:,}, {result.reading.time_s:,.1f} s"
        self._bar.update(self._task, description=text)

    def close(self, summary: Summary) -> None:
        self._bar.stop()

    def abort(self) -> None:
        self._bar.stop()


def _in_words(summary: dict[str, Any]) -> str:
    seconds = summary["end_s"] - summary["start_s"]
    parts = [
        counted(summary["frames"], "frame"),
        *([f"{seconds:.1f} s"] if seconds else []),  # an image has no duration
        counted(len(summary["tracks"]), "track"),
    ]
    return f"{summary['source']}: {', '.join(parts)}"


def _print_tracks(summary: dict[str, Any], labels: Sequence[str]) -> None:
    from rich.console import Console

    from mien.video.summary import order

    # Whoever reads a pipe wants one line per track, however many labels the model has.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 500)
    console.print(_in_words(summary), soft_wrap=True)
    if not summary["tracks"]:
        return
    # Every label has a column, also one that nobody showed, so that two tables can be compared.
    names, rows = order(labels), []
    for track in summary["tracks"]:
        fractions = [f"{track['fraction_of_time'].get(name, 0):.0%}" for name in names]
        valence = track["mean_valence"]
        times = (f"{track[k]:.1f} s" if track["seen_s"] else "" for k in ("first_s", "seen_s"))
        mean = "" if valence is None else f"{valence:+.2f}"
        rows.append([str(track["track"]), *times, *fractions, mean])
    columns = [Column("track"), *right_aligned("from", "seen", *names, "valence")]
    print_table(make_table(columns, rows))
