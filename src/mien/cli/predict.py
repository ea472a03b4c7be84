"""`mien predict`: images to rows. Read `predict` first, then `_predict_images`.

From here to a written row: `predict_options.py` (arguments), `predict_output.py` (rows),
`mien/reader.py` and `mien/predict/pipeline.py`.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.cli import engine_options as engines
from mien.cli import options as shared
from mien.cli import predict_options as opt
from mien.cli.paths import STDIN, input_paths, print_skipped_videos
from mien.cli.predict_output import Tally, write_readings
from mien.cli.remote import local_output
from mien.errors import ConfigError, SourceError
from mien.predict.detectors import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.cli.paths import InputPaths
    from mien.predict.sinks.annotated import AnnotatedFolder
    from mien.reader import Reader
    from mien.types import ImageReading

MIN_FOR_PROGRESS = 8
"""With fewer images no progress bar is shown."""


def predict(
    paths: opt.Images = None,
    from_file: opt.FromFile = None,
    as_json: opt.AsJson = False,
    as_csv: opt.AsCsv = False,
    output: opt.Output = None,
    annotate: opt.Annotate = None,
    model: shared.PredictionModel = None,
    labels: opt.Labels = "",
    detector: shared.Detector = DEFAULT,
    faces: shared.FaceMode = "find",
    min_confidence: shared.MinConfidence = None,
    coverage: opt.Coverage = None,
    prior: shared.Prior = "",
    rotate: opt.Rotate = "0",
    threads: shared.Threads = 0,
    provider: opt.Provider = "cpu",
    engine: engines.EngineName = "",
    workers: engines.Workers = 0,
    address: engines.Address = "",
    engine_set: engines.EngineSet = [],
    out: engines.Dataset = None,
    resume: engines.Resume = False,
) -> int:
    """Read the expressions in images, on this machine; nothing is stored unless asked.

    In a terminal a table is printed; into a pipe or a file, one line a face, with tabs between the
    values. Exit code: 0 where every image shows a face, 3 where some show none, 1 where some
    could not be read (they are listed), 2 for a wrong command line.
    """
    request = engines.EngineRequest(engine, workers, address, engine_set, out, resume, threads)
    on_engine = request.check(json=as_json, csv=as_csv, output=output, annotate=annotate)
    options = opt.ReaderOptions(model, labels, detector, faces, min_confidence, coverage, prior,
                                rotate, request.reader_threads, provider)  # fmt: skip
    with ExitStack() as stack:
        output = stack.enter_context(local_output(output))
        annotate = stack.enter_context(local_output(annotate))
        request = replace(
            request, out=stack.enter_context(local_output(out, resume=resume, new=True))
        )
        # First of all: options that contradict each other fail before a path is looked at.
        files = opt.OutputOptions.of(output, annotate, as_json=as_json, as_csv=as_csv)
        # Before the models: a wrong path is reported at once.
        inputs = _inputs(paths, from_file)
        if on_engine:
            return _predict_on_engine(inputs, options, request)
        run = _predict_videos if inputs.videos else _predict_images
        return run(inputs, options, files)


def _inputs(paths: list[str] | None, from_file: str | None) -> InputPaths:
    if not paths and from_file is None:
        raise ConfigError(
            "missing argument 'IMAGES'",
            hint="give images or folders, or - for an image on standard input; "
            "see: mien predict --help",
        )
    return input_paths(paths or [], from_file)


def _predict_on_engine(
    inputs: InputPaths, options: opt.ReaderOptions, request: engines.EngineRequest
) -> int:
    from mien.cli.engine import predict_on_engine  # here: one image needs no engine

    return predict_on_engine(inputs, options, request)


def _predict_images(
    inputs: InputPaths, options: opt.ReaderOptions, files: opt.OutputOptions
) -> int:
    """Read the images, write a row per face, and print a summary; return the exit code."""
    from mien.predict.sinks.annotated import AnnotatedFolder

    folder = AnnotatedFolder(files.annotate) if files.annotate else None
    reader = options.make_reader()
    tally = Tally()
    readings = tally.count(_read(reader, inputs, folder))
    write_readings(readings, files, reader.classifier.info.labels, options.coverage)
    print_skipped_videos(inputs.skipped_videos)
    tally.report(files.annotate)
    return tally.exit_code


def _predict_videos(
    inputs: InputPaths, options: opt.ReaderOptions, files: opt.OutputOptions
) -> int:
    """Read videos as `mien video` does with its defaults; return the exit code."""
    if files.file is not None or options.only_images:
        raise ConfigError(
            "--output, --faces, --coverage and --rotate are for images",
            hint=f"{shlex.join(['mien', 'video', *map(str, inputs.videos)])} --out DIR",
        )
    from mien.cli.video import read_videos

    return read_videos(options.make_reader(), inputs.videos, files.form, files.annotate)


def _read(
    reader: Reader, inputs: InputPaths, folder: AnnotatedFolder | None
) -> Iterator[ImageReading]:
    """Yield the readings in order; write annotated copies where there is a folder for them."""
    at = len(inputs.images) if inputs.stdin_at is None else inputs.stdin_at
    before, after = inputs.images[:at], inputs.images[at:]
    for reading in _with_progress(reader.read_many(before), len(before)):
        if folder is not None:
            folder.append(reading)
        yield reading
    if inputs.stdin_at is None:
        return
    # At its place among the arguments, so that rows come in their order.
    reading, pixels = _read_stdin(reader)
    if folder is not None:
        folder.append(reading, pixels)
    yield reading
    for reading in _with_progress(reader.read_many(after), len(after)):
        if folder is not None:
            folder.append(reading)
        yield reading


def _read_stdin(reader: Reader) -> tuple[ImageReading, NDArray[np.uint8] | None]:
    """Return the reading of the image on standard input, and its pixels."""
    from mien.imaging.codec import decode_image
    from mien.types import ImageReading

    # Reading would wait for Ctrl-D without a word.
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


def _with_progress(readings: Iterable[ImageReading], total: int) -> Iterable[ImageReading]:
    """Show a bar on stderr where a person waits for many images."""
    if not sys.stderr.isatty() or total < MIN_FOR_PROGRESS:
        return readings
    from rich.console import Console
    from rich.progress import track

    return track(readings, "reading", total, console=Console(stderr=True), transient=True)
