"""A drawn session, the viewer that shows it, and a browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S, child, until
from tests.viewer.sessions import draw_session
from tests.web.chromium import CHROMIUM, FLAGS, ROOT

PATIENCE_MS = 1000 * PATIENCE_S

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("av", reason="the extra video is not installed")
pytest.importorskip("pyarrow", reason="the extra data is not installed")
pytest.importorskip("tomlkit", reason="the extra sessions is not installed")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a drawn session: interview.mp4 and results; not to be changed."""
    folder = tmp_path_factory.mktemp("session")
    draw_session(folder)
    return folder


@pytest.fixture
def results(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the results that a test may change; its video stays where it was."""
    return Path(shutil.copytree(drawn / "results", tmp_path / "results"))


@contextmanager
def viewing(folder: Path, log: Path, *more: str) -> Iterator[str]:
    """Run `mien view` in a process of its own; give its address."""
    command: list[str | Path] = [sys.executable, "-m", "mien", "view", folder, "--port", "0", *more]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w") as stream,
        child(command, stdout=stream, stderr=stream, env=environment) as process,
    ):

        def address() -> str:
            assert process.poll() is None, log.read_text()
            words = log.read_text().split()
            return words[0] if words and words[0].startswith("http") else ""

        until(address, 0.05)
        yield address()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; of each test file alone, for its event loop must not meet other tests'."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page of an address: visit(address, width=1440, ...)."""
    contexts = []

    def open_page(address: str, *, width: int = 1440, height: int = 900, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda m: "Content Security" in m.text and page.problems.append(m.text))
        page.goto(address)
        page.wait_for_selector("body[data-drawn]")
        return page

    yield open_page
    problems = [problem for c in contexts for p in c.pages for problem in p.problems]
    for context in contexts:
        context.close()
    assert not problems
