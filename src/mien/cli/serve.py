"""`mien serve`: predictions over HTTP and WebSocket, with a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.extras import needs

Host = Annotated[
    str,
    typer.Option(
        "--host", help="Address to bind to; 0.0.0.0 makes the server reachable from other machines."
    ),
]
Port = Annotated[int, typer.Option("--port", help="Port, 0 to 65535 (0 = any free port).")]
Models = Annotated[
    list[str],
    typer.Option(
        "--models",
        metavar="[NAME=]FILE",
        help="ONNX model file to offer beside the shipped models; repeatable, the first is the "
        "default.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", help="Worker processes, 1 or more.")]
ImageThreads = Annotated[
    int,
    typer.Option(
        "--threads",
        help="Images processed at once in each worker process, 0 or more (0 = the cores divided "
        "by the workers).",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="MIEN_TOKEN",
        help="Bearer token that clients must send (default: none is needed). The environment "
        "variable is safer: other users can see options.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder for queued videos and their results (default: ~/.local/state/mien/serve).",
    ),
]
Origin = Annotated[
    list[str],
    typer.Option(
        "--origin",
        metavar="ADDRESS",
        help="Origin of a web page elsewhere that may call this server, http:// or https://; "
        "repeatable.",
    ),
]
AllowHost = Annotated[
    list[str],
    typer.Option(
        "--allow-host", metavar="NAME", help="Further host name of this server; repeatable."
    ),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="ADDRESS",
        help="Address of a trusted reverse proxy, whose X-Forwarded-For is believed (default: "
        "none).",
    ),
]

# Limits of a request, a client and the server; each is above 0 if not stated otherwise.
MaxBodyMb = Annotated[
    float, typer.Option("--max-body-mb", help="Maximum size of a request with images in MB.")
]
MaxVideoMb = Annotated[
    float, typer.Option("--max-video-mb", help="Maximum size of an uploaded video in MB.")
]
MaxPixelsMp = Annotated[
    float,
    typer.Option("--max-pixels-mp", help="Maximum size of an image or a frame in megapixels."),
]
MaxFiles = Annotated[int, typer.Option("--max-files", help="Maximum images per request.")]
MaxFaces = Annotated[
    int,
    typer.Option(
        "--max-faces", help="Maximum faces per image, highest detection score first."
    ),
]  # fmt: skip
MaxSeconds = Annotated[
    float,
    typer.Option(
        "--max-seconds", help="Maximum time for one request in seconds, upload included."
    ),
]  # fmt: skip
MaxRequests = Annotated[
    int, typer.Option("--max-requests", help="Maximum requests at once; more get status 503.")
]
MaxWait = Annotated[
    float,
    typer.Option(
        "--max-wait",
        help="Maximum expected time in the queue in seconds; beyond it a request gets status 503.",
    ),
]
MaxMemoryMb = Annotated[
    float,
    typer.Option("--max-memory-mb", help="Maximum memory for uploads held at once in MB."),
]
MaxRate = Annotated[
    float,
    typer.Option(
        "--max-rate",
        help="Maximum requests per second and client address, 0 or more (0 = unlimited).",
    ),
]
MaxJobs = Annotated[
    int, typer.Option("--max-jobs", help="Maximum videos that are queued or processed.")
]
MaxJobsAtOnce = Annotated[
    int, typer.Option("--max-jobs-at-once", help="Maximum videos processed at once.")
]
MaxJobMinutes = Annotated[
    float, typer.Option("--max-job-minutes", help="Maximum processing time of a video in minutes.")
]
MaxKeepMinutes = Annotated[
    float,
    typer.Option(
        "--max-keep-minutes", help="Time that a video's result is kept for download in minutes."
    ),
]
MaxLive = Annotated[int, typer.Option("--max-live", help="Maximum live cameras at once.")]
MaxWindowMs = Annotated[
    float,
    typer.Option(
        "--max-window-ms",
        help="Time that faces wait for those of other clients to form one batch in milliseconds, "
        "0 or more.",
    ),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    models: Models = [],
    workers: Workers = 1,
    threads: ImageThreads = 0,
    token: Token = None,
    data: Data = None,
    origin: Origin = [],
    allow_host: AllowHost = [],
    proxy: Proxy = None,
    max_body_mb: MaxBodyMb = 20,
    max_video_mb: MaxVideoMb = 500,
    max_pixels_mp: MaxPixelsMp = 40,
    max_files: MaxFiles = 32,
    max_faces: MaxFaces = 100,
    max_seconds: MaxSeconds = 30,
    max_requests: MaxRequests = 128,
    max_wait: MaxWait = 3,
    max_memory_mb: MaxMemoryMb = 512,
    max_rate: MaxRate = 100,
    max_jobs: MaxJobs = 32,
    max_jobs_at_once: MaxJobsAtOnce = 1,
    max_job_minutes: MaxJobMinutes = 60,
    max_keep_minutes: MaxKeepMinutes = 60,
    max_live: MaxLive = 8,
    max_window_ms: MaxWindowMs = 3,
) -> None:
    """Serve images, videos and cameras over HTTP, with a web page at /; Ctrl-C stops it."""
    with needs("serve", "the server"):
        from mien.serve.run import serve as run
        from mien.serve.settings import Limits, ServerSettings, default_data

    limits = Limits(
        body_mb=max_body_mb, video_mb=max_video_mb, pixels_mp=max_pixels_mp, files=max_files,
        faces=max_faces, seconds=max_seconds, requests=max_requests, wait=max_wait,
        memory_mb=max_memory_mb, rate=max_rate, jobs=max_jobs, jobs_at_once=max_jobs_at_once,
        job_minutes=max_job_minutes, keep_minutes=max_keep_minutes, live=max_live,
        window_ms=max_window_ms,
    )  # fmt: skip
    folder, named = data or default_data(), tuple(_name_and_file(spec) for spec in models)
    run(ServerSettings(host, port, named, workers, threads, token, folder, tuple(origin),
                 tuple(allow_host), proxy, limits))  # fmt: skip


def _name_and_file(spec: str) -> tuple[str, Path]:
    """Return name and file of NAME=FILE, or '' and the file."""
    # At the first '=': names hold none, paths may.
    name, equals, path = spec.partition("=")
    return (name, Path(path)) if equals else ("", Path(spec))
