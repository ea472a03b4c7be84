"""A driver to be killed: reads a folder of images on the local engine, counting what is read.

python -m tests.scale.drive IMAGES OUT COUNTS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.scale.work import MortalDetector

from mien import Reader
from mien.predict.sources import list_images
from mien.scale.engine import Engine
from mien.scale.engines.local import LocalEngine
from mien.scale.images import read_images_on
from mien.testing import FakeClassifier


def make_reader(counts: str = "") -> Reader:
    return Reader(FakeClassifier(), detector=MortalDetector(counts), threads=1)


def read(
    images: Path, out: Path, engine: Engine | None = None, counts: str = "", **more: Any
) -> dict[str, Any]:
    """Return the manifest of a run; MORE overrides its arguments."""
    arguments: dict[str, Any] = {
        "settings": {"faces": "find"}, "model_sha256": "0" * 64, "resume": False, **more,
    }  # fmt: skip
    reader = make_reader(counts)
    sources = list(list_images([images]))
    return read_images_on(engine or LocalEngine(2), reader, sources, out, **arguments)


if __name__ == "__main__":
    read(Path(sys.argv[1]), Path(sys.argv[2]), counts=sys.argv[3], resume=True)
