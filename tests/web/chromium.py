"""What the page's tests and its benchmark share: a server, and what the browser's camera sees."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def write_camera(path: Path, scenes: int = 1, frames: int = 60) -> None:
    """Write what the camera sees as MJPEG: portraits one after another, swaying, 640 x 480."""
    with path.open("wb") as stream:
        for name, box in SCENES[:scenes]:
            portrait = Image.open(ROOT / "examples" / name).convert("RGB").crop(box)
            scene = portrait.resize((640, 480), Image.Resampling.LANCZOS)
            for number in range(frames):
                shift = 12 * np.sin(number / 60 * 2 * np.pi)
                data = (0.92, 0, 25 + shift, 0, 0.92, 20)
                buffer = io.BytesIO()
                frame = scene.transform((640, 480), Image.Transform.AFFINE, data)
                frame.save(buffer, "JPEG", quality=85)
                stream.write(buffer.getvalue())
