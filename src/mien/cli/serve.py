"""`mien serve`."""

from __future__ import annotations

from pathlib import Path

import typer

from mien.cli.extras import needs


def serve(
    host: str = typer.Option("127.0.0.1", "--host", help="Address; 0.0.0.0 lets others in."),
    port: int = typer.Option(8000, "--port", help="0 takes any that is free."),
    models: list[str] = typer.Option(
        [],
        "--models",
        help="FILE or NAME=FILE, again and again; the first is the default; the shipped follow.",
    ),
    workers: int = typer.Option(1, "--workers", help="Processes."),
    threads: int = typer.Option(
        0, "--threads", help="Images read at once in each process; 0 shares the cores out."
    ),
    token: str | None = typer.Option(
        None, "--token", envvar="MIEN_TOKEN", help="That clients must send; better in MIEN_TOKEN."
    ),
    data: Path | None = typer.Option(
        None, "--data", help="Folder for videos that wait and their results."
    ),
    origin: list[str] = typer.Option([], "--origin", help="Of a page elsewhere that may call."),
    allow_host: list[str] = typer.Option([], "--allow-host", help="Another name of this server."),
    proxy: str | None = typer.Option(None, "--proxy", help="Address of a trusted reverse proxy."),
    max_body_mb: float = typer.Option(20, "--max-body-mb", help="Of a request with images."),
    max_video_mb: float = typer.Option(500, "--max-video-mb", help="Of a video."),
    max_pixels_mp: float = typer.Option(40, "--max-pixels-mp", help="Megapixels of an image."),
    max_files: int = typer.Option(32, "--max-files", help="Images in a request."),
    max_faces: int = typer.Option(100, "--max-faces", help="Read in an image, the surest."),
    max_seconds: float = typer.Option(30, "--max-seconds", help="For a request."),
    max_requests: int = typer.Option(128, "--max-requests", help="Answered at once."),
    max_wait: float = typer.Option(3, "--max-wait", help="Seconds; with more ahead, 503 at once."),
    max_memory_mb: float = typer.Option(512, "--max-memory-mb", help="Of uploads held at once."),
    max_rate: float = typer.Option(100, "--max-rate", help="Requests a second and client; 0: any."),
    max_jobs: int = typer.Option(32, "--max-jobs", help="Videos that wait or run."),
    max_jobs_at_once: int = typer.Option(1, "--max-jobs-at-once", help="Videos read at once."),
    max_job_minutes: float = typer.Option(60, "--max-job-minutes", help="For a video."),
    max_keep_minutes: float = typer.Option(60, "--max-keep-minutes", help="Results are kept."),
    max_live: int = typer.Option(8, "--max-live", help="Cameras at once."),
    max_window_ms: float = typer.Option(3, "--max-window-ms", help="Faces wait for a batch."),
) -> None:
    """Serve images, videos and cameras over HTTP, with a web page at /. Ctrl-C ends it."""
    with needs("serve", "the server"):
        from mien.serve.run import serve as run
        from mien.serve.settings import Limits, Settings, default_data

    limits = Limits(
        body_mb=max_body_mb, video_mb=max_video_mb, pixels_mp=max_pixels_mp, files=max_files,
        faces=max_faces, seconds=max_seconds, requests=max_requests, wait=max_wait,
        memory_mb=max_memory_mb, rate=max_rate, jobs=max_jobs, jobs_at_once=max_jobs_at_once,
        job_minutes=max_job_minutes, keep_minutes=max_keep_minutes, live=max_live,
        window_ms=max_window_ms,
    )  # fmt: skip
    named = tuple(_named(spec) for spec in models)
    run(
        Settings(
            host, port, named, workers, threads, token, data or default_data(), tuple(origin),
            tuple(allow_host), proxy, limits,
        )
    )  # fmt: skip


def _named(spec: str) -> tuple[str, Path]:
    """Return name and file of NAME=FILE, or '' and the file."""
    name, equals, path = spec.partition("=")
    return (name, Path(path)) if equals else ("", Path(spec))
