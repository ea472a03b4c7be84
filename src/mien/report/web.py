"""Files that pages in a browser share: their style, small modules, and the timeline's page.

The page of `mien serve` and the viewer serve them by URL; the page of a video holds copies.
"""

from __future__ import annotations

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
