"""A camera stream, processed in its own thread; a newer frame replaces one that still waits."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import SourceError
from mien.predict.decision import DecisionPolicy
from mien.serve.decode import decode
from mien.types import UNSURE
from mien.video.detect import detect_faces
from mien.video.frame import Frame
from mien.video.pipeline import track_faces
from mien.video.plan import VideoSettings
from mien.video.sinks.rows import POSE, angles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.types import FrameReading, TrackedFace

NAME = "the frame"
MAX_UNREADABLE = 50
"""Consecutive unreadable frames after which a connection is closed."""


class Mailbox:
    """Holds the newest frame until it is taken; replaced frames are counted in `dropped`."""

    def __init__(self) -> None:
        # A condition, not a queue: only the newest frame is worth its time.
        self._changed = threading.Condition()
        self._frame: tuple[int, float, bytes] | None = None
        self._started: float | None = None
        self._count = 0
        self._closed = False
        self.dropped = 0

    def put(self, content: bytes) -> None:
        """Store an encoded frame; an older one that still waits is dropped."""
        with self._changed:
            now = time.monotonic()
            self._started = now if self._started is None else self._started
            self.dropped += self._frame is not None
            # The server's clock: tracking works in seconds, and clients' clocks may be set
            # meanwhile.
            self._frame = (self._count, now - self._started, content)
            self._count += 1
            self._changed.notify()

    def close(self) -> None:
        """End the stream: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> tuple[int, float, bytes] | None:
        """Wait for a frame; return its number, seconds since the first, and content.

        Returns None at the end of the stream.
        """
        with self._changed:
            while self._frame is None and not self._closed:
                self._changed.wait()
            if self._closed:  # a frame that still waits is not processed: its client has left
                return None
            frame, self._frame = self._frame, None
            return frame


class Camera:
    """Processes the frames of one connection, with its own tracker and smoothing.

    Args:
        mailbox: receives the frames.
        detector: face detector.
        classifier: expression model.
        min_confidence: decision threshold, 0 to 1; None uses the model's calibrated one.
        max_pixels: maximum number of pixels of a frame.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        detector: Detector,
        classifier: FaceClassifier,
        min_confidence: float | None,
        max_pixels: int,
    ) -> None:
        self._mailbox, self._detector, self._classifier = mailbox, detector, classifier
        self._policy = DecisionPolicy.of(classifier.info, min_confidence)
        self._max_pixels = max_pixels

    @property
    def threshold(self) -> float:
        """Confidence below which a face is 'unsure', 0 to 1."""
        return self._policy.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        # A new policy, since the camera's thread may be using the old one.
        self._policy = replace(self._policy, threshold=value)

    def run(self, send: Callable[[str], None]) -> None:
        """Send a JSON text for each frame until the mailbox is closed; blocks, runs in a thread."""
        flow = VideoSettings(live=True)
        size = self._classifier.info.input_size
        found = detect_faces(flow.plan(self._frames(send)), self._detector, size)
        for result in track_faces(found, self._detector.framing, self._classifier, flow):
            send(json.dumps(self._message(result.reading)))

    def _frames(self, send: Callable[[str], None]) -> Iterator[Frame]:
        unreadable = 0
        while unreadable < MAX_UNREADABLE and (taken := self._mailbox.take()) is not None:
            index, time_s, content = taken
            try:
                pixels = decode(content, NAME, self._max_pixels)
            except SourceError as error:
                unreadable += 1
                body = {"message": error.message, "hint": error.hint}
                send(json.dumps({"frame": index, "error": body}))
                continue
            unreadable = 0
            yield Frame.of(NAME, index, time_s, pixels)

    def _message(self, reading: FrameReading) -> dict[str, Any]:
        return {
            "frame": reading.frame,
            "time_s": round(reading.time_s, 3),
            "width": reading.width,
            "height": reading.height,
            "faces": [self._face(face) for face in reading.faces],
            "dropped": self._mailbox.dropped,
        }

    def _face(self, face: TrackedFace) -> dict[str, Any]:
        label, confidence = None, None
        if face.probabilities is not None:
            # Decided again: the threshold may have changed since the frame was classified.
            probs_k = np.array(list(face.probabilities.values()), np.float32)
            decision = self._policy.decide(probs_k)
            label, confidence = decision.label, decision.confidence
        return {
            "track": face.track,
            "box": [round(v, 1) for v in face.box],
            "score": round(face.score, 4),
            "quality": face.quality,
            **(dict.fromkeys(POSE) if face.pose is None else angles(face.pose)),
            "probabilities": _rounded(face.probabilities),
            "raw": _rounded(face.raw),
            "label": label,
            "confidence": None if confidence is None else round(confidence, 4),
            "unsure": label in (None, UNSURE),
        }


def _rounded(probabilities: dict[str, float] | None) -> dict[str, float] | None:
    if probabilities is None:
        return None
    return {label: round(p, 4) for label, p in probabilities.items()}
