"""What tests of pages and their benchmark share: a server, a browser, and what its camera sees."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.patience import PATIENCE_S, child, until

ROOT = Path(__file__).parents[2]
CHROMIUM = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
SCENES = (("astronaut.jpg", (90, 0, 410, 240)), ("grace_hopper.jpg", (60, 60, 460, 360)))
"""Portraits, and what of them fills an image of 4:3."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run `mien serve` in a process of its own; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mien", "serve", "--port", str(port), "--max-rate", "0",
               "--data", str(folder / "data")]  # fmt: skip
    # Ours, and not another that is installed.
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with (
        (folder / "server.log").open("w") as log,
        child(command, stderr=log, env={**os.environ, "PYTHONPATH": path}) as process,
    ):
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, "the server ended"
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE_S):  # noqa: S310
                    return True  # (our own, on loopback)
            except OSError:
                return False

        until(answers, 0.1)
        yield url


@contextmanager
def launched(*flags: str) -> Iterator[Any]:
    """Launch headless Chromium; skip the test where playwright or Chromium is missing."""
    import pytest  # not needed by the benchmark

    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield chromium
        chromium.close()


@contextmanager
def visiting(browser: Any, ready: str) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a page once `ready` is there; none of them may have a problem."""
    contexts = []

    def open_page(url: str, *, width: int = 1440, height: int = 900, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda m: "Content Security" in m.text and page.problems.append(m.text))
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield open_page
    problems = [problem for c in contexts for p in c.pages for problem in p.problems]
    for context in contexts:
        context.close()
    assert not problems


def write_camera(path: Path, scenes: int = 1, frames: int = 60) -> None:
    """Write what the camera sees as MJPEG: portraits one after another, swaying, 640 x 480.

    Chromium plays it at 30 frames per second.
    """
    with path.open("wb") as stream:
        for frame in camera_frames(scenes, frames):
            buffer = io.BytesIO()
            frame.save(buffer, "JPEG", quality=85)
            stream.write(buffer.getvalue())


def write_fast_camera(path: Path, rate: int, scenes: int = 1, frames: int = 60) -> None:
    """Write the same as YUV4MPEG2, which Chromium plays at `rate` frames per second."""
    with path.open("wb") as stream:
        stream.write(f"YUV4MPEG2 W640 H480 F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in camera_frames(scenes, frames):
            luma, *chroma = frame.convert("YCbCr").split()
            halves = [plane.reduce(2) for plane in chroma]
            stream.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in (luma, *halves)))


def camera_frames(scenes: int, frames: int) -> Iterator[Image.Image]:
    """Yield what the camera sees, RGB of 640 x 480: `frames` of each of so many portraits."""
    for name, box in SCENES[:scenes]:
        portrait = Image.open(ROOT / "examples" / name).convert("RGB").crop(box)
        scene = portrait.resize((640, 480), Image.Resampling.LANCZOS)
        for number in range(frames):
            shift = 12 * np.sin(number / 60 * 2 * np.pi)
            data = (0.92, 0, 25 + shift, 0, 0.92, 20)
            yield scene.transform((640, 480), Image.Transform.AFFINE, data)
