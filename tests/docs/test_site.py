"""The documentation's site is built without a warning, and asks no other server for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.docs.blocks import DOCS, name, pages
from tests.patience import PATIENCE_S

OURS = ("tutorials/researcher/", "tutorials/developer/", "tutorials/student/")
"""Pages that are looked at in a browser."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    # In a copy, so that neither a site nor a cache is left beside the sources.
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    (folder / "src").symlink_to(ROOT / "src")
    (folder / "mkdocs.yml").write_bytes((ROOT / "mkdocs.yml").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
    return folder / "site"


def test_every_page_is_built(site: Path) -> None:
    for page in pages():
        place = name(page).removesuffix(".md").removesuffix("index").rstrip("/")
        assert (site / place / "index.html").is_file(), name(page)
    python = (site / "reference" / "python" / "index.html").read_text("utf-8")
    for entry in ("mien.reader.Reader.read_many", "mien.data.dataset.Dataset"):
        assert f'id="{entry}"' in python
    assert (site / "schemas" / "reading.schema.json").is_file()


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    """Zensical checks Markdown; this checks what it has written, anchors included."""
    anchors = {
        page: set(re.findall(r'\bid="([^"]+)"', page.read_text("utf-8")))
        for page in site.rglob("*.html")
    }
    checked = 0
    for page in anchors:
        for target in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', page.read_text("utf-8")):
            if re.match(r"[a-z]+:|//", target) or page.name == "404.html":
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), f"{page}: {target}"
            # '__' starts names that the theme's own scripts use.
            if anchor and not anchor.startswith("__") and file in anchors:
                assert anchor in anchors[file], f"{page}: {target}"
            checked += 1
    assert checked > 500


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("path", ["", *OURS, "reference/python/", "reference/formats/"])
def test_pages_load_nothing_from_elsewhere(
    address: str, browser: Any, path: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(1000 * PATIENCE_S)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + path, wait_until="load")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    # Wide tables and code scroll by themselves; the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    page.close()


def test_the_command_reference_is_what_help_prints() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from command_reference import command_reference
    finally:
        sys.path.pop(0)
    page = (DOCS / "reference" / "commands.md").read_text("utf-8")
    assert page == command_reference(), "run: python tools/command_reference.py --write"
