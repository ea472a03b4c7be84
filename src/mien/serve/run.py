"""The server's process: uvicorn around the app, one or several workers."""

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
from mien.serve.catalogue import Catalogue
from mien.serve.metrics import SHARED
from mien.serve.protocol import HeaderTimeoutProtocol
from mien.serve.store import Store, alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from mien.serve.settings import Settings

log = logging.getLogger("mien.serve")

GRACE_S = 30
"""How long accepted requests may take to finish once the server is told to stop."""
BACKLOG = 4096
"""Connections that may wait to be accepted; the system may allow fewer (net.core.somaxconn)."""
FILES = 65_536
"""Open files wanted: each connection is one, and many systems allow 1,024 until they are asked."""
FEW_FILES = 2 * 1024


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or Ctrl-C; then finish what was accepted.

    Raises:
        ConfigError: the address cannot be bound, or another server uses the folder.
        ModelFileError: a model cannot be used.
    """
    store = Store(settings.data)
    with alone(settings.data):
        store.recover()
        store.close()
        with _shared_metrics(settings.workers):
            _listen(settings)


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Let several workers add up their numbers, in a folder of files that ends with them."""
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="mien-metrics-") as folder:
        os.environ[SHARED] = folder
        yield


def _listen(settings: Settings) -> None:
    catalogue = Catalogue.load(settings.models)  # here, where a wrong file is told of in words
    own = partial(create_app, settings, catalogue) if settings.workers == 1 else None
    config = make_config(settings, own)
    allow_files()
    with _bound(settings.host, settings.port) as bound:
        log.info("mien serves http://%s:%d", settings.host, bound.getsockname()[1])
        try:
            if settings.workers > 1:
                Multiprocess(config, sockets=[bound]).run()
            else:
                uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            return  # uvicorn finished what it had, and says again what it was told


def allow_files(wanted: int = FILES) -> int | None:
    """Let this process and its workers open that many files, or as many as the system allows.

    Returns:
        How many that is; None where the system does not tell (Windows).
    """
    try:
        import resource
    except ModuleNotFoundError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    most = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < most:
        with suppress(OSError, ValueError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != unlimited and soft < FEW_FILES:
        log.warning("only %d files may be open: as many clients at once get no answer "
                    "(see ulimit -n)", soft)  # fmt: skip
    return soft


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens: who comes before the workers are ready waits in its queue."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="is the address this machine's, and the port free? try another --port",
        ) from error
    bound.set_inheritable(True)
    return bound


def make_config(settings: Settings, app: Callable[[], ASGIApp] | None = None) -> uvicorn.Config:
    """Return uvicorn's configuration: our own log, no version in headers, bounded sizes.

    Args:
        settings: of the server.
        app: makes the app, in each worker; `create_app` where None.
    """
    return uvicorn.Config(
        app or partial(create_app, settings),
        factory=True,
        http=HeaderTimeoutProtocol,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=LOGGING,
        access_log=False,  # it would write addresses with what clients put into them
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy,
        backlog=BACKLOG,
        timeout_keep_alive=30,  # longer than between two images of a slow client
        timeout_graceful_shutdown=GRACE_S,
        # A worker answers only once it has imported everything: on a busy machine that takes long.
        timeout_worker_healthcheck=60,
        ws_max_size=4_000_000,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # JPEG does not get smaller
    )


class _Handshake(logging.Filter):
    """Drops uvicorn's complaint about each WebSocket that is refused with an answer of HTTP."""

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
