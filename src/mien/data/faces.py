"""Crop the face of each photo for training; distinguish photos from face crops.

Prediction detects a face, frames it and crops it (`imaging/crop.py`). Training images that were
cropped in another way would teach a network another margin, so photos are cropped here by the same
detector, framing and function. Images that are face crops already are read whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.data.records import Origin
from mien.imaging.crop import crop_faces, crop_whole, squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.types import Faces

MODES = ("auto", "find", "whole")
SAMPLE = 40
"""Maximum number of images that are examined to distinguish photos from crops."""
SMALL = 64
"""Longer side in pixels up to which an image is a crop: no photo is so small."""
CROP_FRACTION = 0.7
"""Minimum fraction of the shorter side that the face's square takes in a crop. Of FER2013's
faces, enlarged to 48 to 224 pixels, 1 to 10% are below it, of the example portraits all."""
PHOTO_FRACTION = 0.15
"""Fraction of the sampled faces below CROP_FRACTION from which on the images are photos."""
DETECTED_FRACTION = 0.2
"""Minimum fraction of the sample with a detected face; below it the detector does not know images
of this kind."""
MAIN_FACE_RATIO = 1.5
"""Of several faces the largest is cropped where its side is this many times the next one's."""
PAD = 0.25
"""Width of the repeated edge pixels around a padded image, as a fraction of its sides."""


class FaceDetector(Protocol):
    """Detects faces; passed in by the command line, since this package imports no networks.

    Attributes:
        name: recorded in the dataset.
        framing: how its boxes become the square that is cropped, the same as in prediction.
    """

    name: str
    framing: Framing

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces in an image, uint8 [h, w, 3] RGB."""
        ...


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """The face of one image.

    Attributes:
        crop: uint8 [size, size], or None where the image is skipped.
        origin: the image's size, and the face's box.
        kind: '' or why the image is skipped: 'no-face' or 'several-faces'.
        reason: the same, for people.
        fraction: side of the face's square over the image's shorter side; 0 without a face.
        boxes_xyxy: float32 [n, 4], all detected faces.
    """

    crop: NDArray[np.uint8] | None
    origin: Origin
    kind: str
    reason: str
    fraction: float
    boxes_xyxy: NDArray[np.float32]


def crop_face(
    image_hwc: NDArray[np.uint8], detector: FaceDetector, size: int, *, allow_whole: bool
) -> FaceCrop:
    """Return the main face of an image, cropped as prediction crops it.

    Args:
        image_hwc: uint8 [h, w, 3] RGB.
        detector: detects the faces.
        size: height and width of the crop, in pixels.
        allow_whole: read an image without a detected face whole where a face fills it to the
            edges, so that it is detected in a padded copy only, or where it is too small for a
            photo.
    """
    height, width = image_hwc.shape[:2]
    whole = Origin(width, height)
    faces = detector.detect(image_hwc)
    boxes = np.asarray(faces.boxes_xyxy, np.float32)
    if not len(faces):
        fraction = 0.0
        if allow_whole:
            # Detectors miss faces that touch the edge, as tight crops have it.
            # Over the side of the image itself, without the padding.
            fraction = _face_fraction(_padded(image_hwc), detector) * (1 + 2 * PAD)
        if allow_whole and (fraction >= CROP_FRACTION or max(height, width) <= SMALL):
            return FaceCrop(crop_whole(image_hwc, size), whole, "", "", fraction, boxes)
        return FaceCrop(None, whole, "no-face", "no face was found in it", 0.0, boxes)
    sides = _sides(boxes, detector.framing)
    order = np.argsort(-sides)
    best = int(order[0])
    fraction = float(sides[best]) / min(height, width)
    # A wrong face under a label is worse for training than an image less.
    if len(order) > 1 and sides[best] < MAIN_FACE_RATIO * sides[order[1]]:
        reason = (
            f"{len(order)} faces, the largest {sides[best]:.0f} and {sides[order[1]]:.0f} pixels "
            "high: it is unclear which of them the label is about"
        )
        return FaceCrop(None, whole, "several-faces", reason, fraction, boxes)
    crop = crop_faces(image_hwc, boxes[best : best + 1], detector.framing, size)[0]
    marks = faces.landmarks_n52
    origin = Origin(
        width, height,
        box=tuple(float(v) for v in boxes[best]),
        score=float(faces.scores_n[best]),
        landmarks=None if marks is None else tuple((float(x), float(y)) for x, y in marks[best]),
    )  # fmt: skip
    return FaceCrop(crop, origin, "", "", fraction, boxes)


def _sides(boxes: NDArray[np.float32], framing: Framing) -> NDArray[np.float32]:
    """Return the side of each face's square, float32 [n], in pixels."""
    frames = squares(boxes, framing)
    return np.asarray(frames[:, 2] - frames[:, 0], np.float32)


def _face_fraction(image: NDArray[np.uint8], detector: FaceDetector) -> float:
    """Return the side of the largest face's square over the image's shorter side, 0 for none."""
    boxes = np.asarray(detector.detect(image).boxes_xyxy, np.float32)
    height, width = image.shape[:2]
    largest = float(_sides(boxes, detector.framing).max(initial=0))
    return largest / float(min(height, width))


def _padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    y, x = (round(PAD * side) for side in image.shape[:2])
    return np.pad(image, ((y, y), (x, x), (0, 0)), mode="edge")


@dataclass(frozen=True, slots=True)
class FaceMode:
    """Whether faces are detected or images are read whole, and the evidence for it.

    Attributes:
        asked: requested mode, one of MODES.
        mode: 'find' or 'whole'.
        why: the evidence, for people.
        detector: name of the detector where one was used, else ''.
        doubt: evidence against it, for people, or ''.
    """

    asked: str
    mode: str
    why: str
    detector: str = ""
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON types."""
        return asdict(self)


def choose_mode(sample: Sequence[FaceCrop], detector: FaceDetector) -> FaceMode:
    """Return whether to detect faces, from a sample of the images."""
    # Images without a detected face say nothing about how the faces are framed.
    fractions = np.array([f.fraction for f in sample if f.fraction > 0])
    photos = int((fractions < CROP_FRACTION).sum())
    found = f"a face was found in {len(fractions)} of {len(sample)} sampled images"
    if len(fractions) < max(1, DETECTED_FRACTION * len(sample)):
        return FaceMode(
            "auto", "whole", f"{found}: too few to crop by", detector.name,
            doubt="the images are read whole, as face crops; if they are photos, a network would "
            "learn their backgrounds",
        )  # fmt: skip
    takes = f"it takes {np.median(fractions):.0%} of the shorter side (median)"
    few = f"{photos} of {len(fractions)} take less than {CROP_FRACTION:.0%}"
    if photos >= max(1, PHOTO_FRACTION * len(fractions)):
        return FaceMode("auto", "find", f"photos: {found}; {takes}, {few}", detector.name)
    # Too few to call the folder photos, but enough to say so.
    doubt = f"{few}: these are resized whole" if photos else ""
    return FaceMode("auto", "whole", f"face crops: {found}; {takes}", detector.name, doubt)
