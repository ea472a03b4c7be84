"""One source from its first frame to its last: the only loop over the frames of a video.

Decoding, detection and classification run in a thread each. `Session.run` pushes the results into
sinks; `Session.results` yields them to callers that pull, such as `Reader.stream`.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mien.errors import ConfigError, SourceError
from mien.video.detect import detect_faces
from mien.video.pipeline import track_faces
from mien.video.plan import VideoSettings
from mien.video.prefetch import Prefetcher
from mien.video.select import Selection
from mien.video.sinks.base import StopSession
from mien.video.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from mien.predict.detectors.base import Detector
    from mien.predict.pipeline import FaceClassifier
    from mien.video.frame import FrameResult
    from mien.video.plan import FrameJob
    from mien.video.sinks.base import Sink
    from mien.video.sinks.resume import ResumePoint
    from mien.video.sources import Source


@dataclass(frozen=True, slots=True)
class Session:
    """How sources are read; one session may run any number of sources.

    Attributes:
        detector: finds the faces.
        classifier: classifies the expressions.
        settings: of tracking and classification.
        selection: of the frames.
        segments: how the summary's episodes are made; see `Summary`.
    """

    detector: Detector
    classifier: FaceClassifier
    settings: VideoSettings = field(default_factory=VideoSettings)
    selection: Selection = field(default_factory=Selection)
    segments: str = "labels"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the model."""
        return self.classifier.info.labels

    def run(
        self, source: Source, sinks: Sequence[Sink] = (), resume: ResumePoint | None = None
    ) -> Summary:
        """Read a source to its end and write each frame to all sinks, in their order.

        A source that breaks off after some frames is no error: the sinks keep its good part, and
        `Summary.error` says why.

        Args:
            source: what is read.
            sinks: see `Sink`.
            resume: where an earlier run of the same source was cut off; its rows are replayed.

        Raises:
            SourceError: nothing of the source can be read.
            ConfigError: `resume` with a sink that cannot resume.
            WriteError: a file could not be written. All sinks are aborted, also by any other error.
        """
        summary = Summary(self.labels, self.segments)
        summary.source = source.name
        try:
            if resume is not None:
                _replay(resume, summary, sinks)
            for sink in sinks:
                sink.open()
            self._write(source, sinks, resume, summary)
            for sink in sinks:
                sink.close(summary)
        except BaseException:
            # In reverse, as nested contexts end: the last sink is the one that marks a source as
            # done.
            for sink in reversed(sinks):
                sink.abort()
            raise
        return summary

    def _write(
        self,
        source: Source,
        sinks: Sequence[Sink],
        resume: ResumePoint | None,
        summary: Summary,
    ) -> None:
        # Closed however this ends: the generator's end ends the threads.
        every_frame = any(sink.needs_pixels for sink in sinks)
        found = self.results(source if resume is None else resume.source(source), every_frame)
        with closing(found) as results:
            try:
                for result in results if resume is None else resume.join(results):
                    summary.add(result.reading)
                    for sink in sinks:
                        sink.write(result)
            except StopSession as stop:
                summary.error = stop.reason
            except SourceError as error:
                # Nothing was read: that is an error of the call, not a damaged end.
                if not summary.frames:
                    raise
                summary.error = error

    def results(
        self, source: Source, every_frame: bool = True
    ) -> Generator[FrameResult, None, None]:
        """Yield the result of each selected frame of a source, in order.

        The threads that decode and detect end when this generator is closed.

        Args:
            source: what is read.
            every_frame: decode every frame; False leaves out those that are neither detected nor
                classified where that is possible: see `Frame.decoded`.

        Raises:
            SourceError: it cannot be read; or it broke off, after the results of its last frames.
        """
        settings, detector, classifier = self.settings, self.detector, self.classifier
        broken: list[SourceError] = []
        selection = self.selection
        if not (every_frame or settings.live) and selection.every == 1 and selection.fps is None:
            selection = replace(selection, looks_at=settings.looks_at(source.position))
        frames = source.frames(selection)
        size = classifier.info.input_size
        if settings.live:
            # Frames are dropped before any work is planned on them.
            with Prefetcher(frames, newest=source.live) as arriving:
                jobs = detect_faces(settings.plan(arriving), detector, size)
                yield from track_faces(
                    _until_broken(jobs, broken), detector.framing, classifier, settings
                )
        else:
            decoding = Prefetcher(settings.plan(frames, source.position))
            with decoding as planned:
                detecting = Prefetcher(detect_faces(planned, detector, size), after=decoding)
                with detecting as jobs:
                    yield from track_faces(
                        _until_broken(jobs, broken), detector.framing, classifier, settings
                    )
        if broken:
            raise broken[0]


def _replay(resume: ResumePoint, summary: Summary, sinks: Sequence[Sink]) -> None:
    """Give the summary and the sinks the frames that an earlier run has written."""
    for sink in sinks:
        if not sink.resumable:
            raise ConfigError(
                f"{type(sink).__name__} cannot resume: the images of the earlier frames are gone",
                hint="read the source from its start, without `resume`",
            )
    for reading in resume.past():
        summary.add(reading)
        for sink in sinks:
            sink.replay(reading)


def _until_broken(jobs: Iterable[FrameJob], broken: list[SourceError]) -> Iterator[FrameJob]:
    """Yield the jobs; note the source's error, so that waiting frames are finished first."""
    try:
        yield from jobs
    except SourceError as error:
        broken.append(error)
