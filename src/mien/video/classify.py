"""The expressions of placed faces: gate, classifier, smoothing, names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import crop_faces
from mien.model.classifier import softmax
from mien.predict.decision import DecisionPolicy
from mien.types import FrameReading, TrackedFace
from mien.video.pace import SamplingInterval, lost_after
from mien.video.plan import DETECTED, PREDICTED
from mien.video.quality import GOOD
from mien.video.smooth import make_smoother

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.predict.pipeline import FaceClassifier
    from mien.video.frame import Frame
    from mien.video.plan import FaceInFrame, FrameJob, Settings
    from mien.video.smooth import Smoother


@dataclass(slots=True)
class _Past:
    """What is kept of a person: their own smoother and the last answer."""

    smoother: Smoother
    time_s: float
    quality: str = GOOD
    probs_k: NDArray[np.float32] | None = None


class ExpressionReader:
    """Reads the expressions of one source's people, each smoothed over their own past.

    Args:
        classifier: names the expressions.
        framing: of the detector.
        settings: of the whole flow.
    """

    def __init__(self, classifier: FaceClassifier, framing: Framing, settings: Settings) -> None:
        self._classifier, self._framing, self._settings = classifier, framing, settings
        self._policy = DecisionPolicy.of(classifier.info, settings.min_confidence)
        self._past: dict[int, _Past] = {}
        self._interval = SamplingInterval()

    def read(self, waiting: Sequence[FrameJob]) -> Iterator[tuple[Frame, FrameReading]]:
        """Yield each frame with its reading; the faces of all frames share one batch."""
        crops: list[NDArray[np.uint8]] = []
        jobs: dict[int, int] = {}
        verdicts: dict[int, str] = {}
        known = set(self._past)
        for item in waiting:
            item.spots = sorted((s for s in item.spots if s.person.track), key=_track)
            for spot in item.spots:
                new = spot.person.track not in known
                if not (item.read or new):  # nobody begins without an expression
                    continue
                known.add(spot.person.track)
                crop = self._crop(item.frame, spot)
                marks = spot.sighting.landmarks_52
                others = _in_front(spot, item.spots)
                verdict = self._settings.gate.judge(
                    spot.box_xyxy, item.frame.size, crop, marks, others
                )
                verdicts[id(spot)] = verdict
                if verdict == GOOD:
                    jobs[id(spot)] = len(crops)
                    crops.append(crop)
        probs = softmax(self._classifier.logits(np.stack(crops))) if crops else None
        for item in waiting:
            faces = []
            if item.read:
                self._interval.add(item.frame.time_s)
            for spot in item.spots:
                row = jobs.get(id(spot))
                raw = None if row is None or probs is None else probs[row]
                faces.append(self._face(spot, item.frame.time_s, verdicts.get(id(spot)), raw))
            self._forget(item.frame.time_s)
            frame = item.frame
            reading = FrameReading(
                frame.source, frame.index, frame.pts, frame.time_s, *frame.size,
                tuple(faces), frame.until_s,
            )  # fmt: skip
            yield frame, reading

    def _crop(self, frame: Frame, spot: FaceInFrame) -> NDArray[np.uint8]:
        if spot.origin == DETECTED and spot.sighting.crop_hw is not None:
            return spot.sighting.crop_hw
        size = self._classifier.info.input_size
        crops = crop_faces(frame.pixels, spot.box_xyxy[None], self._framing, size)
        return crops.reshape(size, size)

    def _face(
        self,
        spot: FaceInFrame,
        time_s: float,
        verdict: str | None,
        raw_k: NDArray[np.float32] | None,
    ) -> TrackedFace:
        settings, track = self._settings, spot.person.track
        past = self._past.get(track)
        if past is None:
            past = _Past(make_smoother(settings.smooth, settings.smooth_s), time_s)
            self._past[track] = past
        past.time_s = time_s
        if verdict is not None:
            past.quality = verdict
        if raw_k is not None:
            past.probs_k = past.smoother.add(time_s, raw_k, self._interval.seconds)
        detected = spot.origin == DETECTED
        marks = spot.sighting.landmarks_52 if detected else None
        probs = past.probs_k if past.quality == GOOD else None
        decision = None if probs is None else self._policy.decide(probs)
        x0, y0, x1, y1 = (float(v) for v in spot.box_xyxy)
        return TrackedFace(
            track=track,
            box=(x0, y0, x1, y1),
            origin=spot.origin,
            score=spot.sighting.score,
            landmarks=None if marks is None else tuple((float(x), float(y)) for x, y in marks),
            quality=past.quality,
            raw=self._named(raw_k),
            probabilities=None if decision is None else decision.probabilities,
            label=None if decision is None else decision.label,
            confidence=None if decision is None else decision.confidence,
        )

    def _named(self, probs_k: NDArray[np.float32] | None) -> dict[str, float] | None:
        if probs_k is None:
            return None
        labels = self._classifier.info.labels
        return {label: float(p) for label, p in zip(labels, probs_k, strict=True)}

    def _forget(self, time_s: float) -> None:
        """Drop who is lost for good: their number never comes back."""
        away_s = 2 * lost_after(self._settings.lost_s, self._interval.seconds)
        gone = [t for t, p in self._past.items() if time_s - p.time_s > away_s]
        for track in gone:
            del self._past[track]


def _in_front(spot: FaceInFrame, spots: Sequence[FaceInFrame]) -> NDArray[np.float32] | None:
    """Return the boxes of those who may hide a face: of any who is seen better than it is."""
    others = [
        s.box_xyxy for s in spots
        if s is not spot and (spot.origin == PREDICTED or s.sighting.score >= spot.sighting.score)
    ]  # fmt: skip
    return np.stack(others) if others else None


def _track(spot: FaceInFrame) -> int:
    return spot.person.track
