"""Workers for the tests of the engines; importable where the workers run."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.imaging.crop import WHOLE
from mien.types import Faces


@dataclass(frozen=True)
class Work:
    """An item: what is done with it.

    Attributes:
        number: of the item; its result is twice that.
        do: '' nothing else, 'raise' an exception, 'die' by a signal, ...
        times: ... in the first so many attempts.
        folder: where attempts are counted.
    """

    number: int
    do: str = ""
    times: int = 0
    folder: str = ""


@dataclass(frozen=True)
class Double:
    """Makes workers that double numbers, and count how often they saw each item."""

    start: str = ""

    def __call__(self) -> Any:
        if self.start == "raise":
            raise ValueError("no such model")
        if self.start == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return double


@dataclass(frozen=True)
class Niceness:
    """Makes workers that return the niceness of their process."""

    def __call__(self) -> Any:
        return niceness


def niceness(_: Work) -> int:
    return os.nice(0)


def attempts(folder: str | Path, number: int) -> int:
    return len(list(Path(folder).glob(f"{number}-*")))


def double(work: Work) -> int:
    seen = 0
    if work.folder:
        seen = attempts(work.folder, work.number)
        (Path(work.folder) / f"{work.number}-{seen}").touch()
    if work.do and seen < work.times:
        if work.do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError(f"bad item {work.number}")
    return 2 * work.number


def double_all(works: tuple[Work, ...]) -> list[int]:
    return [double(work) for work in works]


@dataclass(frozen=True)
class DoubleAll:
    """Makes workers for batches."""

    def __call__(self) -> Any:
        return double_all


class MortalDetector:
    """Finds one face in each image; a red corner kills the process, and reads can be counted.

    Args:
        folder: gets a file for each image that was looked at, named after its blue value.
    """

    name, framing = "mortal", WHOLE

    def __init__(self, folder: str = "") -> None:
        self.folder = folder

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        if self.folder:
            name = f"{image_hwc[0, 0, 2]}-{os.getpid()}-{time.monotonic_ns()}"
            (Path(self.folder) / name).touch()
        if tuple(image_hwc[0, 0, :2]) == (255, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        height, width = image_hwc.shape[:2]
        box = np.array([[1, 1, width - 1, height - 1]], np.float32)
        return Faces(box, np.full(1, 0.99, np.float32))
