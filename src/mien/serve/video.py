"""One video read from end to end, for a job."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.errors import SourceError
from mien.files import write_json
from mien.serve.decode import check_shape
from mien.video.animation import is_animation, size_of
from mien.video.decode import opened, read_file
from mien.video.display import displayed_size
from mien.video.plan import VideoSettings
from mien.video.select import Selection
from mien.video.session import Session
from mien.video.sinks.base import Sink, StopSession
from mien.video.sinks.row_file import RowFile
from mien.video.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.serve.jobs import Job
    from mien.serve.settings import Limits
    from mien.video.frame import Frame, FrameResult

NAME = "the video"
"""Its name in messages and rows: neither the client's nor our own path."""
PROGRESS_S = 0.5
"""Seconds between two calls of the progress callback."""


class Stopped(Exception):
    """The job was cancelled, or the server ends."""


def read_video(
    job: Job,
    path: Path,
    out: Path,
    detector: Detector,
    classifier: FaceClassifier,
    limits: Limits,
    progress: Callable[[float], bool],
) -> SourceError | None:
    """Read a video into OUT.jsonl and OUT.summary.json.

    Args:
        job: its options.
        path: of the video.
        out: of the results, without suffix.
        detector: finds the faces.
        classifier: classifies the expressions.
        limits: of pixels and time.
        progress: called twice a second with the fraction that is done, 0 to 1; returns whether to
            continue.

    Returns:
        Why it broke off after its good part, or None.

    Raises:
        SourceError: nothing of it can be read.
        Stopped: `progress` returned False.
    """
    # Before the session: the header alone tells frames that would be too large.
    length_s = _check(path, job.kind, limits)
    notes: list[str] = []
    # The container's format is passed to FFmpeg, so that it never takes a file for a playlist.
    source = Source(NAME, "video", partial(_frames, path, job.kind, notes))
    session = Session(
        detector, classifier, VideoSettings(min_confidence=job.min_confidence),
        Selection(every=job.every),
    )  # fmt: skip
    watchdog = _Watchdog(length_s, limits, progress)
    summary = session.run(source, [RowFile(out, "json", session.labels), watchdog])
    result: dict[str, Any] = {**summary.to_dict(), "source": None, "notes": notes}
    result["width"], result["height"] = watchdog.size
    # Last: a job whose summary exists counts as done.
    write_json(out.with_name(out.name + ".summary.json"), result)
    return summary.error


class _Watchdog(Sink):
    """Reports the progress of a job, and ends it where it takes too long or is cancelled.

    Attributes:
        size: (width, height) of the first frame, in pixels; zeros before it.
    """

    needs_pixels = False

    def __init__(self, length_s: float, limits: Limits, progress: Callable[[float], bool]) -> None:
        self._length_s, self._minutes, self._progress = length_s, limits.job_minutes, progress
        self._started = self._reported = time.monotonic()
        self.size = (0, 0)

    def write(self, result: FrameResult) -> None:
        """Take in a frame.

        Raises:
            StopSession: the job took longer than the limit.
            Stopped: the progress callback returned False.
        """
        if not any(self.size):
            self.size = result.frame.size
        now = time.monotonic()
        if now - self._started > 60 * self._minutes:
            raise StopSession(
                SourceError(
                    f"{NAME} took longer than {self._minutes:g} minutes",
                    hint="send it in parts, or with every=2 or more",
                )
            )
        if now - self._reported >= PROGRESS_S:
            self._reported = now
            time_s, length_s = result.reading.time_s, self._length_s
            # Never 1 before the results are written.
            if not self._progress(min(time_s / length_s, 0.999) if length_s else 0.0):
                raise Stopped


def _frames(path: Path, kind: str, notes: list[str], selection: Selection) -> Iterator[Frame]:
    return read_file(path, selection, name=NAME, kind=kind, warn=notes.append)


def _check(path: Path, kind: str, limits: Limits) -> float:
    """Return the length in seconds, 0 where the file does not say; refuse too large frames."""
    # Animations do not say how long they last, so their progress stays 0.
    if is_animation(path):
        _check_size(*size_of(path), limits)
        return 0.0
    with opened(f"file:{path}", NAME, kind=kind) as (container, stream):
        # Anamorphic pixels are stretched for display: the larger of both sizes counts.
        _check_size(stream.width, stream.height, limits)
        _check_size(*displayed_size(container, stream), limits)
        return float(container.duration or 0) / 1e6


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise SourceError(
            f"{NAME} is too large: {width:,} x {height:,} pixels, at most "
            f"{limits.pixels_mp:g} megapixels are read",
            hint="scale it down first",
        )
    check_shape(width, height, NAME)
