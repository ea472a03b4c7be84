"""Files that pages in a browser share: their style, small modules, and the timeline's page.

The page of `mien serve` and the viewer serve them by URL; the page of a video holds copies.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

WEB = Path(__file__).with_name("web")
VIEW = WEB / "view"
"""The timeline's page: its HTML, style and modules."""


def shared_files() -> dict[str, Path]:
    """Return the style and the modules that all pages share, by URL path."""
    files = [*WEB.glob("*.css"), *(WEB / "app").glob("*.js")]
    return {f"/assets/{path.relative_to(WEB).as_posix()}": path for path in sorted(files)}


def view_files() -> dict[str, Path]:
    """Return the files of the timeline's page by URL path, under /assets/view/."""
    files = (path for path in sorted(VIEW.rglob("*")) if path.is_file())
    return {f"/assets/view/{path.relative_to(VIEW).as_posix()}": path for path in files}


STYLES = ("style.css", "results.css", "view/view.css", "view/lanes.css", "view/page.css")
_IMPORT = re.compile(r'(\bfrom |^import )"(?:/assets/|\./)([^"]+)"', re.MULTILINE)
_FONT = re.compile(r"@font-face \{[^}]*\}\n?")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The timeline's page for one file: a page that is opened as a file can import no other.

    Attributes:
        body: HTML.
        style: CSS, without fonts.
        modules: an import map: each module as a data URL, by its name.
        entry: name of the module that starts the page.
    """

    body: str
    style: str
    modules: dict[str, dict[str, str]]
    entry: str


@cache
def bundle() -> Bundle:
    """Return the timeline's page, with `offline.js` in place of the requests to a server."""
    page = (VIEW / "index.html").read_text(encoding="utf-8")
    body = page.partition('<body data-view="viewer">')[2].partition("</body>")[0]
    style = "\n".join((WEB / name).read_text(encoding="utf-8") for name in STYLES)
    files = {f"view/app/{path.name}": path for path in sorted((VIEW / "app").glob("*.js"))}
    files |= {f"app/{path.name}": path for path in sorted((WEB / "app").glob("*.js"))}
    files["view/app/api.js"] = files.pop("view/app/offline.js")
    modules = {f"mien/{name}": _data_url(name, path) for name, path in files.items()}
    return Bundle(body, _FONT.sub("", style), {"imports": modules}, "mien/view/app/main.js")


def _data_url(name: str, path: Path) -> str:
    """Return a module whose imports are names of the import map."""
    folder = name.rpartition("/")[0]

    def rename(found: re.Match[str]) -> str:
        is_near = found[0].endswith(f'"./{found[2]}"')
        return f'{found[1]}"mien/{folder + "/" if is_near else ""}{found[2]}"'

    text = _IMPORT.sub(rename, path.read_text(encoding="utf-8"))
    content = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return f"data:text/javascript;base64,{content}"
