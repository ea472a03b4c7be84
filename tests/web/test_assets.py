"""The page's files without a browser: all there, all served, nothing inline."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from mien.serve.assets import WEB, web_assets

PAGE = (WEB / "index.html").read_text(encoding="utf-8")
SERVED = web_assets()
MODULES = {url: path for url, path in SERVED.items() if re.match(r"/assets/app/.*\.js$", url)}
STYLES = [path for url, path in SERVED.items() if re.match(r"/assets/\w+\.css$", url)]


def test_files_of_the_page_are_served() -> None:
    assets = web_assets()
    named = re.findall(r'(?:href|src)="(/[^"#]*)"', PAGE)
    assert len(named) > 5
    assert [address for address in named if address not in assets] == []


def test_private_modes_networks_are_served() -> None:
    models = {a.rpartition("/")[2] for a in web_assets() if a.startswith("/assets/models/")}
    assert models >= {"yunet.onnx", "onet.onnx", "mien-small.onnx"}


def test_modules_import_modules_that_exist() -> None:
    for url, module in MODULES.items():
        for name in re.findall(r'from "([^"]+)"', module.read_text(encoding="utf-8")):
            assert urljoin(url, name) in MODULES, f"{url}: {name}"
    assert len(MODULES) > 25


def test_nothing_is_inline() -> None:
    # The server's policy would block it, and the page would break without a word.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", PAGE)


def test_no_other_server_is_called() -> None:
    texts = [PAGE, *(m.read_text("utf-8") for m in MODULES.values()),
             *(c.read_text("utf-8") for c in STYLES)]  # fmt: skip
    for text in texts:
        assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_files_stay_short() -> None:
    for path in [*MODULES.values(), *STYLES, WEB / "index.html"]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, path
