"""Expressions of tracked faces: quality gate, classifier, smoothing, decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import crop_faces
from mien.model.classifier import softmax
from mien.predict.decision import DecisionPolicy
from mien.types import FrameReading, TrackedFace
from mien.video.frame import FrameResult
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
    from mien.video.plan import FaceInFrame, FrameJob, VideoSettings
    from mien.video.smooth import Smoother


@dataclass(slots=True)
class _History:
    """What is kept of a track: its own smoother, and its latest quality and probabilities."""

    smoother: Smoother
    time_s: float
    quality: str = GOOD
    probs_k: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _FaceJob:
    """What is done with one face.

    Attributes:
        face: the face.
        quality: of the crop; None where it was not looked at.
        row: of its crop in the batch; None where it is not classified.
    """

    face: FaceInFrame
    quality: str | None = None
    row: int | None = None


class TrackClassifier:
    """Classifies the faces of one source's tracks, each smoothed over the track's own past.

    Args:
        classifier: classifies the crops.
        framing: of the detector.
        settings: of the whole flow.
    """

    def __init__(
        self, classifier: FaceClassifier, framing: Framing, settings: VideoSettings
    ) -> None:
        self._classifier, self._framing, self._settings = classifier, framing, settings
        self._policy = DecisionPolicy.of(classifier.info, settings.min_confidence)
        self._history: dict[int, _History] = {}
        self._interval = SamplingInterval()

    def classify(self, jobs: Sequence[FrameJob]) -> Iterator[FrameResult]:
        """Yield the result of each frame; the faces of all frames share one batch."""
        crops: list[NDArray[np.uint8]] = []
        known = set(self._history)
        planned = [self._plan(job, crops, known) for job in jobs]
        probs_nk = softmax(self._classifier.logits(np.stack(crops))) if crops else None
        for job, own in zip(jobs, planned, strict=True):
            frame = job.frame
            if job.classify:
                self._interval.add(frame.time_s)
            faces = []
            for item in own:
                raw_k = None if item.row is None or probs_nk is None else probs_nk[item.row]
                faces.append(self._face(item, frame.time_s, raw_k))
            self._forget(frame.time_s)
            reading = FrameReading(
                frame.source, frame.index, frame.pts, frame.time_s, *frame.size,
                tuple(faces), frame.until_s,
            )  # fmt: skip
            yield FrameResult(frame, reading, job.candidates_xyxy)

    def _plan(
        self, job: FrameJob, crops: list[NDArray[np.uint8]], known: set[int]
    ) -> list[_FaceJob]:
        """Return what is done with each face of a frame; add the crops to be classified.

        Args:
            job: of the frame.
            crops: of the batch.
            known: numbers of the tracks that were classified before; new ones are added.
        """
        confirmed = [face for face in job.faces if face.track.number]
        # A fixed order of the rows within a frame, whether the run was resumed or not.
        confirmed.sort(key=lambda face: face.track.number)
        planned = []
        for face in confirmed:
            # A new track is classified on its first frame, due or not: no row lacks a prediction.
            seen = face.track.number in known or not job.frame.decoded
            if not job.classify and seen:
                planned.append(_FaceJob(face))
                continue
            known.add(face.track.number)
            crop = self._crop(job.frame, face)
            quality = self._settings.gate.judge(
                face.box_xyxy, job.frame.size, crop, face.detection.pose,
                _in_front(face, confirmed),
            )  # fmt: skip
            row = None
            if quality == GOOD:
                row = len(crops)
                crops.append(crop)
            planned.append(_FaceJob(face, quality, row))
        return planned

    def _crop(self, frame: Frame, face: FaceInFrame) -> NDArray[np.uint8]:
        if face.origin == DETECTED and face.detection.crop_hw is not None:
            # Cut in the detector's thread already.
            return face.detection.crop_hw
        size = self._classifier.info.input_size
        crops = crop_faces(frame.pixels, face.box_xyxy[None], self._framing, size)
        return crops.reshape(size, size)

    def _face(
        self, item: _FaceJob, time_s: float, raw_k: NDArray[np.float32] | None
    ) -> TrackedFace:
        """Smooth a face over its track's past and decide on its label."""
        face = item.face
        history = self._take(item, time_s, raw_k)
        # Where the latest quality is bad, the old probabilities no longer describe the face.
        probs_k = history.probs_k if history.quality == GOOD else None
        decision = None if probs_k is None else self._policy.decide(probs_k)
        marks = face.detection.landmarks_52 if face.origin == DETECTED else None
        x0, y0, x1, y1 = (float(v) for v in face.box_xyxy)
        return TrackedFace(
            track=face.track.number,
            box=(x0, y0, x1, y1),
            origin=face.origin,
            score=face.detection.score,
            landmarks=None if marks is None else tuple((float(x), float(y)) for x, y in marks),
            pose=None if marks is None else face.detection.pose,
            quality=history.quality,
            raw=self._by_label(raw_k),
            probabilities=None if decision is None else decision.probabilities,
            label=None if decision is None else decision.label,
            confidence=None if decision is None else decision.confidence,
        )

    def _take(self, item: _FaceJob, time_s: float, raw_k: NDArray[np.float32] | None) -> _History:
        """Add a moment to the history of a track; return the history."""
        settings, number = self._settings, item.face.track.number
        history = self._history.get(number)
        if history is None:
            history = _History(make_smoother(settings.smooth, settings.smooth_s), time_s)
            self._history[number] = history
        history.time_s = time_s
        if item.quality is not None:
            history.quality = item.quality
        if raw_k is not None:
            history.probs_k = history.smoother.add(time_s, raw_k, self._interval.seconds)
        return history

    def _by_label(self, probs_k: NDArray[np.float32] | None) -> dict[str, float] | None:
        if probs_k is None:
            return None
        labels = self._classifier.info.labels
        return {label: float(p) for label, p in zip(labels, probs_k, strict=True)}

    def _forget(self, time_s: float) -> None:
        """Drop the history of tracks that are lost for good: their numbers never come back."""
        # Twice the time after which the tracker gives a track up, and never before it does.
        away_s = 2 * lost_after(self._settings.lost_s, self._interval.seconds)
        gone = [n for n, history in self._history.items() if time_s - history.time_s > away_s]
        for number in gone:
            del self._history[number]


def _in_front(face: FaceInFrame, faces: Sequence[FaceInFrame]) -> NDArray[np.float32] | None:
    """Return the boxes of faces that may cover this one: those with a better detection."""
    others = [
        other.box_xyxy for other in faces
        if other is not face
        # Of two faces the one with the lower score is taken to be behind; a predicted one was not
        # even seen.
        and (face.origin == PREDICTED or other.detection.score >= face.detection.score)
    ]  # fmt: skip
    return np.stack(others) if others else None
