"""The web page's files: a list made at the start, so that no address reaches the file system."""

from __future__ import annotations

import inspect
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from mien.serve.problems import Problem
from mien.serve.reference import page
from mien.serve.routes import live
from mien.serve.state import state_of

_HASHED = re.compile(r"[.-][0-9a-f]{8,}\.\w+$")
"""A name that holds its content's hash: it never changes."""

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/assets/{name:path}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str = "") -> Response:
    """Return a file of the page."""
    address = "/" if request.url.path == "/" else f"/assets/{name}"
    found = state_of(request).assets.get(address)
    if found is None:
        raise Problem(404, "there is no such page", "the page is at /")
    forever = bool(_HASHED.search(address))
    headers: dict[str, Any] = {
        "ETag": found.tag,
        "Cache-Control": "public, max-age=31536000, immutable" if forever else "no-cache",
    }
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(found.path, headers=headers, media_type=found.kind)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> HTMLResponse:
    """Return a page with every call of this server."""
    app, state = request.app, state_of(request)
    sockets = {live.PATH: inspect.getdoc(live.live) or ""}
    base = str(request.base_url).rstrip("/")
    return HTMLResponse(page(app.openapi(), sockets, base, locked=state.gate.doors.locked))
