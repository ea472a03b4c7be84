"""Images to faces to expressions: read `read_images` first."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from mien.errors import ResourceError, SourceError
from mien.imaging.boxes import clip_box
from mien.imaging.crop import crop_faces
from mien.imaging.rotate import TURNS, Degrees, turn_back, turn_image
from mien.model.classifier import softmax
from mien.predict.decision import DecisionPolicy
from mien.types import FaceReading, Faces, ImageReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from mien.model.info import ModelInfo
    from mien.predict.decision import Decision
    from mien.predict.detectors.base import Detector
    from mien.predict.sources import ImageSource
    from mien.types import Image

_LOG = logging.getLogger(__name__)
Rotate = Degrees | Literal["auto"]
SURELY_UPRIGHT = 0.95
"""Score from which on no turns are tried. MTCNN finds 1 to 5% of faces that are turned by quarters
(n = 358), half of them below 0.93, and nine in ten upright faces score above 0.95."""
Alone = Callable[[], AbstractContextManager[object]]
FACES_AT_ONCE = 64
IMAGES_AT_ONCE = 32
"""Images wait until this many, or FACES_AT_ONCE faces, can be classified together."""


class FaceClassifier(Protocol):
    """What the pipeline needs of a classifier: mien.model.classifier.Classifier has it."""

    info: ModelInfo

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...


@dataclass(slots=True)
class Cropped:
    """An image whose faces were found but not yet classified; its pixels are gone already."""

    source: str
    width: int = 0
    height: int = 0
    faces: Faces = field(default_factory=Faces.none)
    crops: NDArray[np.uint8] | None = None
    error: str | None = None
    turn: int = 0
    notes: tuple[str, ...] = ()
    origin: Image | None = None

    def __len__(self) -> int:
        return len(self.faces)


def read_images(
    sources: Iterable[ImageSource],
    detector: Detector,
    classifier: FaceClassifier,
    policy: DecisionPolicy | None = None,
    workers: int = 1,
    rotate: Rotate = 0,
    alone: Alone = nullcontext,
) -> Iterator[ImageReading]:
    """Read the expressions in images; one reading for each source, in their order.

    An image that cannot be read gives a reading with `error`; one without a face gives a
    reading with no faces. Memory is bounded: of a waiting image only its crops are kept.

    Args:
        sources: what to read.
        detector: finds the faces.
        classifier: names their expressions; faces of several images share a batch.
        policy: turns probabilities into labels (default: what the model's file says).
        workers: threads that decode images and find faces, where the detector allows several.
        rotate: see `crop_image`.
        alone: entered while an image is decoded and its faces are found.
    """
    policy = policy or DecisionPolicy.of(classifier.info)
    waiting: list[Cropped] = []
    for found in _find_all(sources, detector, classifier, workers, rotate, alone):
        waiting.append(found)
        if len(waiting) >= IMAGES_AT_ONCE or sum(map(len, waiting)) >= FACES_AT_ONCE:
            yield from _classify(waiting, detector, classifier, policy)
            waiting = []
    yield from _classify(waiting, detector, classifier, policy)


def _find_all(
    sources: Iterable[ImageSource],
    detector: Detector,
    classifier: FaceClassifier,
    workers: int,
    rotate: Rotate,
    alone: Alone,
) -> Iterator[Cropped]:
    """Yield the faces of each image, in order; the next images are looked at meanwhile."""
    if workers < 2 or not getattr(detector, "parallel", False):
        for source in sources:
            with alone():
                found = _find_faces(source, detector, classifier, rotate)
            yield found
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-images")
    ahead: deque[Future[Cropped]] = deque()
    try:
        for source in sources:
            ahead.append(_submit(pool, source, detector, classifier, rotate))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:  # also where nobody asks for more
        pool.shutdown(cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, *task: Any) -> Future[Cropped]:
    """Hand a task to the pool, which starts its threads one by one as tasks come.

    Raises:
        ResourceError: the system allows no more threads.
    """
    try:
        return pool.submit(_find_faces, *task)
    except (RuntimeError, MemoryError) as error:
        raise ResourceError(
            f"the system refuses another thread: {str(error) or 'out of memory'}",
            hint="raise its limits on memory and processes (ulimit -v, -u), or set threads to 1",
        ) from error


def _find_faces(
    source: ImageSource, detector: Detector, classifier: FaceClassifier, rotate: Rotate
) -> Cropped:
    if source.error is not None:
        return Cropped(source.name, error=source.error)
    try:
        image, notes = source.load()
    except SourceError as error:
        return Cropped(source.name, error=f"{error.message}; {error.hint}")
    except MemoryError:
        return Cropped(source.name, error=f"{source.name} does not fit in memory; scale it down")
    cropped = crop_image(image, source.name, detector, classifier, rotate)
    cropped.notes, cropped.origin = notes, source.origin()
    return cropped


def crop_image(
    image: NDArray[np.uint8],
    name: str,
    detector: Detector,
    classifier: FaceClassifier,
    rotate: Rotate = 0,
) -> Cropped:
    """Find the faces of an image, uint8 [h, w, 3] RGB, and crop them for the classifier.

    Args:
        image: as displayed.
        name: stands in the result.
        detector: finds the faces.
        classifier: says how large crops are.
        rotate: degrees, clockwise, by which the image is turned first; 'auto' tries the four
            turns where no face is surely upright, and takes the one with the surest face. Boxes
            are those of the image before its turn.
    """
    turn, turned, faces = _find_turned(image, detector, rotate)
    size = classifier.info.input_size
    crops = crop_faces(turned, faces.boxes_xyxy, detector.framing, size)
    height, width = image.shape[:2]
    if turn:
        faces = turn_back(faces, turn, width, height)
        order = np.argsort(faces.boxes_xyxy[:, 0], kind="stable")  # from left to right again
        faces, crops = faces.take(order), crops[order]
    return Cropped(name, width, height, faces, crops, turn=turn)


def _find_turned(
    image: NDArray[np.uint8], detector: Detector, rotate: Rotate
) -> tuple[int, NDArray[np.uint8], Faces]:
    """Return the turn that was chosen, the image turned by it, and the faces found there."""
    if rotate != "auto":
        turned = turn_image(image, rotate) if rotate else image
        return rotate, turned, detector.detect(turned)
    best = (0, image, detector.detect(image))
    if best[2].scores_n.max(initial=0) >= SURELY_UPRIGHT:
        return best
    for degrees in TURNS[1:]:
        turned = turn_image(image, degrees)
        faces = detector.detect(turned)
        if faces.scores_n.max(initial=0) > best[2].scores_n.max(initial=0):
            best = (degrees, turned, faces)
    return best


def _classify(
    waiting: Sequence[Cropped],
    detector: Detector,
    classifier: FaceClassifier,
    policy: DecisionPolicy,
) -> Iterator[ImageReading]:
    info = classifier.info
    crops = [w.crops for w in waiting if w.crops is not None and len(w)]
    probs = np.zeros((0, len(info.labels)), np.float32)
    if crops:
        probs = softmax(classifier.logits(np.concatenate(crops)))
    start = 0
    for item in waiting:
        own = probs[start : start + len(item)]
        start += len(item)
        yield label_faces(item, own, detector.name, info.name, policy)


def label_faces(
    item: Cropped, probs_nk: NDArray[np.float32], detector: str, model: str, policy: DecisionPolicy
) -> ImageReading:
    """Return the reading of an image whose faces have these probabilities, float32 [n, k]."""
    size = (item.width, item.height)
    faces = [_face(item.faces, i, size, policy.decide(probs_nk[i])) for i in range(len(item))]
    if item.error is not None:
        _LOG.warning("not read: %s", item.error)
    for note in item.notes:
        _LOG.info("%s: %s", item.source, note)
    return ImageReading(
        item.source, *size, detector, model, faces, item.error,
        turn=item.turn, notes=item.notes, origin=item.origin,
    )  # fmt: skip


def _face(faces: Faces, row: int, size: tuple[int, int], decision: Decision) -> FaceReading:
    x0, y0, x1, y1 = (float(v) for v in faces.boxes_xyxy[row])
    return FaceReading(
        box=(x0, y0, x1, y1),
        score=float(faces.scores_n[row]),
        label=decision.label,
        confidence=decision.confidence,
        probabilities=decision.probabilities,
        prediction_set=decision.prediction_set,
        box_inside=clip_box((x0, y0, x1, y1), *size),
    )
