"""`mien predict` and `mien video` on an engine: from the command line to a dataset of rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli import exit_codes
from mien.cli.engine_options import engine_progress
from mien.cli.paths import print_problems
from mien.errors import ConfigError, counted
from mien.files import sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.cli.engine_options import EngineRequest
    from mien.cli.paths import InputPaths
    from mien.cli.predict_options import ReaderOptions
    from mien.video.session import Session


def predict_on_engine(inputs: InputPaths, options: ReaderOptions, request: EngineRequest) -> int:
    """Read images on an engine into a dataset; return the exit code."""
    from mien.scale.images import read_images_on
    from mien.scale.registry import make_engine

    folder = request.folder()
    if inputs.videos or inputs.stdin_at is not None:
        what = "videos are read by mien video" if inputs.videos else "standard input is one image"
        raise ConfigError(f"--engine reads image files; {what}", hint="give files or folders")
    reader = options.make_reader()
    engine = make_engine(request.options(folder))
    settings = {
        "labels": list(reader.classifier.info.labels), "faces": options.faces,
        "min_confidence": options.min_confidence, "coverage": options.coverage,
        "prior": options.prior, "rotate": options.rotate,
    }  # fmt: skip
    with engine_progress("batches of images") as progress:
        manifest = read_images_on(
            engine, reader, inputs.images, folder, settings=settings,
            model_sha256=_model_sha256(options.model), resume=request.resume, progress=progress,
        )  # fmt: skip
    counts = manifest["counts"]
    _print_failed(manifest)
    typer.echo(
        f"{counted(counts['images'], 'image')}, {counted(counts['faces'], 'face')}, "
        f"{counts['without_a_face']:,} without a face, {counts['unreadable']:,} unreadable"
        f"{_crashed(counts)}; written to {folder}",
        err=True,
    )
    return _exit_code(counts)


def video_on_engine(
    session: Session,
    specs: Sequence[str],
    request: EngineRequest,
    model: Path | None,
    split_seconds: float,
) -> int:
    """Read videos on an engine into a dataset; return the exit code."""
    from mien.scale.registry import make_engine
    from mien.scale.videos import read_videos_on

    folder = request.folder()
    videos = _videos(specs)
    engine = make_engine(request.options(folder, items_per_job=2))
    with engine_progress("parts of videos") as progress:
        manifest = read_videos_on(
            engine, session, videos, folder, split_seconds=split_seconds,
            model_sha256=_model_sha256(model), resume=request.resume, progress=progress,
        )  # fmt: skip
    counts = manifest["counts"]
    _print_failed(manifest)
    typer.echo(
        f"{counted(counts['videos'], 'video')}, {counted(counts['frames'], 'frame')}, "
        f"{counts['without_a_face']:,} without a face, {counts['unreadable']:,} not read to their "
        f"end{_crashed(counts)}; written to {folder}",
        err=True,
    )
    return _exit_code(counts)


def _videos(specs: Sequence[str]) -> list[str]:
    from mien.video.sources import list_sources

    videos = []
    for source in list_sources(specs):
        if source.path is None:
            raise ConfigError(
                f"--engine reads files, and {source.name} is a live source or a stream",
                hint="read it without --engine",
            )
        videos.append(source.name)
    return videos


def _model_sha256(model: Path | None) -> str:
    from mien.model.resolve import model_content

    return sha256(model_content(model)[0])


def _print_failed(manifest: dict[str, Any]) -> None:
    print_problems("unreadable", [record["error"] for record in manifest["failed"]])


def _crashed(counts: dict[str, int]) -> str:
    if not counts["crashed"]:
        return ""
    return f" (of which {counts['crashed']:,} took their worker with them)"


def _exit_code(counts: dict[str, int]) -> int:
    if counts["unreadable"]:
        return exit_codes.FAILURE
    return exit_codes.FACELESS if counts["without_a_face"] else 0
