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

from tests.patience import child, until
from tests.viewer.sessions import draw_session
from tests.web.chromium import ROOT, launched, visiting

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
    with launched() as chromium:
        yield chromium


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page of an address: visit(address, width=1440, ...)."""
    with visiting(browser, "body[data-drawn]") as open_page:
        yield open_page
