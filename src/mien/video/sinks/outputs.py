"""The files of sources in a folder: their names, which sources are done, and what writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, SourceError
from mien.files import read_json
from mien.video.anonymize import AnonymizedSinks
from mien.video.sinks.clip import AnnotatedVideo
from mien.video.sinks.pages import SummaryFile, TimelinePages
from mien.video.sinks.resume import ResumePoint, about
from mien.video.sinks.row_file import FORMATS, RowFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.plan import VideoSettings
    from mien.video.sinks.base import Sink
    from mien.video.sources import Source


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What to write.

    Attributes:
        rows: 'csv', 'json' or 'parquet'.
        annotate: a copy of the video with the readings drawn on it.
        timeline: an image of each track's expressions over time.
        report: a page that plays the annotated video beside its timeline; writes both.
        blur: anonymize all images: blur the faces, leave out the sound.
        images: False keeps no pixels at all.
    """

    rows: str = "csv"
    annotate: bool = False
    timeline: bool = False
    report: bool = False
    blur: bool = False
    images: bool = True

    def __post_init__(self) -> None:
        if self.rows not in FORMATS:
            raise ConfigError(
                f"rows: {self.rows!r} is not a format", hint=f"known: {', '.join(FORMATS)}"
            )
        if self.annotate and not self.images:
            raise ConfigError(
                "annotate: an annotated video is made of images, and images=False forbids them",
                hint="leave one out; timeline and report work without images",
            )

    @property
    def keeps_pixels(self) -> bool:
        """Whether pixels are written."""
        return self.images and (self.annotate or self.timeline or self.report)


class OutputFolder:
    """Names the files of sources in a folder, NAME.csv, NAME.summary.json and so on.

    Args:
        folder: to write into; made when the first file is.
        options: what to write.
        run: how sources are read, JSON types: only rows of the same run are resumed.

    Raises:
        ConfigError: `folder` is a file.
    """

    def __init__(
        self, folder: Path, options: OutputOptions, run: dict[str, Any] | None = None
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file, not a folder", hint="give a folder's name")
        self.folder, self.options, self._run = folder, options, run or {}
        self._used: set[str] = set()

    def name(self, source: Source) -> Path:
        """Return the path, without suffix, of a source's files; unique within this folder."""
        # Folders with videos of the same name end up in one output folder.
        stem = (
            "stdin" if source.name == "-" else Path(source.name).stem.replace(":", "-") or "source"
        )
        number, name = 1, stem
        while name in self._used:
            number += 1
            name = f"{stem}-{number}"
        self._used.add(name)
        return self.folder / name

    def is_done(self, source: Source, path: Path) -> bool:
        """Return whether an earlier run has read this very source to its end."""
        summary = _read_summary(source, path)
        return summary is not None and not summary.get("error")

    def earlier_error(self, source: Source, path: Path) -> str | None:
        """Return why an earlier run could not read this very source to its end, or None."""
        return (_read_summary(source, path) or {}).get("error")

    def was_cut_off(self, path: Path) -> bool:
        """Return whether an earlier run was killed and has left rows."""
        return RowFile(path, self.options.rows, ()).part.exists()

    def resume_point(
        self, source: Source, path: Path, settings: VideoSettings, labels: Sequence[str]
    ) -> ResumePoint | None:
        """Return where to resume a video; None where it must be read from its start.

        Only rows can be resumed: an annotated video is rendered again from the start.
        """
        # A stream cannot be read again, and images of earlier frames are not in the rows.
        if source.kind != "video" or self.options.keeps_pixels:
            return None
        rows = RowFile(path, self.options.rows, labels)
        return ResumePoint.find(rows, about(source, self._run), settings, labels)

    def sinks(
        self,
        source: Source,
        path: Path,
        labels: Sequence[str],
        resume: ResumePoint | None = None,
    ) -> list[Sink]:
        """Return what writes the files of a source; give it to `Session.run`.

        Args:
            source: what is read.
            path: of its files, without suffix; from `name`.
            labels: of the model.
            resume: from `resume_point`; the rows before it are kept.
        """
        options = self.options
        images = self._image_sinks(source, path, labels)
        if images and options.blur:
            images = [AnonymizedSinks(images)]
        keep = 0 if resume is None else resume.keep
        rows = RowFile(path, options.rows, labels, keep=keep, about=about(source, self._run))
        return [rows, *images, SummaryFile(_with_suffix(path, ".summary.json"))]

    def _image_sinks(self, source: Source, path: Path, labels: Sequence[str]) -> list[Sink]:
        options = self.options
        sinks: list[Sink] = []
        clip = _with_suffix(path, ".annotated.mp4")
        has_video = options.images and (options.annotate or options.report)
        if has_video:
            # A voice identifies a person too: no sound in anonymized copies.
            sound = source.path if source.kind == "video" and not options.blur else None
            sinks.append(AnnotatedVideo(clip, sound))
        if options.timeline or options.report:
            pages = TimelinePages(
                labels,
                images=options.images,
                svg_path=_with_suffix(path, ".timeline.svg") if options.timeline else None,
                page_path=_with_suffix(path, ".html") if options.report else None,
                video=clip.name if has_video else None,
                # Faces are blurred in copies only.
                original=source.path if source.kind == "video" and not options.blur else None,
            )
            sinks.append(pages)
        return sinks


def _with_suffix(path: Path, suffix: str) -> Path:
    # Not Path.with_suffix, which would cut 'a.b' to 'a'.
    return path.with_name(path.name + suffix)


def _read_summary(source: Source, path: Path) -> dict[str, Any] | None:
    """Return the summary that an earlier run has written of this very source."""
    summary = _with_suffix(path, ".summary.json")
    if not summary.exists():
        return None
    try:
        found = read_json(summary)
    except SourceError:
        return None
    return found if found.get("source") == source.name else None
