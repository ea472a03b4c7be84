"""One camera's frames, read in a thread of their own: the newest frame wins."""

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
from mien.video.plan import Settings as Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.types import FrameReading, TrackedFace

NAME = "the frame"
MAX_BAD = 50
"""Unreadable frames in a row after which a connection is given up."""


class Mailbox:
    """Holds the newest frame until it is taken; older ones are dropped and counted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: tuple[int, float, bytes] | None = None
        self._began: float | None = None
        self._count = 0
        self._closed = False
        self.dropped = 0

    def put(self, content: bytes) -> None:
        """Put an encoded frame in."""
        with self._changed:
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            self.dropped += self._frame is not None
            self._frame = (self._count, now - self._began, content)
            self._count += 1
            self._changed.notify()

    def close(self) -> None:
        """Say that there will be no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> tuple[int, float, bytes] | None:
        """Wait for a frame: its number, seconds since the first, and content; None at the end."""
        with self._changed:
            while self._frame is None and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            frame, self._frame = self._frame, None
            return frame


class Camera:
    """Reads the frames in a mailbox, with its own tracker and smoothing.

    Args:
        mailbox: of the connection.
        detector: finds the faces.
        classifier: names the expressions.
        min_confidence: below it a face is 'unsure'; may be changed while frames come.
        max_pixels: of a frame.
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
        policy = DecisionPolicy.of(classifier.info, min_confidence)
        # The probabilities of a tracked face are corrected to the prior already.
        self._policy = replace(policy, prior=None)
        self._max_pixels = max_pixels

    @property
    def threshold(self) -> float:
        """Confidence below which a face is 'unsure', 0 to 1."""
        return self._policy.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._policy = replace(self._policy, threshold=value)

    def read(self, send: Callable[[str], None]) -> None:
        """Send a JSON text for each frame until the mailbox is closed; runs in a thread."""
        flow = Flow(live=True)
        size = self._classifier.info.input_size
        found = detect_faces(flow.plan(self._frames(send)), self._detector, size)
        for result in track_faces(found, self._detector.framing, self._classifier, flow):
            send(json.dumps(self._answer(result.reading)))

    def _frames(self, send: Callable[[str], None]) -> Iterator[Frame]:
        bad = 0
        while bad < MAX_BAD and (taken := self._mailbox.take()) is not None:
            index, time_s, content = taken
            try:
                pixels = decode(content, NAME, self._max_pixels)
            except SourceError as error:
                bad += 1
                what = {"message": error.message, "hint": error.hint}
                send(json.dumps({"frame": index, "error": what}))
                continue
            bad = 0
            yield Frame.of(NAME, index, time_s, pixels)

    def _answer(self, reading: FrameReading) -> dict[str, Any]:
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
            "probabilities": _rounded(face.probabilities),
            "raw": _rounded(face.raw),
            "label": label,
            "confidence": None if confidence is None else round(confidence, 4),
            "unsure": label in (None, UNSURE),
        }


def _rounded(shares: dict[str, float] | None) -> dict[str, float] | None:
    return None if shares is None else {name: round(p, 4) for name, p in shares.items()}
