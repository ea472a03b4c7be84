"""Uploaded images to predictions: read `Predictor.predict` first.

Decoding, detection and cropping of an image run in one thread; there is one thread per CPU core.
The crops of all clients are then classified together by the model's `Batcher`.
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
from mien.predict.detectors.registry import make_detector
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
    from mien.serve.catalog import Catalog, ServedModel
    from mien.serve.metrics import Metrics
    from mien.serve.settings import ServerSettings
    from mien.types import ImageReading

MAX_ANNOTATED_SIDE = 2048
"""Longer side of annotated images, in pixels; larger images are scaled down for display."""
NAME = "the image"
"""Name of an image in messages: clients' file names are never used."""
MOVING_AVERAGE = 0.1
"""Weight of the newest image in the average processing time."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Options of one request.

    Attributes:
        model: the expression model.
        min_confidence: decision threshold, 0 to 1; None uses the model's calibrated one.
        whole: whether each image is already one face crop, so that detection is skipped.
        annotated: whether to also return the image with the predictions drawn on it.
    """

    model: ServedModel
    min_confidence: float | None = None
    whole: bool = False
    annotated: bool = False


class Predictor:
    """Predicts expressions in uploaded images; called from the event loop, works in threads.

    Args:
        catalog: the models.
        settings: settings of the server.
        metrics: counts images, faces and batches.
        detector: face detector; None uses the default one with one thread.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: ServerSettings,
        metrics: Metrics,
        detector: Detector | None = None,
    ) -> None:
        self.limits, self._metrics = settings.limits, metrics
        self.detector: Detector = detector or make_detector(threads=1)
        # Kept beside the detector: each request says which of the two it wants.
        self._whole = WholeImage()
        # One thread and one core per image: parallelism inside a detection scales worse.
        self._concurrency = settings.images_at_once
        self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="mien")
        self._detecting = 0  # images before or in detection
        self._image_s = 0.0  # moving average of the time per image
        self._batchers = {
            name: Batcher(
                model.classifier,
                self.limits.window_ms / 1e3,
                lambda: self._detecting > 0,
                metrics.batches.observe,
            )
            for name, model in catalog.models.items()
        }

    def expected_wait_s(self, requests: int) -> float:
        """Return how long an image would wait behind so many requests, in seconds.

        Estimated from the time that recent images took; a request may hold several images.
        """
        # The larger of both: a request may hold several images.
        return max(requests, self._detecting) * self._image_s / self._concurrency

    async def warm_up(self) -> None:
        """Run the detector twice: the first run is slow, the second measures the time per image."""
        # A common camera size; the average is corrected with every image that follows.
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        for _ in range(2):
            started = time.perf_counter()
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self.detector.detect, noise
            )
            self._image_s = time.perf_counter() - started

    async def close(self) -> None:
        """Stop all threads."""
        for batcher in self._batchers.values():
            await batcher.close()
        self._threads.shutdown()

    async def predict(
        self, contents: Sequence[bytes], options: PredictOptions
    ) -> list[dict[str, Any]]:
        """Return a result for each encoded image, in order.

        Raises:
            Problem: 415 or 422, the only image cannot be read.
        """
        results = await asyncio.gather(*(self._predict_one(one, options) for one in contents))
        self._metrics.count_images(options.model.name, results)
        # A client that sends one image expects an HTTP error, not a 200 with an error inside.
        if len(results) == 1 and isinstance(results[0], Problem):
            raise results[0]
        detector = self._detector(options).name
        return [
            _unreadable(result, detector, options) if isinstance(result, Problem) else result
            for result in results
        ]

    async def _predict_one(
        self, content: bytes, options: PredictOptions
    ) -> dict[str, Any] | Problem:
        loop = asyncio.get_running_loop()
        self._detecting += 1
        try:
            cropped = await loop.run_in_executor(self._threads, self._crop_faces, content, options)
        except Problem as problem:
            return problem
        finally:
            self._detecting -= 1
        crops = cropped.crops
        assert crops is not None  # noqa: S101  (always set by `_crop_faces`)
        probs = await self._batchers[options.model.name].probabilities(crops)
        info = options.model.info
        policy = DecisionPolicy.of(info, options.min_confidence)
        reading = label_faces(cropped, probs, self._detector(options).name, info.name, policy)
        result = {**reading.to_dict(), "source": None, "model": options.model.name}
        if options.annotated:
            result["annotated"] = await loop.run_in_executor(
                self._threads, self._annotate, content, reading
            )
        return result

    def _crop_faces(self, content: bytes, options: PredictOptions) -> CroppedImage:
        """Decode an image, detect its faces and crop them; runs in a thread."""
        started = time.perf_counter()
        pixels = self._decode(content)
        cropped = crop_image(pixels, NAME, self._detector(options), options.model.classifier)
        took = time.perf_counter() - started
        self._image_s += MOVING_AVERAGE * (took - self._image_s) if self._image_s else took
        return _limit_faces(cropped, self.limits.faces)

    def _detector(self, options: PredictOptions) -> Detector:
        return self._whole if options.whole else self.detector

    def _decode(self, content: bytes) -> NDArray[np.uint8]:
        try:
            return decode(content, NAME, self.limits.pixels)
        except SourceError as error:
            status = 415 if isinstance(error, UnknownKindError) else 422
            raise Problem(status, error.message, error.hint, kind=UNREADABLE) from None

    def _annotate(self, content: bytes, reading: ImageReading) -> str:
        """Return the annotated image as a data URL.

        The image is decoded a second time: keeping the pixels of every queued image would take far
        more memory than its encoded bytes.
        """
        image = Image.fromarray(self._decode(content))
        scale = min(1.0, MAX_ANNOTATED_SIDE / max(image.size))
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


def _limit_faces(cropped: CroppedImage, max_faces: int) -> CroppedImage:
    """Keep the faces with the highest detection scores, in their original order."""
    faces, crops = cropped.faces, cropped.crops
    if len(faces) <= max_faces or crops is None:
        return cropped
    kept = np.sort(np.argsort(-faces.scores_n, kind="stable")[:max_faces])
    marks = faces.landmarks_n52
    chosen = Faces(
        faces.boxes_xyxy[kept], faces.scores_n[kept], None if marks is None else marks[kept]
    )
    return replace(cropped, faces=chosen, crops=crops[kept])


def _unreadable(problem: Problem, detector: str, options: PredictOptions) -> dict[str, Any]:
    return {
        "source": None, "width": 0, "height": 0, "detector": detector, "model": options.model.name,
        "faces": [], "error": {"message": problem.detail, "hint": problem.hint},
        "turn": 0, "notes": [],
    }  # fmt: skip
