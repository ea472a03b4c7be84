"""The web page: files of a fixed list, so no URL reaches the file system; and /docs."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from mien.serve.problems import Problem
from mien.serve.reference import page
from mien.serve.routes import live
from mien.serve.state import state_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mien.serve.assets import Assets

_HASHED = re.compile(r"[.-][0-9a-f]{8,}\.\w+$")
"""A file name with a hash of its content: such a file never changes."""


class _WholeFile(FileResponse):
    """A file response without range requests.

    Starlette answers a malformed or unsatisfiable range in plain text, not as a problem. No file of
    the page needs ranges, and a server may ignore them (RFC 9110, section 14.2).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/assets/{name:path}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str = "") -> Response:
    """Return a file of the page."""
    path = "/" if request.url.path == "/" else f"/assets/{name}"
    return asset_response(state_of(request).assets, path, request)


def asset_response(assets: Assets, path: str, request: Request) -> Response:
    """Return the response with a file of a page, or that the browser has it already.

    Args:
        assets: files of the page.
        path: URL path of the file.
        request: for it.

    Raises:
        Problem: 404.
    """
    found = assets.get(path)
    if found is None:
        raise Problem(404, "path: there is no such file", "the page is at /")
    immutable = bool(_HASHED.search(path))
    headers: dict[str, Any] = {
        "ETag": found.etag,
        "Accept-Ranges": "none",
        "Cache-Control": "public, max-age=31536000, immutable" if immutable else "no-cache",
    }
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return _WholeFile(found.path, headers=headers, media_type=found.media_type)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> HTMLResponse:
    """Return the API reference."""
    app, state = request.app, state_of(request)
    sockets = {live.PATH: inspect.getdoc(live.live) or ""}
    base = str(request.base_url).rstrip("/")
    requires_token = state.admission.access.requires_token
    return HTMLResponse(page(app.openapi(), sockets, base, requires_token=requires_token))
