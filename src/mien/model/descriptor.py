"""What tells one face from another: dlib's network, or the features of an expression model.

Descriptors are compared by their cosine similarity. dlib's network (CC0, optional package
`face_recognition_models`) was trained for that. The features of an expression model were not: with
coarse colours of the face and around it, which a person keeps for a session, they are what is left
where the package is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from mien.model.dlib_graph import INPUT, OUTPUT, dlib_graph
from mien.model.dlib_weights import find_file, is_installed, read_file
from mien.model.runtime import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.embedder import Embedder

DLIB, OWN = "dlib-face", "mien-small-colours"
PURPOSE = "people"
DLIB_THRESHOLD, DLIB_MARGIN = 0.915, 0.015
"""Cosine similarity of two descriptors of one person: dlib's distance of 0.6 at their usual norm
(dlib/examples/dnn_face_recognition_ex.cpp); see bench/people.py."""
OWN_THRESHOLD, OWN_MARGIN = 0.65, 0.05
"""The same for features and colours; chosen on the sessions of bench/people.py."""
DLIB_SAME_TRACK, OWN_SAME_TRACK = 0.955, 0.52
"""The same for two chips of one track, which is seldom of two people; see bench/people.py."""
CHIPS_AT_ONCE = 16
FACE_OF_CHIP = (19, 15, 131, 127)
"""The part of a chip that an expression model's crop shows (x0, y0, x1, y1), pixels."""
GRID = 6
"""Rows and columns of the colours of a chip."""


class FaceDescriptor(Protocol):
    """Turns aligned chips into descriptors.

    Attributes:
        name: stands in people.json; descriptors of two names are never compared.
        threshold: cosine similarity, -1 to 1, from which on two are of one person.
        margin: how far below it the same person is still possible.
        same_track: likewise, of two chips of one track: if no pair is as similar, it is divided.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def margin(self) -> float: ...  # noqa: D102
    @property
    def same_track(self) -> float: ...  # noqa: D102

    def embed(self, chips_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 [n, d] with norm 1 for chips, uint8 [n, 150, 150, 3] RGB."""


@dataclass(frozen=True, slots=True)
class DlibDescriptor:
    """dlib's face-recognition network; see `FaceDescriptor`."""

    session: Session
    name: str = DLIB
    threshold: float = DLIB_THRESHOLD
    margin: float = DLIB_MARGIN
    same_track: float = DLIB_SAME_TRACK

    @classmethod
    def load(cls, threads: int = 0) -> DlibDescriptor:
        """Return the network of the installed package.

        Raises:
            ModelFileError: the package is missing, or its file is not the published one.
            MissingExtraError: the package onnx is not installed.
        """
        network = read_file(find_file(PURPOSE, "people"), PURPOSE)
        # The graph is made each time, in a quarter of a second: a cached one could be changed.
        return cls(Session(dlib_graph(network), "dlib's face-recognition ResNet", threads))

    def embed(self, chips_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 [n, 128]; see `FaceDescriptor`."""
        parts = [
            self.session.run([OUTPUT], **{INPUT: chips_nhwc[start : start + CHIPS_AT_ONCE]})[0]
            for start in range(0, len(chips_nhwc), CHIPS_AT_ONCE)
        ]
        return _unit(np.concatenate(parts))


@dataclass(frozen=True, slots=True)
class AppearanceDescriptor:
    """Features of an expression model, and colours; see `FaceDescriptor`."""

    embedder: Embedder
    name: str = OWN
    threshold: float = OWN_THRESHOLD
    margin: float = OWN_MARGIN
    same_track: float = OWN_SAME_TRACK

    @classmethod
    def load(cls, threads: int = 0) -> AppearanceDescriptor:
        """Return the features of the default model.

        Raises:
            MissingExtraError: the package onnx is not installed.
        """
        from mien.model.embedder import Embedder

        return cls(Embedder.load(None, threads))

    def embed(self, chips_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 [n, d]; see `FaceDescriptor`."""
        size = self.embedder.info.input_size
        crops = np.stack([_grey(chip, size) for chip in chips_nhwc])
        features = self.embedder.embed(crops)
        centred = features - features.mean(axis=1, keepdims=True)
        colours = np.stack([_colours(chip) for chip in chips_nhwc])
        return _unit(np.concatenate([_unit(centred), _unit(colours)], axis=1))


def load_descriptor(threads: int = 0) -> FaceDescriptor:
    """Return dlib's network where its package is installed, else the default model's features.

    Raises:
        ModelFileError: the package is installed, but its file is missing or changed.
        MissingExtraError: the package onnx is not installed.
    """
    return DlibDescriptor.load(threads) if is_installed() else AppearanceDescriptor.load(threads)


def _grey(chip_hwc: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    image = Image.fromarray(chip_hwc).convert("L")
    small = image.resize((size, size), Image.Resampling.BILINEAR, box=FACE_OF_CHIP)
    return np.asarray(small, np.uint8)


def _colours(chip_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a coarse grid of colours; the light's brightness and colour cancel out."""
    image = Image.fromarray(chip_hwc).resize((GRID, GRID), Image.Resampling.BOX)
    grid = np.log(np.asarray(image, np.float32) + 16)
    brightness = grid.mean(axis=2, keepdims=True)
    # Light multiplies all of the colours alike, so it adds to their logarithms.
    tint = grid - brightness
    tint = tint - tint.mean(axis=(0, 1))
    brightness = brightness - brightness.mean()
    joined = np.concatenate([brightness, tint], axis=2)
    return joined.ravel().astype(np.float32)


def _unit(vectors_nd: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors_nd, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors_nd / np.maximum(norms, 1e-9)).astype(np.float32)
    return unit
