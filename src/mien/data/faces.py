"""Photos become training faces: whether images are photos or crops, and the face of each.

Prediction finds a face, frames it as the detector says and crops it (`imaging/crop.py`). Training
images that were cropped in another way would teach a network another margin; so a photo is
cropped here by the same detector, framing and function. Images that are face crops already are
taken whole, as they always were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.data.sources.collection import Origin
from mien.imaging.crop import crop_faces, crop_whole, squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.types import Faces

MODES = ("auto", "find", "whole")
SAMPLE = 40
"""Images that are looked at to tell photos from crops."""
SMALL = 64
"""Longer side in pixels up to which an image is a crop: no photo is so small."""
CROP_SHARE = 0.7
"""Share of an image's shorter side that the face's square takes in a crop, at least. Of FER2013's
faces, enlarged to 48 to 224 pixels, 1 to 10% lie below it, of the example portraits all."""
PHOTO_SHARE = 0.15
"""Share of the sampled faces below CROP_SHARE from which on the collection is one of photos."""
FOUND_SHARE = 0.2
"""Share of the sample in which a face must be found; else the detector does not know its kind."""
SUBJECT = 1.5
"""Of several faces the largest is the subject where its side is this many times the next's."""
PAD = 0.25
"""Repeated edge pixels around an image, as a share of it, where a face fills it to the edge."""


class FaceDetector(Protocol):
    """Finds faces; given by the command line, since data knows no networks.

    Attributes:
        name: recorded in the dataset.
        framing: from its boxes to the square that is cropped, the same as in prediction.
    """

    name: str
    framing: Framing

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces in an image, uint8 [h, w, 3] RGB."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """The face of one image.

    Attributes:
        crop: uint8 [size, size], or None where the image is left out.
        origin: the image's size, and where the face lies in it.
        kind: '' or why it is left out: 'no-face' or 'several-faces'.
        reason: the same in words.
        share: side of the face's square over the image's shorter side; 0 without a face.
        boxes_xyxy: float32 [n, 4], all faces that were found.
    """

    crop: NDArray[np.uint8] | None
    origin: Origin
    kind: str
    reason: str
    share: float
    boxes_xyxy: NDArray[np.float32]


def find_face(
    image_hwc: NDArray[np.uint8], detector: FaceDetector, size: int, *, crops: bool
) -> Found:
    """Return the one face of an image, cropped as prediction crops it.

    Args:
        image_hwc: uint8 [h, w, 3] RGB.
        detector: that finds the faces.
        size: height and width of the crop, in pixels.
        crops: take an image whole where its face reaches the edges, so that only a padded copy
            shows it to the detector, or where it is too small for a photo.
    """
    height, width = image_hwc.shape[:2]
    whole = Origin(width, height)
    faces = detector.detect(image_hwc)
    boxes = np.asarray(faces.boxes_xyxy, np.float32)
    if not len(faces):
        share = _share(_padded(image_hwc), detector) * (1 + 2 * PAD) if crops else 0.0
        if crops and (share >= CROP_SHARE or max(height, width) <= SMALL):
            return Found(crop_whole(image_hwc, size), whole, "", "", share, boxes)
        return Found(None, whole, "no-face", "no face was found in it", 0.0, boxes)
    sides = _sides(boxes, detector.framing)
    order = np.argsort(-sides)
    best = int(order[0])
    share = float(sides[best]) / min(height, width)
    if len(order) > 1 and sides[best] < SUBJECT * sides[order[1]]:
        reason = (
            f"{len(order)} faces, the largest {sides[best]:.0f} and {sides[order[1]]:.0f} pixels "
            "high: which one the label is about cannot be told"
        )
        return Found(None, whole, "several-faces", reason, share, boxes)
    crop = crop_faces(image_hwc, boxes[best : best + 1], detector.framing, size)[0]
    marks = faces.landmarks_n52
    origin = Origin(
        width, height,
        box=tuple(float(v) for v in boxes[best]),
        score=float(faces.scores_n[best]),
        landmarks=None if marks is None else tuple((float(x), float(y)) for x, y in marks[best]),
    )  # fmt: skip
    return Found(crop, origin, "", "", share, boxes)


def _sides(boxes: NDArray[np.float32], framing: Framing) -> NDArray[np.float32]:
    frames = squares(boxes, framing)
    return np.asarray(frames[:, 2] - frames[:, 0], np.float32)


def _share(image: NDArray[np.uint8], detector: FaceDetector) -> float:
    boxes = np.asarray(detector.detect(image).boxes_xyxy, np.float32)
    height, width = image.shape[:2]
    largest = float(_sides(boxes, detector.framing).max(initial=0))
    return largest / float(min(height, width))


def _padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    y, x = (round(PAD * side) for side in image.shape[:2])
    return np.pad(image, ((y, y), (x, x), (0, 0)), mode="edge")


@dataclass(frozen=True, slots=True)
class Decision:
    """How the faces of a collection are taken, and the evidence.

    Attributes:
        asked: one of MODES.
        mode: 'find' or 'whole'.
        why: in words.
        detector: name of the detector where it was asked, else ''.
        doubt: what speaks against it, in words, or ''.
    """

    asked: str
    mode: str
    why: str
    detector: str = ""
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON types."""
        return {
            "asked": self.asked,
            "mode": self.mode,
            "why": self.why,
            "detector": self.detector,
            "doubt": self.doubt,
        }


def decide(sample: Sequence[Found], detector: FaceDetector) -> Decision:
    """Return how the faces of a collection are taken, from a sample of its images."""
    shares = np.array([f.share for f in sample if f.share > 0])
    photos = int((shares < CROP_SHARE).sum())
    found = f"a face was found in {len(shares)} of {len(sample)} sampled images"
    if len(shares) < max(1, FOUND_SHARE * len(sample)):
        return Decision(
            "auto", "whole", f"{found}: too few to crop by", detector.name,
            doubt="they are taken whole, as face crops; photos would teach their backgrounds",
        )  # fmt: skip
    takes = f"it takes {np.median(shares):.0%} of the shorter side (median)"
    few = f"{photos} of {len(shares)} take less than {CROP_SHARE:.0%}"
    if photos >= max(1, PHOTO_SHARE * len(shares)):
        return Decision("auto", "find", f"photos: {found}; {takes}, {few}", detector.name)
    doubt = f"{few}: these are shrunk whole" if photos else ""
    return Decision("auto", "whole", f"face crops: {found}; {takes}", detector.name, doubt)
