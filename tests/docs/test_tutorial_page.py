"""The page of the developer's tutorial works in a browser, with the server of the tutorial."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.docs.blocks import DOCS, SERVERS, Place, blocks
from tests.patience import PATIENCE_S

PAGE = DOCS / "tutorials" / "developer.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    folder = tmp_path_factory.mktemp("developer")
    shutil.copytree(ROOT / "examples", folder / "examples")
    place = Place(folder)
    for block in blocks(PAGE):
        if block.file == "page/index.html" or block.text.startswith(SERVERS):
            place.run(block)
    yield place
    place.close()


def test_the_page_reads_an_image(place: Place, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 640, "height": 900})
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(f"http://localhost:{place.ports['9000']}/")
    page.set_input_files("input", place.folder / "examples" / "astronaut.jpg")
    page.wait_for_function("document.querySelector('[role=status]').textContent == 'Found: happy'")
    photo, face = page.locator("img").bounding_box(), page.locator(".face").bounding_box()
    # The box lies where the face is: from 180 to 270 of 512 pixels.
    assert face["x"] - photo["x"] == pytest.approx(180 / 512 * photo["width"], abs=2)
    assert face["width"] == pytest.approx(90 / 512 * photo["width"], abs=8)  # borders included
    if "MIEN_SHOTS" in os.environ:  # the tutorial's image
        page.screenshot(path=str(Path(os.environ["MIEN_SHOTS"]) / "tutorial-developer.png"))


def test_the_page_shows_what_the_server_says(place: Place, browser: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(f"http://localhost:{place.ports['9000']}/")
    page.set_input_files("input", broken)
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes(': ')")
    assert page.locator("img").count() == 0
