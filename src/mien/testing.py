"""Fakes for your own tests: a reader that needs no model and finds what you tell it to.

from mien import Reader
from mien.testing import FakeClassifier, FakeDetector

reader = Reader(FakeClassifier(["happy"]), detector=FakeDetector([(10, 10, 60, 60)]))
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import ALIGNMENT_ID, WHOLE
from mien.labels import THREE
from mien.model.info import ModelInfo
from mien.types import Faces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class FakeDetector:
    """Finds the same boxes, (x0, y0, x1, y1) in pixels, in every image."""

    name = "fake"
    framing = WHOLE

    def __init__(self, boxes: Sequence[tuple[float, float, float, float]] = ()) -> None:
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the boxes, each with score 1."""
        return Faces(self.boxes.copy(), np.ones(len(self.boxes), np.float32))


class FakeClassifier:
    """Names the labels given, in turn, with one confidence.

    Args:
        answers: the labels to name, over and over.
        labels: that the model knows.
        confidence: of each answer, above 1 / number of labels and below 1.
        unsure_below: the model's own threshold.
    """

    def __init__(
        self,
        answers: Sequence[str] = ("neutral",),
        labels: tuple[str, ...] = THREE,
        confidence: float = 0.9,
        unsure_below: float = 0.0,
    ) -> None:
        self.info = ModelInfo("fake", labels, 48, ALIGNMENT_ID, unsure_below=unsure_below)
        self.seen: list[NDArray[np.uint8]] = []
        self._answers = cycle([labels.index(answer) for answer in answers])
        self._logit = float(np.log(confidence * (len(labels) - 1) / (1 - confidence)))

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits whose softmax has the confidence asked for; keeps the crops in `seen`."""
        self.seen.append(crops_nhw)
        logits = np.zeros((len(crops_nhw), len(self.info.labels)), np.float32)
        for row in logits:
            row[next(self._answers)] = self._logit
        return logits
