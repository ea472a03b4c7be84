"""YuNet: one small fully convolutional network, run by ONNX Runtime.

Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20,
2023. The weights are libfacedetection's (BSD 3-clause, weights/yunet-LICENSE.txt);
tools/convert_yunet.py made the ONNX file from them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.errors import ModelFileError
from mien.files import sha256
from mien.imaging.boxes import suppress
from mien.imaging.crop import Framing
from mien.model.runtime import Session, read_model
from mien.predict.detectors.base import has_pixels
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("weights") / "yunet.onnx"
SHA256 = "68b40f01e7c4ab724ce9304711a01f9972d0ceddb80c18925ccd27f6ada0b365"
STRIDES = (8, 16, 32)
"""Pixels between two cells of each output map; images are padded to multiples of the last."""
SHORTER_SIDE = 224
"""Larger images are reduced by a whole factor for detection, to this shorter side or more."""
MAX_PIXELS = 1 << 20
"""Maximum pixels of the reduced image: long strips are reduced further."""
CLOSER_BELOW = 24
"""Side of a face, in reduced pixels, below which an image is detected again with more of them."""
HINT_SCORE = 0.3
"""Score from which on a box is a reason to do so; small faces score low."""
OVERLAP = 0.3
"""Maximum intersection over union of two faces."""
MAX_CANDIDATES = 4096
"""Boxes that are compared with each other, best first: crowds stay bounded."""


class YuNet:
    """Boxes and five landmarks.

    Args:
        min_score: minimum detection score, 0 to 1.
        shorter_side: see SHORTER_SIDE; larger finds smaller faces in more time.
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: the weights are missing or damaged.
    """

    name = "yunet"
    framing = Framing(scale=1.0, shift_y=0.016)
    parallel = True

    def __init__(
        self, min_score: float = 0.6, shorter_side: int = SHORTER_SIDE, threads: int = 0
    ) -> None:
        self._network = Session(read_weights(), WEIGHTS.name, threads)
        self._min_score, self._shorter_side = min_score, shorter_side

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes and landmarks, from left to right.

        A large image is detected again with more pixels while a possible face has a side of less
        than CLOSER_BELOW reduced ones: crowds have smaller faces beside those found.
        """
        if not has_pixels(image_hwc):
            return Faces.none()
        height, width = image_hwc.shape[:2]
        least = max(1, math.ceil(math.sqrt(width * height / MAX_PIXELS)))
        factor = max(least, min(width, height) // self._shorter_side)
        rows = self._candidates(image_hwc, factor)
        while factor > least and _smallest(rows) < CLOSER_BELOW * factor:
            factor = max(least, factor // 2)
            rows = np.concatenate([rows, self._candidates(image_hwc, factor)])
        rows = _select(rows[rows[:, 0] >= self._min_score], width, height)
        boxes, marks = rows[:, 1:5].copy(), rows[:, 5:].reshape(-1, 5, 2)
        return Faces(boxes, rows[:, 0].copy(), marks)

    def _candidates(self, image_hwc: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
        """Return the candidates found in the image reduced by a factor; see `_decode`."""
        pixels = image_hwc
        if factor > 1:
            pixels = np.asarray(Image.fromarray(image_hwc).reduce(factor))
        names = [f"stride{stride}" for stride in STRIDES]
        maps = self._network.run(names, pixels=_padded(pixels))
        least = min(self._min_score, HINT_SCORE)
        found = [_decode(m[0], s, least) for m, s in zip(maps, STRIDES, strict=True)]
        rows = np.concatenate(found)
        rows[:, 1:] *= factor
        return rows


def read_weights(path: Path = WEIGHTS) -> bytes:
    """Return the content of the ONNX file.

    Raises:
        ModelFileError: it is missing, or not the file that mien was released with.
    """
    content = read_model(path)
    found = sha256(content)
    if found != SHA256:
        raise ModelFileError(
            f"the weights of the face detector yunet are damaged: {path} has SHA-256 "
            f"{found[:12]}..., not {SHA256[:12]}...",
            hint="install mien again: pip install --force-reinstall --no-deps mien",
        )
    return content


def _padded(pixels_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 [1, h, w, 3] with black up to the next multiples of the largest stride."""
    height, width = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in pixels_hwc.shape[:2])
    padded = np.zeros((1, height, width, 3), np.uint8)
    padded[0, : pixels_hwc.shape[0], : pixels_hwc.shape[1]] = pixels_hwc
    return padded


def _decode(map_chw: NDArray[np.float32], stride: int, min_score: float) -> NDArray[np.float32]:
    """Return the candidates of one output map, float32 [16, rows, columns].

    float32 [n, 15] in pixels of the network's input: score, box (left, top, right, bottom), five
    landmarks (x, y).
    """
    # exp of the clipped negative cannot overflow.
    chance = 1 / (1 + np.exp(-np.clip(map_chw[:2], -30, 30)))
    score = np.sqrt(chance[0] * chance[1])
    y, x = np.nonzero(score >= min_score)
    cell = map_chw[2:, y, x].T
    corner = np.stack([x, y], axis=1).astype(np.float32)
    centre, half = corner + cell[:, :2], np.exp(np.minimum(cell[:, 2:4], 8)) / 2
    marks = cell[:, 4:].reshape(-1, 5, 2) + corner[:, None]
    values = [centre - half, centre + half, marks.reshape(-1, 10)]
    return np.concatenate([score[y, x, None], *(v * stride for v in values)], axis=1)


def _smallest(rows: NDArray[np.float32]) -> float:
    """Return the longer side of the smallest box, in pixels; infinity without boxes."""
    return float((rows[:, 3:5] - rows[:, 1:3]).max(axis=1).min(initial=np.inf))


def _select(rows: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return one candidate for each face, from left to right; see `_decode` for the rows."""
    centre = (rows[:, 1:3] + rows[:, 3:5]) / 2
    inside = ((centre >= 0) & (centre <= np.float32([width, height]))).all(axis=1)
    rows = rows[inside]
    rows = rows[np.argsort(-rows[:, 0], kind="stable")[:MAX_CANDIDATES]]
    rows = rows[suppress(rows[:, 1:5], rows[:, 0], OVERLAP)]
    return rows[np.argsort(rows[:, 1], kind="stable")]
