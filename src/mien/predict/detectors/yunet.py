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
from mien.imaging.boxes import overlaps, suppress
from mien.imaging.crop import Framing
from mien.imaging.reduce import reduce_by
from mien.model.runtime import Session, read_model
from mien.predict.detectors.base import has_pixels
from mien.predict.detectors.mtcnn import WIDER, FaceVerifier, upright
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("weights") / "yunet.onnx"
SHA256 = "68b40f01e7c4ab724ce9304711a01f9972d0ceddb80c18925ccd27f6ada0b365"
STRIDES = (8, 16, 32)
"""Pixels between two cells of each output map; images are padded to multiples of the last."""
SHORTER_SIDE = 224
"""Larger images are reduced by a whole factor for the first pass, to this shorter side or more."""
MAX_PIXELS = 1920 * 1088
"""Maximum pixels that the network sees: larger images are always reduced."""
MAX_ENLARGED = 1280 * 1024
"""Maximum pixels of an image enlarged by 2 for its small faces."""
CLOSER_BELOW = 48
"""Side of a possible face, in the network's pixels, that makes another pass with more pixels."""
HINT_SCORE = 0.05
"""Score from which on a box is a possible face; small and turned faces score low."""
CLEAR_HINT = 0.15
"""The same beside a certain face: parts of the background often score up to that."""
MAX_HINTS = 256
"""Possible faces that are compared with each other, best first: noisy images stay bounded."""
MAX_LOOKS = 4
"""Possible faces that are looked at more closely, best first, until one is confirmed."""
LOOK_SIDES = 2
"""Side of the part of the image that is looked at, in sides of the possible face."""
LOOK_PIXELS = 96
"""Side of that part in the network's pixels."""
SAME_PLACE = 0.35
"""Maximum distance of the possible face from the one found there, in its sides."""
CONFIRMED_SCORE = 0.3
"""Score in that part from which on another pass with more pixels follows."""
TILTED_LOOKS = 3
"""Possible faces, best first, that the detector yunet-tilted looks at once more."""
SECOND_HINT = 0.1
"""Score from which on a possible face gets such a look."""
TURNS = (0.0, 45.0, -45.0)
"""Degrees clockwise by which the part of the image is turned for these looks: YuNet knows upright
faces."""
SECOND_SCORE = 0.5
"""Minimum score in one of these looks."""
MIN_SCORE = 0.3
CERTAIN_SCORE = 0.85
"""From MIN_SCORE on MTCNN's last network verifies a face; from this on it is certain. In 300 images
without a face no box scored more than 0.84."""
CERTAIN_FROM = 0.97
"""Reported score of a face with CERTAIN_SCORE; above, it rises to 1."""
VERIFICATION = (1.14, 0.71, -0.76)
"""Logistic regression on YuNet's and the verifier's logit: two weights and the intercept."""
MIN_VERIFIED = 0.6
"""Minimum result of that regression, 0 to 1."""
HIGHEST_VERIFIED = 0.94
"""Maximum score of a verified face: `rotate="auto"` takes a face of 0.98 or more as upright, and
turned faces that the verifier confirms reach 0.97."""
WITHIN = 0.5
"""Overlap with a certain face, over the smaller area, that makes a box a part of that face."""
OVERLAP = 0.3
"""Maximum intersection over union of two faces."""
MAX_CANDIDATES = 4096
"""Boxes that are compared with each other, best first: crowds stay bounded."""


class YuNet:
    """Boxes and five landmarks.

    The score is 0.97 to 1 for a face that is certain without MTCNN's last network,
    0.6 to 0.94 for one that it verified.

    Args:
        threads: CPU threads (0 = all cores).
        second_looks: possible faces, best first, that are looked at once more where no face was
            found, turned by TURNS too: tilted heads are found more often, for up to three times the
            time in images with such places.

    Raises:
        ModelFileError: the weights are missing or damaged.
    """

    framing = Framing(scale=0.993, shift_x=0.001, shift_y=0.014)
    parallel = True
    enough_pixels = MAX_PIXELS

    def __init__(self, threads: int = 0, *, second_looks: int = 0) -> None:
        self.name = "yunet-tilted" if second_looks else "yunet"
        self._second_looks = second_looks
        self._network = Session(read_weights(), WEIGHTS.name, threads)
        self._verifier = FaceVerifier(threads)

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes and landmarks, from left to right.

        The first pass sees few pixels; without a certain face a second one follows. More passes,
        each with twice the pixels a side, follow while a face is small, because crowds have
        smaller ones beside it. Whether a possible face is one is seen in a part of the image first.
        """
        if not has_pixels(image_hwc):
            return Faces.none()
        height, width = image_hwc.shape[:2]
        least = math.ceil(math.sqrt(width * height / MAX_PIXELS))
        # A whole factor, by which images are reduced to exact means of blocks.
        factor: float = max(1, least, min(width, height) // SHORTER_SIDE)
        rows, first = self._candidates(image_hwc, factor), True
        while True:
            closer = _closer(factor, least, width * height)
            if closer == factor or not self._pays(image_hwc, rows, factor, first):
                break
            factor, first = closer, False
            rows = np.concatenate([rows, self._candidates(image_hwc, factor)])
        found = _select(rows[rows[:, 0] >= MIN_SCORE], width, height)
        found = self._verified(image_hwc, found)
        if self._second_looks:
            found = self._with_turned(image_hwc, found, rows)
        return Faces(found[:, 1:5].copy(), found[:, 0].copy(), found[:, 5:].reshape(-1, 5, 2))

    def refine(self, image_hwc: NDArray[np.uint8], faces: Faces) -> Faces:
        """Return the faces with the landmarks of the verifier: YuNet's own hardly follow a tilt."""
        if faces.landmarks_n52 is None or not len(faces):
            return faces
        marks = self._verifier.landmarks(image_hwc, faces.boxes_xyxy, faces.landmarks_n52)
        return Faces(faces.boxes_xyxy, faces.scores_n, marks)

    def _pays(
        self, image_hwc: NDArray[np.uint8], rows: NDArray[np.float32], factor: float, first: bool
    ) -> bool:
        """Return whether a pass with more pixels than at this factor may find more faces.

        It takes longer than all passes before, so parts of the background must not lead to it.
        """
        certain = rows[:, 0] >= CERTAIN_SCORE
        small = (rows[:, 3:5] - rows[:, 1:3]).max(axis=1, initial=0) < CLOSER_BELOW * factor
        if (certain & small).any() or (first and factor > 1 and not certain.any()):
            return True
        least = CLEAR_HINT if certain.any() else HINT_SCORE
        within = overlaps(rows[certain, 1:5], rows[:, 1:5], "smaller").max(axis=0, initial=0)
        hints = rows[small & (rows[:, 0] >= least) & (within < WITHIN)]
        hints = hints[_inside(hints, image_hwc.shape[1], image_hwc.shape[0])]
        hints = hints[np.argsort(-hints[:, 0], kind="stable")[:MAX_HINTS]]
        hints = hints[suppress(hints[:, 1:5], hints[:, 0], OVERLAP)[:MAX_LOOKS]]
        return any(self._confirms(image_hwc, box) for box in hints[:, 1:5])

    def _confirms(self, image_hwc: NDArray[np.uint8], box: NDArray[np.float32]) -> bool:
        """Return whether a possible face is one in a look at the part of the image around it."""
        side = float((box[2:] - box[:2]).max())
        middle, half = (box[:2] + box[2:]) / 2, side * LOOK_SIDES / 2
        left, top = (math.floor(v) for v in middle - half)
        whole = math.ceil(2 * half)
        part, size = _part(image_hwc, left, top, whole), (LOOK_PIXELS, LOOK_PIXELS)
        resized = Image.fromarray(part).resize(size, Image.Resampling.BILINEAR)
        found = self._read(np.asarray(resized))
        found = found[found[:, 0] >= CONFIRMED_SCORE]
        centre = (found[:, 1:3] + found[:, 3:5]) / 2 * (whole / LOOK_PIXELS) + (left, top)
        return bool((np.abs(centre - middle).max(axis=1) <= SAME_PLACE * side).any())

    def _with_turned(
        self, image_hwc: NDArray[np.uint8], found: NDArray[np.float32], rows: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the faces found, and those that a second look at other candidates finds.

        All of them are verified, and score at most HIGHEST_VERIFIED.
        """
        height, width = image_hwc.shape[:2]
        hints = rows[(rows[:, 0] >= SECOND_HINT) & _inside(rows, width, height)]
        within = overlaps(found[:, 1:5], hints[:, 1:5], "smaller").max(axis=0, initial=0)
        hints = hints[within < WITHIN]
        hints = hints[np.argsort(-hints[:, 0], kind="stable")[:MAX_HINTS]]
        hints = hints[suppress(hints[:, 1:5], hints[:, 0], OVERLAP)[: self._second_looks]]
        seen = [self._second_look(image_hwc, box) for box in hints[:, 1:5]]
        more = _select(np.concatenate([rows[:0], *seen]), width, height)
        more = self._verified(image_hwc, more)
        shared = overlaps(found[:, 1:5], more[:, 1:5]).max(axis=0, initial=0)
        both = np.concatenate([found, more[shared <= OVERLAP]])
        return both[np.argsort(both[:, 1], kind="stable")]

    def _second_look(
        self, image_hwc: NDArray[np.uint8], box: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the best candidate, [1 or 0, 15], at the place of another, whatever its tilt."""
        side = float((box[2:] - box[:2]).max())
        middle = (box[:2] + box[2:]) / 2
        wide = round(LOOK_PIXELS * WIDER)
        whole = math.ceil(side * LOOK_SIDES * WIDER)
        left, top = (math.floor(v - whole / 2) for v in middle)
        part = Image.fromarray(_part(image_hwc, left, top, whole))
        bands = np.asarray(part.resize((wide, wide), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        best = np.zeros((0, 15), np.float32)
        for degrees in TURNS:
            angle = math.radians(degrees)
            level = np.array([[math.cos(angle), math.sin(angle)]] * 3)
            rows = self._read(upright(bands, level, LOOK_PIXELS).transpose(1, 2, 0))
            centre = (rows[:, 1:3] + rows[:, 3:5]) / 2 - LOOK_PIXELS / 2
            near = np.abs(centre).max(axis=1, initial=0) <= SAME_PLACE * LOOK_PIXELS / LOOK_SIDES
            rows = rows[near & (rows[:, 0] >= SECOND_SCORE)]
            rows = rows[np.argsort(-rows[:, 0], kind="stable")[:1]]
            if len(rows) and (not len(best) or rows[0, 0] > best[0, 0]):
                corner = np.array([left, top], np.float32) + np.float32(whole / 2)
                best = _turned_back(rows, angle, whole / wide, corner)
        # Below certain: the verifier decides, for the look was chosen to find a face.
        best[:, 0] = np.minimum(best[:, 0], np.float32(CERTAIN_SCORE - 0.01))
        return best

    def _candidates(self, image_hwc: NDArray[np.uint8], factor: float) -> NDArray[np.float32]:
        """Return the candidates found in the image reduced by a factor; 0.5 enlarges it."""
        pixels = image_hwc
        if factor > 1:
            pixels = reduce_by(image_hwc, int(factor))
        elif factor < 1:
            size = 2 * image_hwc.shape[1], 2 * image_hwc.shape[0]
            pixels = np.asarray(Image.fromarray(image_hwc).resize(size, Image.Resampling.BILINEAR))
        rows = self._read(pixels)
        rows[:, 1:] *= np.float32(factor)
        return rows

    def _read(self, pixels_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the candidates in the pixels that the network is to see; see `_decode`."""
        names = [f"stride{stride}" for stride in STRIDES]
        maps = self._network.run(names, pixels=_padded(pixels_hwc))
        found = [_decode(m[0], s, HINT_SCORE) for m, s in zip(maps, STRIDES, strict=True)]
        return np.concatenate(found)

    def _verified(
        self, image_hwc: NDArray[np.uint8], rows: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the rows that are faces, with their final score."""
        doubtful = rows[:, 0] < CERTAIN_SCORE
        rise = np.float32((1 - CERTAIN_FROM) / (1 - CERTAIN_SCORE))
        scores = CERTAIN_FROM + (rows[:, 0] - CERTAIN_SCORE) * rise
        if doubtful.any():
            own, marks = rows[doubtful, 0], rows[doubtful, 5:].reshape(-1, 5, 2)
            other = self._verifier.scores(image_hwc, rows[doubtful, 1:5], marks)
            weight, other_weight, intercept = (np.float32(v) for v in VERIFICATION)
            logit = weight * _logit(own) + other_weight * _logit(other) + intercept
            scores[doubtful] = 1 / (1 + np.exp(-logit))
            scores[doubtful] = np.minimum(scores[doubtful], np.float32(HIGHEST_VERIFIED))
        rows[:, 0] = scores
        return rows[~doubtful | (scores >= MIN_VERIFIED)]


def read_weights(path: Path = WEIGHTS) -> bytes:
    """Return the content of the ONNX file.

    Raises:
        ModelFileError: it is missing, or not the file that mien was released with.
    """
    content = read_model(path)
    found = sha256(content)
    # A damaged or exchanged network would find other faces without a word, and every figure that
    # is published for this detector would be wrong.
    if found != SHA256:
        raise ModelFileError(
            f"the weights of the face detector yunet are damaged: {path} has SHA-256 "
            f"{found[:12]}..., not {SHA256[:12]}...",
            hint="install mien again: pip install --force-reinstall --no-deps mien",
        )
    return content


def _part(image_hwc: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Return a square of an image, uint8 [side, side, 3]; black outside the image."""
    height, width = image_hwc.shape[:2]
    part = np.zeros((side, side, 3), np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = max(min(left + side, width), x0), max(min(top + side, height), y0)
    part[y0 - top : y1 - top, x0 - left : x1 - left] = image_hwc[y0:y1, x0:x1]
    return part


def _turned_back(
    rows: NDArray[np.float32], angle: float, scale: float, middle_xy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return rows (see `_decode`) of a turned part of an image in the pixels of the image.

    Args:
        rows: in the pixels of the part, a square of side LOOK_PIXELS.
        angle: by which it was turned, radians.
        scale: pixels of the image per pixel of the part.
        middle_xy: of the part, in the image.
    """
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))

    def place(points: NDArray[np.float32]) -> NDArray[np.float32]:
        x, y = (points[..., axis] - np.float32(LOOK_PIXELS / 2) for axis in (0, 1))
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
        return (middle_xy + turned * np.float32(scale)).astype(np.float32)

    centre = place((rows[:, 1:3] + rows[:, 3:5]) / np.float32(2))
    half = (rows[:, 3:5] - rows[:, 1:3]) * np.float32(scale / 2)
    if angle:  # a box that stands on its corner has no width of its own
        half = np.repeat(half.max(axis=1, keepdims=True), 2, axis=1)
    marks = place(rows[:, 5:].reshape(-1, 5, 2)).reshape(-1, 10)
    return np.concatenate([rows[:, :1], centre - half, centre + half, marks], axis=1)


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
    # Both factors of a high enough score are at least its square: few cells remain to compute.
    least = np.float32(math.log(min_score**2 / (1 - min_score**2)))
    y, x = np.nonzero((map_chw[0] >= least) & (map_chw[1] >= least))
    # The network gives two scores a cell, for class and for object; a face's is their geometric
    # mean.
    chance = 1 / (1 + np.exp(-map_chw[:2, y, x]))
    score = np.sqrt(chance[0] * chance[1])
    kept = score >= min_score
    y, x, score = y[kept], x[kept], score[kept]
    cell = map_chw[2:, y, x].T
    corner = np.stack([x, y], axis=1).astype(np.float32)
    # Sizes are logarithms; capped, since exp of a stray value would overflow.
    centre, half = corner + cell[:, :2], np.exp(np.minimum(cell[:, 2:4], 8)) / 2
    marks = cell[:, 4:].reshape(-1, 5, 2) + corner[:, None]
    values = [centre - half, centre + half, marks.reshape(-1, 10)]
    return np.concatenate([score[:, None], *(v * stride for v in values)], axis=1)


def _logit(score_n: NDArray[np.float32]) -> NDArray[np.float32]:
    bounded = np.clip(score_n, np.float32(0.003), np.float32(0.9995))
    logit_n: NDArray[np.float32] = np.log(bounded / (1 - bounded))
    return logit_n


def _closer(factor: float, least: int, pixels: int) -> float:
    """Return the factor of the next pass; the same factor after the last one."""
    if factor > least:
        return max(factor // 2, least)
    return 0.5 if factor == 1 and 4 * pixels <= MAX_ENLARGED else factor


def _inside(rows: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """Return whether each box's centre is on the image."""
    centre = (rows[:, 1:3] + rows[:, 3:5]) / 2
    on_image = (centre >= 0) & (centre <= np.array([width, height], np.float32))
    inside_n: NDArray[np.bool_] = np.logical_and.reduce(on_image, axis=1)
    return inside_n


def _select(rows: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return one candidate for each face, from left to right; see `_decode` for the rows."""
    rows = rows[_inside(rows, width, height)]
    # Stable, here and below: equal scores keep their order on every machine.
    rows = rows[np.argsort(-rows[:, 0], kind="stable")[:MAX_CANDIDATES]]
    rows = rows[suppress(rows[:, 1:5], rows[:, 0], OVERLAP)]
    return rows[np.argsort(rows[:, 1], kind="stable")]
