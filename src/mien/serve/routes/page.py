"""The web page's files: a list made at the start, so that no address reaches the file system."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from mien.files import sha256_file
from mien.serve.assets import WEB, web_assets
from mien.serve.problems import Problem
from mien.serve.reference import page
from mien.serve.routes import live
from mien.serve.state import state_of

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
"""Files of other kinds are not served."""
_HASHED = re.compile(r"[.-][0-9a-f]{8,}\.\w+$")
"""A name that holds its content's hash: it never changes."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page.

    Attributes:
        path: of the file.
        kind: its MIME type.
        tag: its ETag.
    """

    path: Path
    kind: str
    tag: str


class Assets:
    """The page's files by address: `/` and `/assets/...`; and the shipped networks.

    `/assets/models/` holds what private mode runs in the browser: the shipped model and the three
    networks of the face detector.
    """

    def __init__(self, folder: Path = WEB) -> None:
        self._files = {
            address: Asset(path, TYPES[path.suffix], f'"{sha256_file(path)[:20]}"')
            for address, path in web_assets(folder).items()
            if path.suffix in TYPES
        }

    def get(self, address: str) -> Asset | None:
        """Return the file at an address of the list, else None."""
        return self._files.get(address)


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
