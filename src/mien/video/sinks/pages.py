"""What is written at the end of a source: the summary, its timeline and the report page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from mien.files import write_json, write_text
from mien.video.frame import Frame
from mien.video.sinks.base import Sink
from mien.video.sinks.lanes import Lanes
from mien.video.sinks.report import ShownVideo, page
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
        original: the file that is read, for a page without an annotated video; None for others.
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
        original: Path | None = None,
    ) -> None:
        self._lanes = None if page_path is None else Lanes(labels)
        self._timeline = Timeline(labels, images, self._lanes)
        self._original = original
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
        svg = self._timeline.svg(title)
        if self._svg_path is not None:
            write_text(self._svg_path, svg)
        if self._page_path is not None and self._lanes is not None:
            text = page(summary.to_dict(), self._labels, svg, self._lanes, self._shown())
            write_text(self._page_path, text)

    def _shown(self) -> ShownVideo | None:
        """Return the video of the page: the annotated copy, which starts at 0, or the original."""
        if self._video is not None:
            return ShownVideo(quote(self._video), self._timeline.first_s or 0.0)
        if self._original is None or self._page_path is None:
            return None
        folder = self._page_path.parent.resolve()
        try:
            path = os.path.relpath(self._original.resolve(), folder)
        except ValueError:  # on another drive of Windows
            return None
        return ShownVideo(quote(path.replace(os.sep, "/")), 0.0)
