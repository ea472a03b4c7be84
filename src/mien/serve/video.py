"""One video read from end to end, for a job."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.errors import SourceError
from mien.files import write_json
from mien.predict.sources import Source
from mien.serve.decode import check_shape
from mien.video.animation import is_animation, size_of
from mien.video.decode import opened, read_file
from mien.video.display import displayed_size
from mien.video.plan import Settings as Flow
from mien.video.select import Selection
from mien.video.session import watch
from mien.video.sinks.row_file import RowFile
from mien.video.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.serve.jobs import Job
    from mien.serve.settings import Limits
    from mien.video.frame import Frame

NAME = "the video"
"""Its name in messages and rows: neither the client's nor our own path."""
TELL_S = 0.5
"""Seconds between two messages on how far it is."""


class Stopped(Exception):
    """The job was cancelled, or the server ends."""


def read_video(
    job: Job,
    path: Path,
    out: Path,
    detector: Detector,
    classifier: FaceClassifier,
    limits: Limits,
    tell: Callable[[float], bool],
) -> SourceError | None:
    """Read a video into OUT.jsonl and OUT.summary.json.

    Args:
        job: what is wanted.
        path: of the video.
        out: of the results, without suffix.
        detector: finds the faces.
        classifier: names the expressions.
        limits: of pixels and time.
        tell: told how far it is, 0 to 1, twice a second; answers whether to go on.

    Returns:
        Why it broke off after its good part, or None.

    Raises:
        SourceError: nothing of it can be read.
        Stopped: as `tell` said.
    """
    labels = classifier.info.labels
    length_s = _check(path, job.kind, limits)
    notes: list[str] = []
    # FFmpeg is told the container's kind, so that it never takes a file for a playlist.
    source = Source(NAME, "video", partial(_frames, path, job.kind, notes))
    flow, selection = Flow(min_confidence=job.min_confidence), Selection(every=job.every)
    seen = watch(source, detector, classifier, flow, selection)
    summary, broken = Summary(labels), None
    size: tuple[int, int] | None = None
    began = told = time.monotonic()
    with closing(seen), RowFile(out, "json", labels) as rows:  # type: ignore[type-var]
        try:
            for frame, reading in seen:
                size = size or frame.size
                rows.append(reading)
                summary.add(reading)
                now = time.monotonic()
                if now - began > 60 * limits.job_minutes:
                    broken = SourceError(
                        f"{NAME} took longer than {limits.job_minutes:g} minutes",
                        hint="send it in parts, or with every=2 or more",
                    )
                    break
                if now - told >= TELL_S:
                    told = now
                    if not tell(min(reading.time_s / length_s, 0.999) if length_s else 0.0):
                        raise Stopped
        except SourceError as error:
            if size is None:
                raise
            broken = error
    result: dict[str, Any] = {**summary.finish(), "source": None}
    result["notes"] = notes
    result["width"], result["height"] = size or (0, 0)
    result["error"] = None if broken is None else broken.message
    write_json(out.with_name(out.name + ".summary.json"), result)
    return broken


def _frames(path: Path, kind: str, notes: list[str], wanted: Selection) -> Iterator[Frame]:
    return read_file(path, wanted, name=NAME, kind=kind, warn=notes.append)


def _check(path: Path, kind: str, limits: Limits) -> float:
    """Return the length in seconds, 0 where the file does not say; refuse too large frames."""
    if is_animation(path):
        _check_size(*size_of(path), limits)
        return 0.0
    with opened(f"file:{path}", NAME, kind=kind) as (container, stream):
        # Squeezed pixels are spread: what counts is the larger of both.
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
