"""Settings of a server: its limits, and everything else. Checked once, when they are made."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from mien.errors import ConfigError
from mien.model.runtime import cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ModelWrapValidatorHandler
    from pydantic_core import ErrorDetails

T = TypeVar("T")

LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Misspelled settings are errors; limits are finite, so that everything a client sends is bounded.
_STRICT = ConfigDict(allow_inf_nan=False, extra="forbid")

# A limit of 0 would refuse every request; only the rate limit and the batching wait can be off.
_AboveZero = Annotated[float, Field(gt=0)]
_ZeroOrMore = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Limits:
    """What a client may ask for. Each is a `mien serve` option: `--max-body-mb` and so on.

    Attributes:
        body_mb: maximum size of a request with images, in million bytes.
        video_mb: maximum size of a video, in million bytes.
        pixels_mp: maximum size of an image or a video frame, in megapixels; checked in the header,
            before anything is decoded.
        files: maximum images per request.
        faces: maximum faces per image, highest detection score first.
        seconds: maximum time for one request, from its first byte to its answer.
        requests: maximum concurrent requests; more get 503. This bounds every queue of the server.
        wait: maximum expected waiting time of an image, in seconds, estimated from the time that
            recent images took; where it would be longer, the request gets 503 at once.
        memory_mb: maximum memory for all request bodies, in million bytes; more get 503.
        rate: maximum requests per second from one client address; 0 disables the limit. More
            get 429.
        jobs: maximum videos that are queued or running; more get 503.
        jobs_at_once: videos processed concurrently.
        job_minutes: maximum processing time of one video, in minutes.
        keep_minutes: how long the result of a finished video is kept, in minutes.
        live: maximum concurrent cameras; more get 503.
        window_ms: how long faces wait for faces of other clients, to be classified in one batch,
            in milliseconds; 0 disables the wait.

    Raises:
        ConfigError: a value out of range.
    """

    body_mb: _AboveZero = 20.0
    video_mb: _AboveZero = 500.0
    pixels_mp: _AboveZero = 40.0
    files: _Count = 32
    faces: _Count = 100
    seconds: _AboveZero = 30.0
    requests: _Count = 128
    wait: _AboveZero = 3.0
    memory_mb: _AboveZero = 512.0
    rate: _ZeroOrMore = 100.0
    jobs: _Count = 32
    jobs_at_once: _Count = 1
    job_minutes: _AboveZero = 60.0
    keep_minutes: _AboveZero = 60.0
    live: _Count = 8
    window_ms: _ZeroOrMore = 3.0

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, values: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        return _explained("limits.", values, make)

    @property
    def body_bytes(self) -> int:
        """Maximum size of a request with images, in bytes."""
        return round(self.body_mb * 1e6)

    @property
    def video_bytes(self) -> int:
        """Maximum size of a video, in bytes."""
        return round(self.video_mb * 1e6)

    @property
    def pixels(self) -> int:
        """Maximum number of pixels of an image or frame."""
        return round(self.pixels_mp * 1e6)


@dataclass(frozen=True, slots=True, config=_STRICT)
class ServerSettings:
    """Settings of one server; they are pickled for its worker processes.

    Attributes:
        host: address to bind to.
        port: port to bind to, 0 to 65535; 0 takes any free port.
        models: (name, file) of models served besides the shipped ones; an empty name takes the name
            in the model's file. The first model is the default.
        workers: number of worker processes, 1 or more.
        threads: images processed concurrently per worker; 0 divides the CPU cores among workers.
        token: bearer token that clients must send, ASCII; None disables authentication.
        data: folder for queued videos and their results.
        origins: origins of web pages on other servers that may call this one (CORS).
        hosts: accepted host names; where empty, a server on loopback accepts loopback names only,
            and any other server accepts every name.
        proxy: address of a trusted reverse proxy, whose X-Forwarded-For is used.
        limits: what a client may ask for.

    Raises:
        ConfigError: a value out of range.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    models: tuple[tuple[str, Path], ...] = ()
    workers: _Count = 1
    threads: Annotated[int, Field(ge=0)] = 0
    token: str | None = field(default=None, repr=False)
    data: Path = Path("mien-data")
    origins: tuple[Annotated[str, Field(pattern="^https?://")], ...] = ()
    hosts: tuple[str, ...] = ()
    proxy: str | None = None
    limits: Limits = field(default_factory=Limits)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, values: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        return _explained("", values, make)

    def __post_init__(self) -> None:
        # Not a Field: pydantic's error would hold the token, which must not be shown.
        if self.token is not None and not (self.token.isascii() and self.token.strip()):
            raise ConfigError(
                "token: must be one or more ASCII characters, not only spaces",
                hint="generate one: python -c 'import secrets; print(secrets.token_urlsafe())'",
            )

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Values of the Host header that are accepted; empty accepts all."""
        if self.host in LOOPBACK:
            # DNS rebinding: a web page elsewhere can point its own name at 127.0.0.1, and only the
            # Host header shows it.
            return (*LOOPBACK, "[::1]", *self.hosts)
        return self.hosts

    @property
    def images_at_once(self) -> int:
        """Number of detection threads in each worker process."""
        return self.threads or max(1, cores() // self.workers)


def default_data() -> Path:
    """Return this user's private folder for the server's state."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "mien" / "serve"


def _explained(prefix: str, values: Any, make: ModelWrapValidatorHandler[T]) -> T:
    """Return the validated settings; turn pydantic's first error into a ConfigError."""
    try:
        return make(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = prefix + ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{name}: {first['input']!r} {_reason(first)}",
            hint=f"give {name} an allowed value, or leave it out for its default",
        ) from None


def _reason(error: ErrorDetails) -> str:
    """Return why a value was refused and what is allowed, from the constraint that failed."""
    bounds: Mapping[str, Any] = error.get("ctx", {})
    if error["loc"][-1] == "port" and bounds.keys() & {"ge", "le"}:
        return "is out of range 0 to 65535"
    if "gt" in bounds:
        return f"is out of range: must be above {bounds['gt']:g}"
    if "ge" in bounds:
        return f"is out of range: must be {bounds['ge']:g} or more"
    if "pattern" in bounds:
        return "is invalid: must start with http:// or https://"
    return f"is invalid: {error['msg'][:1].lower()}{error['msg'][1:]}"
