"""Uploaded images to answers: read `Predictor.read` first.

Decoding, detection and cropping run in as many threads as there are cores, each image in one;
the crops of all clients then meet in the model's `Batcher`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mien.errors import SourceError
from mien.imaging.draw import annotate
from mien.predict.decision import DecisionPolicy
from mien.predict.detectors.mtcnn import Mtcnn
from mien.predict.detectors.whole import WholeImage
from mien.predict.pipeline import CroppedImage, crop_image, label_faces
from mien.serve.batching import Batcher
from mien.serve.decode import UnknownKindError, decode
from mien.serve.problems import UNREADABLE, Problem
from mien.types import Faces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.serve.catalogue import Catalogue, Served
    from mien.serve.metrics import Metrics
    from mien.serve.settings import Settings
    from mien.types import ImageReading

ANNOTATED_SIDE = 2048
"""Annotated images are scaled down to this longer side: they are for looking at."""
NAME = "the image"


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How a client wants its images read.

    Attributes:
        model: that names the expressions.
        min_confidence: below it a face is 'unsure'; None takes the model's own.
        whole: each image is one face crop already.
        annotated: a copy with the readings drawn on it is wanted too.
    """

    model: Served
    min_confidence: float | None = None
    whole: bool = False
    annotated: bool = False


class Predictor:
    """Reads uploaded images; lives in the event loop, works in threads.

    Args:
        catalogue: the models.
        settings: of the server.
        metrics: are told.
        detector: finds the faces; MTCNN by default.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        metrics: Metrics,
        detector: Detector | None = None,
    ) -> None:
        self.limits, self._metrics = settings.limits, metrics
        self.detector: Detector = detector or Mtcnn(threads=1)
        self._whole = WholeImage()
        # One thread an image, each with one core: two half images take longer than one whole.
        self._threads = ThreadPoolExecutor(settings.images_at_once, thread_name_prefix="mien")
        self._finding = 0
        self._many, self._each_s = settings.images_at_once, 0.0
        self._batchers = {
            name: Batcher(
                model.classifier,
                self.limits.window_ms / 1e3,
                lambda: self._finding > 0,
                metrics.batches.observe,
            )
            for name, model in catalogue.models.items()
        }

    def wait_s(self, requests: int) -> float:
        """Return how long an image would wait behind so many requests, by the last ones' times."""
        return max(requests, self._finding) * self._each_s / self._many

    async def warm_up(self) -> None:
        """Make the first runs, which are slow ones, and learn how long an image takes here."""
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        for _ in range(2):
            began = time.perf_counter()
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self.detector.detect, noise
            )
            self._each_s = time.perf_counter() - began

    async def close(self) -> None:
        """End all threads."""
        for batcher in self._batchers.values():
            await batcher.close()
        self._threads.shutdown()

    async def read(self, contents: Sequence[bytes], wish: PredictOptions) -> list[dict[str, Any]]:
        """Return an answer for each image, in their order.

        Raises:
            Problem: 415 or 422, the only image cannot be read.
        """
        answers = await asyncio.gather(*(self._read_one(one, wish) for one in contents))
        self._metrics.count_images(wish.model.name, answers)
        if len(answers) == 1 and isinstance(answers[0], Problem):
            raise answers[0]
        detector = self._detector(wish).name
        return [
            _unreadable(answer, detector, wish) if isinstance(answer, Problem) else answer
            for answer in answers
        ]

    async def _read_one(self, content: bytes, wish: PredictOptions) -> dict[str, Any] | Problem:
        loop = asyncio.get_running_loop()
        self._finding += 1
        try:
            cropped = await loop.run_in_executor(self._threads, self._find, content, wish)
        except Problem as problem:
            return problem
        finally:
            self._finding -= 1
        crops = cropped.crops
        assert crops is not None  # noqa: S101  (always there after `_find`)
        probs = await self._batchers[wish.model.name].probabilities(crops)
        info = wish.model.info
        policy = DecisionPolicy.of(info, wish.min_confidence)
        reading = label_faces(cropped, probs, self._detector(wish).name, info.name, policy)
        answer = {**reading.to_dict(), "source": None, "model": wish.model.name}
        if wish.annotated:
            answer["annotated"] = await loop.run_in_executor(
                self._threads, self._draw, content, reading
            )
        return answer

    def _find(self, content: bytes, wish: PredictOptions) -> CroppedImage:
        began = time.perf_counter()
        pixels = self._decode(content)
        cropped = crop_image(pixels, NAME, self._detector(wish), wish.model.classifier)
        took = time.perf_counter() - began
        self._each_s += 0.1 * (took - self._each_s) if self._each_s else took
        return _surest(cropped, self.limits.faces)

    def _detector(self, wish: PredictOptions) -> Detector:
        return self._whole if wish.whole else self.detector

    def _decode(self, content: bytes) -> NDArray[np.uint8]:
        try:
            return decode(content, NAME, self.limits.pixels)
        except SourceError as error:
            status = 415 if isinstance(error, UnknownKindError) else 422
            raise Problem(status, error.message, error.hint, kind=UNREADABLE) from None

    def _draw(self, content: bytes, reading: ImageReading) -> str:
        """Return the annotated image as a data URL; decoded anew rather than kept in memory."""
        image = Image.fromarray(self._decode(content))
        scale = min(1.0, ANNOTATED_SIDE / max(image.size))
        if scale < 1:
            size = (max(1, round(side * scale)) for side in image.size)
            image = image.resize((next(size), next(size)), Image.Resampling.BOX)
        faces = [
            replace(f, box=(f.box[0] * scale, f.box[1] * scale, f.box[2] * scale, f.box[3] * scale))
            for f in reading.faces
        ]
        buffer = io.BytesIO()
        drawn = annotate(np.asarray(image), faces)
        Image.fromarray(drawn).save(buffer, "PNG", compress_level=1)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _surest(cropped: CroppedImage, most: int) -> CroppedImage:
    """Return the image with at most so many faces, the surest, in their order."""
    faces, crops = cropped.faces, cropped.crops
    if len(faces) <= most or crops is None:
        return cropped
    kept = np.sort(np.argsort(-faces.scores_n, kind="stable")[:most])
    marks = faces.landmarks_n52
    chosen = Faces(
        faces.boxes_xyxy[kept], faces.scores_n[kept], None if marks is None else marks[kept]
    )
    return replace(cropped, faces=chosen, crops=crops[kept])


def _unreadable(problem: Problem, detector: str, wish: PredictOptions) -> dict[str, Any]:
    return {
        "source": None, "width": 0, "height": 0, "detector": detector, "model": wish.model.name,
        "faces": [], "error": {"message": problem.detail, "hint": problem.hint},
        "turn": 0, "notes": [],
    }  # fmt: skip
