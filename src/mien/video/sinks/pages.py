"""What is written at the end of a source: the summary, its timeline and the report page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.files import write_json, write_text
from mien.video.frame import Frame
from mien.video.sinks.base import Sink
from mien.video.sinks.report import page
from mien.video.sinks.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.types import FrameReading
    from mien.video.frame import FrameResult
    from mien.video.summary import Summary


class SummaryFile(Sink):
    """Writes NAME.summary.json. Put it last: a source with a summary counts as done.

    Args:
        path: of the file.
    """

    needs_pixels = False

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def resumable(self) -> bool:
        """Always: the session replays the earlier rows into the summary itself."""
        return True

    def write(self, result: FrameResult) -> None:
        """Do nothing: the session adds up the summary."""

    def close(self, summary: Summary) -> None:
        """Write the file.

        Raises:
            WriteError: the disk is full, or the like.
        """
        write_json(self._path, summary.to_dict())


class TimelinePages(Sink):
    """Writes the timeline image and the report page, which share one timeline.

    Args:
        labels: of the model.
        images: False keeps no thumbnails.
        svg_path: of the timeline image; None writes none.
        page_path: of the report page; None writes none.
        video: name of the annotated video beside the page; None where there is none.
    """

    needs_pixels = False

    def __init__(
        self,
        labels: Sequence[str],
        *,
        images: bool = True,
        svg_path: Path | None = None,
        page_path: Path | None = None,
        video: str | None = None,
    ) -> None:
        self._timeline = Timeline(labels, images)
        self._labels, self._images, self._video = labels, images, video
        self._svg_path, self._page_path = svg_path, page_path

    @property
    def resumable(self) -> bool:
        """Only without thumbnails: the earlier frames have no pixels any more."""
        return not self._images

    def replay(self, reading: FrameReading) -> None:
        """Take in an earlier frame."""
        self._timeline.append(Frame.without_pixels(reading), reading)

    def write(self, result: FrameResult) -> None:
        """Take in a frame."""
        self._timeline.append(result.frame, result.reading)

    def close(self, summary: Summary) -> None:
        """Write the files.

        Raises:
            WriteError: the disk is full, or the like.
        """
        title = summary.source
        # Drawn twice: only the page's timeline has the line that moves with the video.
        if self._svg_path is not None:
            write_text(self._svg_path, self._timeline.svg(title))
        if self._page_path is not None:
            svg = self._timeline.svg(title, moving=self._video is not None)
            text = page(summary.to_dict(), self._labels, svg, self._video)
            write_text(self._page_path, text)
