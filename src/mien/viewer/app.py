"""The viewer's ASGI app and its process: read `create_app` first.

It is made of the parts of `mien.serve`: admission (host names, origins, security headers),
problems, and files of a fixed list. It listens on loopback only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from mien import __version__
from mien.report.web import shared_files, view_files
from mien.serve import problems
from mien.serve.admission import AdmissionMiddleware
from mien.serve.assets import WEB as SERVE_WEB
from mien.serve.assets import Assets
from mien.serve.metrics import Metrics
from mien.serve.run import bound_socket, make_config
from mien.serve.settings import Limits, ServerSettings
from mien.viewer import routes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

    from mien.viewer.routes import View

HOST = "127.0.0.1"
SERVED = ("icon.svg", "vendor/inter.woff2", "vendor/fraunces.woff2")
"""Files of the server's page that this page uses too. Fonts are absent where none were fetched."""


def page_assets() -> dict[str, Path]:
    """Return the files of the page by URL path; the viewer's own are under /assets/view/."""
    own = view_files()
    served = {f"/assets/{name}": SERVE_WEB / name for name in SERVED}
    return {
        "/": own.pop("/assets/view/index.html"),
        **own,
        **shared_files(),
        **{url: path for url, path in served.items() if path.is_file()},
    }


def viewer_settings(port: int) -> ServerSettings:
    """Return the settings of the server's parts: loopback, one worker, no rate limit.

    Raises:
        ConfigError: the port is out of range.
    """
    return ServerSettings(host=HOST, port=port, limits=Limits(rate=0))


def create_app(view: View, settings: ServerSettings) -> ASGIApp:
    """Return the app of one viewer.

    Args:
        view: what it shows.
        settings: of the server's parts; from `viewer_settings`.
    """
    app = FastAPI(
        title="mien view", version=__version__, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.view = view
    app.include_router(routes.router)
    problems.install(app, routes.router.routes)
    return AdmissionMiddleware(app, settings, Metrics())


def make_assets() -> Assets:
    """Return the files of the page."""
    return Assets(page_assets())


def run(view: View, port: int, ready: Callable[[str], None]) -> None:
    """Serve a view until Ctrl-C or SIGTERM.

    Args:
        view: what is shown.
        port: 0 to 65535; 0 takes any free one.
        ready: called with the address once it can be opened.

    Raises:
        ConfigError: the port is out of range or in use.
    """
    settings = viewer_settings(port)
    config = make_config(settings, lambda: create_app(view, settings))
    # One line for each request would bury the address.
    logging.getLogger("mien.serve").setLevel(logging.WARNING)
    with bound_socket(settings.host, settings.port) as bound:
        ready(f"http://{HOST}:{bound.getsockname()[1]}/")
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            return  # uvicorn shut down gracefully, then raises the signal again
