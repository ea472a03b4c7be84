"""Frames to tracks and their expressions over time: read `track_faces` first.

The detector runs on every n-th frame. Frames between wait for the next detection, so that each
face's place is known from both sides; live, where nothing may wait, it is predicted from the past.
Expressions are classified on every m-th frame, all faces of the waiting frames in one batch, and
smoothed over each track's own past. Frames in which a new face appears wait for one detection
more, which confirms the track or drops it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mien.imaging.crop import crop_faces
from mien.video.classify import TrackClassifier
from mien.video.interpolate import place_between
from mien.video.pace import SamplingInterval
from mien.video.plan import DETECTED, PREDICTED, FaceInFrame
from mien.video.track import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.predict.pipeline import FaceClassifier
    from mien.video.frame import Frame, FrameResult
    from mien.video.plan import FrameJob, VideoSettings
    from mien.video.track import Track


def track_faces(
    jobs: Iterable[FrameJob],
    framing: Framing,
    classifier: FaceClassifier,
    settings: VideoSettings,
) -> Iterator[FrameResult]:
    """Yield the result of each frame of one source, in order.

    Memory is bounded: only the frames since the last detection but one wait, and of a track only
    the filters' state is kept, until it is lost.

    Args:
        jobs: the frames of one source in order of time, from `VideoSettings.plan` and
            `detect.detect_faces`.
        framing: of the detector.
        classifier: classifies the crops.
        settings: see there.
    """
    tracker = Tracker(settings.lost_s)
    expressions = TrackClassifier(classifier, framing, settings)
    interval = SamplingInterval()
    crop = partial(_crop, framing, classifier.info.input_size)
    since_detection: list[FrameJob] = []
    # Placed already, but with a face that becomes a track only if it is detected again.
    unconfirmed: list[FrameJob] = []
    for job in jobs:
        interval.add(job.frame.time_s)
        if job.detections is None:
            if settings.live:
                job.faces = _predict(tracker.tracks, job.frame.time_s)
        else:
            every_s = settings.detect_interval_s(interval.seconds)
            tracks = tracker.update(job.detections, job.frame.time_s, job.crops_nhw, every_s)
            if settings.live:
                tracker.confirm_all()
            elif since_detection:
                place_between(since_detection, job, tracks, crop)
                yield from expressions.classify(unconfirmed)
                unconfirmed, since_detection = since_detection, []
                if all(track.detection is None or track.number for track in tracks):
                    yield from expressions.classify(unconfirmed)
                    unconfirmed = []
            _take_detections(job, tracks)
        since_detection.append(job)
        if settings.live:
            yield from expressions.classify(since_detection)
            since_detection = []
    _place_last(tracker, since_detection)
    yield from expressions.classify(unconfirmed)
    yield from expressions.classify(since_detection)


def _take_detections(job: FrameJob, tracks: list[Track]) -> None:
    """Put the detected faces of the tracks into the frame that the detector ran on."""
    assert job.detections is not None  # noqa: S101  (the caller has looked)
    # For blurring: a face that the detector missed is still there.
    missed = (track.box() for track in tracks if track.detection is None)
    job.candidates_xyxy = (*job.detections.boxes_xyxy, *missed)
    job.faces = [
        FaceInFrame(track, track.detection.box_xyxy, DETECTED, track.detection)
        for track in tracks
        if track.detection is not None
    ]


def _place_last(tracker: Tracker, waiting: list[FrameJob]) -> None:
    """Decide on the frames that wait for a next detection, of which there is none."""
    tracker.confirm_all()
    for job in waiting[1:]:
        job.faces = _predict(tracker.tracks, job.frame.time_s)


def _crop(
    framing: Framing, size: int, frame: Frame, box_xyxy: NDArray[np.float32]
) -> NDArray[np.uint8]:
    return crop_faces(frame.pixels, box_xyxy[None], framing, size).reshape(size, size)


def _predict(tracks: list[Track], time_s: float) -> list[FaceInFrame]:
    """Return every face of the last detection where it should be by now."""
    return [
        FaceInFrame(track, track.box(time_s), PREDICTED, track.detection)
        for track in tracks
        if track.number and track.detection is not None
    ]
