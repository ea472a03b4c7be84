"""What a server is told at its start: limits, and everything else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from mien.errors import ConfigError
from mien.model.runtime import cores

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for. All are `mien serve` options: `--max-body-mb` and so on.

    Attributes:
        body_mb: of a request with images, in million bytes.
        video_mb: of a video.
        pixels_mp: of an image or a video's frame, in million pixels; read in the header, before
            anything is decoded.
        files: images in a request.
        faces: read in an image; the surest are kept.
        seconds: for one request, from its first byte to its answer.
        requests: that are answered at once; more get 503. Bounds every queue there is.
        wait: seconds that an image may have to wait, by what the last ones took; where it would
            be more, the request gets 503 at once.
        memory_mb: of request bodies held at once; more get 503.
        rate: requests a second of one client's address; 0 counts none. More get 429.
        jobs: videos that wait or run; more get 503.
        jobs_at_once: videos read at once.
        job_minutes: of reading for one video.
        keep_minutes: that a finished video's result is kept.
        live: cameras at once; more get 503.
        window_ms: that faces wait for those of other clients, to be classified together.
    """

    body_mb: float = 20.0
    video_mb: float = 500.0
    pixels_mp: float = 40.0
    files: int = 32
    faces: int = 100
    seconds: float = 30.0
    requests: int = 128
    wait: float = 3.0
    memory_mb: float = 512.0
    rate: float = 100.0
    jobs: int = 32
    jobs_at_once: int = 1
    job_minutes: float = 60.0
    keep_minutes: float = 60.0
    live: int = 8
    window_ms: float = 3.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            may_be_zero = one.name in ("rate", "window_ms")
            if not (value > 0 or (may_be_zero and value == 0)):
                raise ConfigError(
                    f"--max-{one.name.replace('_', '-')} must be above 0, got {value}",
                    hint=f"leave it out for {one.default}",
                )

    @property
    def body_bytes(self) -> int:
        """Of a request with images."""
        return round(self.body_mb * 1e6)

    @property
    def video_bytes(self) -> int:
        """Of a video."""
        return round(self.video_mb * 1e6)

    @property
    def pixels(self) -> int:
        """Of an image or frame."""
        return round(self.pixels_mp * 1e6)


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one server; travels to its worker processes.

    Attributes:
        host: address to bind to.
        port: to bind to.
        models: (name, file) of models beside the shipped ones; a name of '' takes the model's own.
            The first is the default.
        workers: processes.
        threads: images read at once in a process; 0 shares the processor's cores out.
        token: that clients must send; None lets everybody in.
        data: folder for waiting videos and their results.
        origins: of web pages elsewhere that may call; none by default.
        hosts: names that this server may be called by; empty takes loopback's own names on
            loopback, and any elsewhere.
        proxy: address of a reverse proxy whose X-Forwarded-For is believed.
        limits: see there.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[tuple[str, Path], ...] = ()
    workers: int = 1
    threads: int = 0
    token: str | None = field(default=None, repr=False)
    data: Path = Path("mien-data")
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    proxy: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port must be 0 to 65535, got {self.port}", hint="0 takes any")
        if self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.workers}", hint="try 1")
        if self.threads < 0:
            raise ConfigError(f"--threads must not be negative, got {self.threads}", hint="try 0")
        if self.token is not None and not (self.token.isascii() and self.token.strip()):
            raise ConfigError(
                "the token must be some ASCII characters",
                hint="make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
            )
        if any(not o.startswith(("http://", "https://")) for o in self.origins):
            raise ConfigError(
                f"--origin must begin with http:// or https://, got {', '.join(self.origins)}",
                hint="for example https://example.org",
            )

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Names in the Host header that are answered; empty answers all."""
        if self.host in LOOPBACK:
            # A page elsewhere can let its own name lead to 127.0.0.1; its Host header tells.
            return (*LOOPBACK, "[::1]", *self.hosts)
        return self.hosts

    @property
    def images_at_once(self) -> int:
        """Threads that find faces, in each process."""
        return self.threads or max(1, cores() // self.workers)


def default_data() -> Path:
    """Return the private folder of state that belongs to this user."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "mien" / "serve"
