"""Pictures to faces to expressions: read `read_pictures` first."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.errors import SourceError
from mien.predict.classifier import softmax
from mien.predict.sets import choose_set
from mien.types import UNSURE, FaceReading, Faces, PictureReading
from mien.vision.align import crop_faces
from mien.vision.codec import as_rgb, read_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from mien.modelfile import ModelInfo
    from mien.predict.detectors.base import Detector
    from mien.predict.sources import PictureSource

FACES_AT_ONCE = 64
PICTURES_AT_ONCE = 32
"""Pictures wait until this many, or FACES_AT_ONCE faces, can be classified together."""


class FaceClassifier(Protocol):
    """What the pipeline needs of a classifier: mien.predict.classifier.Classifier has it."""

    info: ModelInfo

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...


@dataclass(frozen=True, slots=True)
class Caution:
    """How sure an answer must be.

    Attributes:
        min_confidence: below it a face is 'unsure'; the model's own threshold where None.
        least: a label's probability from which on it is in a face's set of labels; no sets are
            made where None. See mien.predict.sets.
    """

    min_confidence: float | None = None
    least: float | None = None


PLAIN = Caution()


@dataclass(slots=True)
class Cropped:
    """A picture whose faces were found but not yet classified; its pixels are gone already."""

    source: str
    width: int = 0
    height: int = 0
    faces: Faces = field(default_factory=Faces.none)
    crops: NDArray[np.uint8] | None = None
    error: str | None = None

    def __len__(self) -> int:
        return len(self.faces)


def read_pictures(
    sources: Iterable[PictureSource],
    detector: Detector,
    classifier: FaceClassifier,
    caution: Caution = PLAIN,
    workers: int = 1,
) -> Iterator[PictureReading]:
    """Read the expressions in pictures; one reading for each source, in their order.

    A picture that cannot be read gives a reading with `error`; one without a face gives a
    reading with no faces. Memory is bounded: of a waiting picture only its crops are kept.

    Args:
        sources: what to read.
        detector: finds the faces.
        classifier: names their expressions; faces of several pictures share a batch.
        caution: how sure an answer must be.
        workers: threads that decode pictures and find faces, where the detector allows several.
    """
    waiting: list[Cropped] = []
    for found in _find_all(sources, detector, classifier, workers):
        waiting.append(found)
        if len(waiting) >= PICTURES_AT_ONCE or sum(map(len, waiting)) >= FACES_AT_ONCE:
            yield from _classify(waiting, detector, classifier, caution)
            waiting = []
    yield from _classify(waiting, detector, classifier, caution)


def read_array(
    picture_hwc: NDArray[np.uint8],
    detector: Detector,
    classifier: FaceClassifier,
    caution: Caution = PLAIN,
) -> PictureReading:
    """Read the expressions in one picture, uint8 [h, w, 3] RGB or [h, w] grey."""
    waiting = crop_picture(as_rgb(picture_hwc), "array", detector, classifier)
    return next(iter(_classify([waiting], detector, classifier, caution)))


def _find_all(
    sources: Iterable[PictureSource], detector: Detector, classifier: FaceClassifier, workers: int
) -> Iterator[Cropped]:
    """Yield the faces of each picture, in order; the next pictures are looked at meanwhile."""
    if workers < 2 or not getattr(detector, "parallel", False):
        yield from (_find_faces(source, detector, classifier) for source in sources)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-pictures")
    ahead: deque[Future[Cropped]] = deque()
    try:
        for source in sources:
            ahead.append(pool.submit(_find_faces, source, detector, classifier))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:  # also where nobody asks for more
        pool.shutdown(cancel_futures=True)


def _find_faces(source: PictureSource, detector: Detector, classifier: FaceClassifier) -> Cropped:
    if source.error is not None:
        return Cropped(str(source.path), error=source.error)
    try:
        picture = read_picture(source.path)
    except SourceError as error:
        return Cropped(str(source.path), error=f"{error.message}; {error.hint}")
    return crop_picture(picture, str(source.path), detector, classifier)


def crop_picture(
    picture: NDArray[np.uint8], name: str, detector: Detector, classifier: FaceClassifier
) -> Cropped:
    """Find the faces of a picture, uint8 [h, w, 3] RGB, and crop them for the classifier."""
    faces = detector.detect(picture)
    size = classifier.info.input_size
    crops = crop_faces(picture, faces.boxes_xyxy, detector.framing, size)
    height, width = picture.shape[:2]
    return Cropped(name, width, height, faces, crops)


def _classify(
    waiting: Sequence[Cropped],
    detector: Detector,
    classifier: FaceClassifier,
    caution: Caution,
) -> Iterator[PictureReading]:
    info = classifier.info
    crops = [w.crops for w in waiting if w.crops is not None and len(w)]
    probs = np.zeros((0, len(info.labels)), np.float32)
    if crops:
        probs = softmax(classifier.logits(np.concatenate(crops)))
    start = 0
    for item in waiting:
        own = probs[start : start + len(item)]
        start += len(item)
        yield name_faces(item, own, detector.name, info, caution)


def name_faces(
    item: Cropped, probs_nk: NDArray[np.float32], detector: str, info: ModelInfo, caution: Caution
) -> PictureReading:
    """Return the reading of a picture whose faces have these probabilities, float32 [n, k]."""
    least = caution.min_confidence
    threshold = info.unsure_below if least is None else least
    rows = range(len(item))
    faces = [_name(item.faces, i, probs_nk[i], info.labels, threshold, caution) for i in rows]
    return PictureReading(
        item.source, item.width, item.height, detector, info.name, faces, item.error
    )


def _name(
    faces: Faces,
    row: int,
    probs_k: NDArray[np.float32],
    labels: Sequence[str],
    threshold: float,
    caution: Caution,
) -> FaceReading:
    best = int(probs_k.argmax())
    confidence = float(probs_k[best])
    x0, y0, x1, y1 = (float(v) for v in faces.boxes_xyxy[row])
    least = caution.least
    return FaceReading(
        box=(x0, y0, x1, y1),
        score=float(faces.scores_n[row]),
        label=labels[best] if confidence >= threshold else UNSURE,
        confidence=confidence,
        probabilities={label: float(p) for label, p in zip(labels, probs_k, strict=True)},
        label_set=None if least is None else choose_set(probs_k, labels, least),
    )
