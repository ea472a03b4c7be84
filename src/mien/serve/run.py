"""Server process: runs uvicorn with the app, in one or several workers."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager, suppress
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from mien.errors import ConfigError
from mien.serve.app import create_app
from mien.serve.catalog import Catalog
from mien.serve.metrics import SHARED
from mien.serve.protocol import HeaderTimeoutProtocol
from mien.serve.store import Store, exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from mien.serve.settings import ServerSettings

log = logging.getLogger("mien.serve")

SHUTDOWN_S = 30
"""Seconds that accepted requests have to finish after SIGTERM."""
BACKLOG = 4096
"""Connections waiting to be accepted; the system may allow fewer (net.core.somaxconn)."""
OPEN_FILES = 65_536
"""Desired limit of open files: each connection is one, and the usual soft limit is 1,024."""
MIN_OPEN_FILES = 2 * 1024
"""Below this limit the log has a warning."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish accepted requests.

    Raises:
        ConfigError: the address cannot be bound, or another server uses the data folder.
        ModelFileError: a model cannot be loaded.
    """
    store = Store(settings.data)
    # Before any worker starts: `recover` would requeue the running jobs of another server.
    with exclusive_lock(settings.data):
        store.recover()
        store.close()
        with _shared_metrics(settings.workers):
            _listen(settings)


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Let several workers share their metrics, through a temporary folder."""
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="mien-metrics-") as folder:
        os.environ[SHARED] = folder
        yield


def _listen(settings: ServerSettings) -> None:
    # Loaded here also for several workers: an error in a worker would be a traceback, repeated.
    catalog = Catalog.load(settings.models)
    own = partial(create_app, settings, catalog) if settings.workers == 1 else None
    config = make_config(settings, own)
    raise_file_limit()
    with bound_socket(settings.host, settings.port) as bound:
        log.info("serving on http://%s:%d", settings.host, bound.getsockname()[1])
        try:
            if settings.workers > 1:
                Multiprocess(config, sockets=[bound]).run()
            else:
                uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            return  # uvicorn shut down gracefully, then raises the signal again


def raise_file_limit(wanted: int = OPEN_FILES) -> int | None:
    """Raise the limit of open files of this process and its workers, as far as the system allows.

    Args:
        wanted: desired limit; a higher one is kept.

    Returns:
        The new limit; None if the system has none (Windows).
    """
    try:
        import resource
    except ModuleNotFoundError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    target = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < target:
        with suppress(OSError, ValueError):  # macOS allows fewer than its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != unlimited and soft < MIN_OPEN_FILES:
        log.warning(
            "the limit of open files is %d; with as many concurrent clients, further ones get "
            "no response (raise it with ulimit -n)", soft,
        )  # fmt: skip
    return soft


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket: early clients wait in its queue until the workers are ready.

    Raises:
        ConfigError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="check that the address belongs to this machine, or choose another port",
        ) from error
    bound.set_inheritable(True)  # worker processes accept on the same socket
    return bound


def make_config(
    settings: ServerSettings, app: Callable[[], ASGIApp] | None = None
) -> uvicorn.Config:
    """Return uvicorn's configuration: own log, no version in headers, bounded sizes.

    Args:
        settings: settings of the server.
        app: app factory, called in each worker; None uses `create_app`.
    """
    return uvicorn.Config(
        app or partial(create_app, settings),
        factory=True,
        http=HeaderTimeoutProtocol,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=LOGGING,
        access_log=False,  # it would log client addresses and query strings
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy,
        backlog=BACKLOG,
        timeout_keep_alive=30,  # longer than the pause between two images of a slow client
        timeout_graceful_shutdown=SHUTDOWN_S,
        # A worker responds only after all imports; with the default of 5 s a busy machine would
        # kill each worker while it starts.
        timeout_worker_healthcheck=60,
        ws_max_size=4_000_000,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # JPEG cannot be compressed further
    )


class _Handshake(logging.Filter):
    """Drops uvicorn's error about each WebSocket that is refused with an HTTP response."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing handshake" not in record.getMessage()


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "filters": {"handshake": {"()": _Handshake}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["handshake"],
        }
    },
    "loggers": {
        "mien.serve": {"handlers": ["stderr"], "level": logging.INFO, "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": logging.ERROR, "propagate": False},
    },
}
