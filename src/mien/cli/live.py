"""`mien live`: predictions on a camera's frames as they arrive."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import (
    BlurFaces,
    DetectEvery,
    Detector,
    MinConfidence,
    PredictionModel,
    Smooth,
    SmoothSeconds,
    Threads,
)
from mien.errors import counted
from mien.predict.detectors import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.sinks.base import Sink

Source = Annotated[
    str | None,
    typer.Argument(
        help="Stream address (rtsp://, http://) or video file to play, instead of a camera."
    ),
]
Camera = Annotated[int, typer.Option("--camera", min=0, help="Camera number, 0 or more.")]
Headless = Annotated[
    bool, typer.Option("--headless", help="Open no window; print rows as JSON lines.")
]
Folder = Annotated[
    Path,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Folder for snapshots and recordings, created when first needed.",
    ),
]

Lsl = Annotated[
    str | None,
    typer.Option(
        "--lsl",
        metavar="NAME",
        help="Also send readings as streams of the Lab Streaming Layer with this name.",
    ),
]


def live(
    source: Source = None,
    camera: Camera = 0,
    headless: Headless = False,
    folder: Folder = Path("live"),
    lsl: Lsl = None,
    blur_faces: BlurFaces = False,
    detect_every: DetectEvery = None,
    smooth: Smooth = "exponential",
    smooth_seconds: SmoothSeconds = 0.15,
    model: PredictionModel = None,
    detector: Detector = DEFAULT,
    min_confidence: MinConfidence = None,
    threads: Threads = 0,
) -> None:
    """Show a camera's image with predicted expressions; frames are dropped to keep up with it.

    Keys: p pause, s snapshot, r record, q quit. Only s and r store images.
    """
    from mien.reader import Reader
    from mien.video.live import LiveWindow, run_live
    from mien.video.plan import VideoSettings
    from mien.video.sinks.row_stream import RowStream
    from mien.video.sources import list_sources

    reader = Reader(model, detector=detector, min_confidence=min_confidence, threads=threads)
    settings = VideoSettings(
        # Between two detections a new face would be shown without a blur.
        detect_every=1 if blur_faces and detect_every is None else detect_every,
        smooth=smooth, smooth_s=smooth_seconds, min_confidence=min_confidence,
    )  # fmt: skip
    spec = f"camera:{camera}" if source is None else source
    one = next(iter(list_sources([spec], warn=_note)))
    session = reader.session(settings=settings)
    outlets = _outlets(lsl, session.labels)
    if headless:
        # Flushed after each frame: the reader of a pipe wants each frame at once.
        rows = RowStream(sys.stdout, "json", session.labels, flush=True)
        run_live(session, one, [rows, *outlets])
        return
    from mien.video.window import TkWindow

    with closing(TkWindow(f"mien - {one.name}")) as window:
        shown = LiveWindow(window, folder, blur=blur_faces, say=_note)
        run_live(session, one, [shown, *outlets])
    count = shown.count
    _note(f"{counted(count.frames, 'frame')} in {count.seconds:.1f} s, {count.rate:.1f} per second")


def _outlets(lsl: str | None, labels: Sequence[str]) -> list[Sink]:
    if lsl is None:
        return []
    from mien.video.sinks.lsl import LslOutlet

    return [LslOutlet(lsl, labels)]


def _note(text: str) -> None:
    typer.echo(text, err=True)
