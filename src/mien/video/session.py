"""A source read from end to end: decoded, searched for faces, and read, in a thread each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import SourceError
from mien.video.detect import with_faces
from mien.video.pipeline import follow
from mien.video.prefetch import Prefetcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.predict.sources import Source
    from mien.types import FrameReading
    from mien.video.frame import Frame
    from mien.video.plan import FrameJob, Settings
    from mien.video.select import Selection


def watch(
    source: Source,
    detector: Detector,
    classifier: FaceClassifier,
    settings: Settings,
    selection: Selection,
) -> Iterator[tuple[Frame, FrameReading]]:
    """Yield each selected frame of a source with its reading.

    The threads that decode and detect end when this generator is closed, however that comes
    about.

    Raises:
        SourceError: it cannot be read; or it broke off, after the readings of its last frames.
    """
    broken: list[SourceError] = []
    frames = source.frames(selection)
    size = classifier.info.input_size
    if settings.live:
        # Frames are dropped before any work is planned on them.
        with Prefetcher(frames, newest=source.live) as arriving:
            found = with_faces(settings.plan(arriving), detector, size)
            yield from follow(_until_broken(found, broken), detector.framing, classifier, settings)
    else:
        decoding = Prefetcher(settings.plan(frames, source.position))
        with decoding as planned:
            detecting = Prefetcher(with_faces(planned, detector, size), after=decoding)
            with detecting as found:
                placed = _until_broken(found, broken)
                yield from follow(placed, detector.framing, classifier, settings)
    if broken:
        raise broken[0]


def _until_broken(planned: Iterable[FrameJob], broken: list[SourceError]) -> Iterator[FrameJob]:
    try:
        yield from planned
    except SourceError as error:
        broken.append(error)
