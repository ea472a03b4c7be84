"""The server's process: uvicorn around the app, one or several workers."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from mien.errors import ConfigError
from mien.serve.app import create_app
from mien.serve.protocol import Patience
from mien.serve.store import Store, alone

if TYPE_CHECKING:
    from mien.serve.settings import Settings

GRACE_S = 30
"""How long accepted requests may take to finish once the server is told to stop."""
BACKLOG = 2048


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
        _listen(settings)


def _listen(settings: Settings) -> None:
    config = make_config(settings)
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}",
            hint="another program may; choose another --port",
        ) from None
    if settings.workers > 1:
        Multiprocess(config, sockets=[socket]).run()
    else:
        uvicorn.Server(config).run(sockets=[socket])


def make_config(settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration: our own log, no version in headers, bounded sizes."""
    return uvicorn.Config(
        partial(create_app, settings),
        factory=True,
        http=Patience,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=LOGGING,
        access_log=False,  # it would write addresses with what clients put into them
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=4_000_000,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # JPEG does not get smaller
    )


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "mien.serve": {"handlers": ["stderr"], "level": logging.INFO, "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": logging.WARNING, "propagate": False},
    },
}
