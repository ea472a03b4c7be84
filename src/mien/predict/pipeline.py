"""Images to faces to predictions: read `read_images` first."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.errors import ResourceError, SourceError
from mien.imaging.boxes import clip_box
from mien.imaging.crop import crop_faces
from mien.imaging.rotate import TURNS, Degrees, turn_back, turn_image
from mien.model.classifier import FaceClassifier as FaceClassifier
from mien.model.classifier import softmax
from mien.predict.decision import DecisionPolicy
from mien.types import FaceReading, Faces, ImageReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from mien.predict.decision import Decision
    from mien.predict.detectors.base import Detector
    from mien.predict.sources import ImageSource
    from mien.types import Image

_LOG = logging.getLogger(__name__)
Rotate = Degrees | Literal["auto"]
UPRIGHT_SCORE = 0.98
"""Detection score, 0 to 1, from which on no other turns are tried.

YuNet is as sure of an upside-down face as 0.973, and of upright portraits 0.985 or more. MTCNN
finds 1 to 5% of faces that are turned by quarters (n = 358), half of them below 0.93."""
Lock = Callable[[], AbstractContextManager[object]]
"""Returns a context in which one thread at a time uses a detector."""
LARGE_FACE = 2
"""Sides of a crop that each face of a reduced image must have: crops are reduced in any case."""
MAX_WAITING_FACES = 64
MAX_WAITING_IMAGES = 32
"""Images wait until this many of them, or MAX_WAITING_FACES faces, share a batch."""


@dataclass(slots=True)
class CroppedImage:
    """An image whose faces were detected but not yet classified; its pixels are released."""

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
    exclusive_lock: Lock = nullcontext,
) -> Iterator[ImageReading]:
    """Classify the faces in images; yield one reading for each source, in their order.

    An image that cannot be read gives a reading with `error`; one without a face gives a
    reading with no faces. Memory is bounded: only the crops of a waiting image are kept.

    Args:
        sources: the images.
        detector: finds the faces.
        classifier: gives their logits; faces of several images share a batch.
        policy: turns probabilities into labels (default: what the model's file says).
        workers: threads that decode images and detect faces, if the detector is `parallel`.
        rotate: see `crop_image`.
        exclusive_lock: entered while an image is decoded and its faces are detected.
    """
    # Without one, the threshold that the model's file was calibrated to.
    policy = policy or DecisionPolicy.of(classifier.info)
    waiting: list[CroppedImage] = []
    for found in _find_all(sources, detector, classifier, workers, rotate, exclusive_lock):
        waiting.append(found)
        if len(waiting) >= MAX_WAITING_IMAGES or sum(map(len, waiting)) >= MAX_WAITING_FACES:
            yield from _classify(waiting, detector, classifier, policy)
            waiting = []
    yield from _classify(waiting, detector, classifier, policy)


def _find_all(
    sources: Iterable[ImageSource],
    detector: Detector,
    classifier: FaceClassifier,
    workers: int,
    rotate: Rotate,
    exclusive_lock: Lock,
) -> Iterator[CroppedImage]:
    """Yield each image with its faces, in order; threads prefetch the next images meanwhile."""
    if workers < 2 or not getattr(detector, "parallel", False):
        for source in sources:
            with exclusive_lock():
                found = _find_faces(source, detector, classifier, rotate)
            yield found
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-images")
    prefetched: deque[Future[CroppedImage]] = deque()
    try:
        for source in sources:
            prefetched.append(_submit(pool, source, detector, classifier, rotate))
            # Bounded: a slow consumer must not fill the memory with decoded images.
            if len(prefetched) > 2 * workers:
                yield prefetched.popleft().result()
        while prefetched:
            yield prefetched.popleft().result()
    finally:  # also when the caller stops iterating early
        pool.shutdown(cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, *task: Any) -> Future[CroppedImage]:
    """Submit `_find_faces` to the pool, which starts its threads one by one as tasks are submitted.

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
) -> CroppedImage:
    if source.error is not None:
        return CroppedImage(source.name, error=source.error)
    try:
        found = _find_large_faces(source, detector, classifier, rotate)
        if found is not None:
            return found
        image, notes = source.load()
    except SourceError as error:
        return CroppedImage(source.name, error=f"{error.message}; {error.hint}")
    except MemoryError:
        return CroppedImage(
            source.name, error=f"{source.name} does not fit in memory; scale it down"
        )
    cropped = crop_image(image, source.name, detector, classifier, rotate)
    cropped.notes, cropped.origin = notes, source.origin()
    return cropped


def _find_large_faces(
    source: ImageSource, detector: Detector, classifier: FaceClassifier, rotate: Rotate
) -> CroppedImage | None:
    """Return the faces of a large JPEG that is decoded reduced, if they are all large.

    A detector that never sees all pixels of such an image says so by `enough_pixels`. It sees
    fewer still of a reduced one: an image without a large face may have small ones.
    """
    reduced = source.load_reduced(getattr(detector, "enough_pixels", 0))
    if reduced is None:
        return None
    cropped = crop_image(reduced.pixels, source.name, detector, classifier, rotate)
    sides = (cropped.faces.boxes_xyxy[:, 2:] - cropped.faces.boxes_xyxy[:, :2]).max(axis=1)
    least = LARGE_FACE * classifier.info.input_size
    if not len(sides) or (sides * detector.framing.scale < least).any():
        return None
    cropped.faces = cropped.faces.scaled(reduced.factor)
    cropped.width, cropped.height = reduced.width, reduced.height
    cropped.origin = source.origin()
    return cropped


def crop_image(
    image: NDArray[np.uint8],
    name: str,
    detector: Detector,
    classifier: FaceClassifier,
    rotate: Rotate = 0,
) -> CroppedImage:
    """Find the faces of an image, uint8 [h, w, 3] RGB, and crop them for the classifier.

    Args:
        image: as displayed.
        name: `source` of the result.
        detector: finds the faces.
        classifier: its `input_size` is the size of the crops.
        rotate: degrees, clockwise, by which the image is turned first; 'auto' tries the four
            turns where no face scores 0.98 or more, and keeps the turn with the highest score.
            Boxes are in pixels of the image before its turn.
    """
    turn, turned, faces = _find_turned(image, detector, rotate)
    size = classifier.info.input_size
    crops = crop_faces(turned, faces.boxes_xyxy, detector.framing, size)
    height, width = image.shape[:2]
    if turn:
        faces = turn_back(faces, turn, width, height)
        order = np.argsort(faces.boxes_xyxy[:, 0], kind="stable")  # from left to right again
        faces, crops = faces.take(order), crops[order]
    return CroppedImage(name, width, height, faces, crops, turn=turn)


def _find_turned(
    image: NDArray[np.uint8], detector: Detector, rotate: Rotate
) -> tuple[int, NDArray[np.uint8], Faces]:
    """Return the chosen turn in degrees, the turned image, and the faces found in it."""
    if rotate != "auto":
        turned = turn_image(image, rotate) if rotate else image
        return rotate, turned, detector.detect(turned)
    best = (0, image, detector.detect(image))
    if best[2].scores_n.max(initial=0) >= UPRIGHT_SCORE:
        return best
    # Upright first and the rest only if needed: each turn costs a whole detection.
    for degrees in TURNS[1:]:
        turned = turn_image(image, degrees)
        faces = detector.detect(turned)
        # By the best score, not the number of faces: false detections are many and unsure.
        if faces.scores_n.max(initial=0) > best[2].scores_n.max(initial=0):
            best = (degrees, turned, faces)
    return best


def _classify(
    waiting: Sequence[CroppedImage],
    detector: Detector,
    classifier: FaceClassifier,
    policy: DecisionPolicy,
) -> Iterator[ImageReading]:
    info = classifier.info
    # One batch for all images that wait, most of which have one or two faces.
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
    item: CroppedImage,
    probs_nk: NDArray[np.float32],
    detector: str,
    model: str,
    policy: DecisionPolicy,
) -> ImageReading:
    """Return the reading of an image.

    Args:
        item: the image, with n faces.
        probs_nk: probabilities of its faces as the model gave them, float32 [n, k].
        detector: name of the detector.
        model: name of the model.
        policy: turns probabilities into labels.
    """
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
