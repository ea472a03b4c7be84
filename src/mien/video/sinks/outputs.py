"""All that is written of one source, into one folder; and which sources are done already."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, SourceError
from mien.files import read_json, write_json, write_text
from mien.video.anonymize import hidden
from mien.video.frame import Frame
from mien.video.sinks.clip import ClipWriter
from mien.video.sinks.report import page
from mien.video.sinks.reread import whole_frames
from mien.video.sinks.resume import ResumePoint, about, forget, note
from mien.video.sinks.row_file import FORMATS, RowFile
from mien.video.sinks.timeline import Timeline
from mien.video.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.predict.sources import Source
    from mien.types import FrameReading
    from mien.video.plan import Settings


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What to write.

    Attributes:
        rows: 'csv', 'json' or 'parquet'.
        annotate: a copy of the video with the readings drawn on it.
        timeline: an image of each person's expressions over time.
        report: a page that plays the annotated video beside its timeline; writes both.
        blur: nobody can be recognised in what is written.
        images: False keeps no pixels at all.
        segments: see `Summary`.
    """

    rows: str = "csv"
    annotate: bool = False
    timeline: bool = False
    report: bool = False
    blur: bool = False
    images: bool = True
    segments: str = "labels"

    def __post_init__(self) -> None:
        if self.rows not in FORMATS:
            raise ConfigError(
                f"--format cannot be {self.rows!r}", hint=f"known: {', '.join(FORMATS)}"
            )
        if self.annotate and not self.images:
            raise ConfigError(
                "--annotate writes images and --no-images forbids them",
                hint="leave one out; --timeline and --report work without images",
            )

    @property
    def pictures(self) -> bool:
        """Whether pixels are written."""
        return self.images and (self.annotate or self.timeline or self.report)


@dataclass(slots=True)
class _Work:
    """What is made of one source while it is read."""

    rows: RowFile
    summary: Summary
    timeline: Timeline | None
    clip: ClipWriter | None
    frames: int = 0

    @property
    def pictures(self) -> list[Timeline | ClipWriter]:
        return [sink for sink in (self.timeline, self.clip) if sink is not None]

    def replay(self, rest: ResumePoint, labels: Sequence[str]) -> None:
        """Take in what an earlier run has written, and set the rows to go on after it."""
        for _, reading in whole_frames(self.rows.part, self.rows.kind, labels):
            self.frames += 1
            self.summary.add(reading)
            if self.timeline is not None:
                self.timeline.append(Frame.bare(reading), reading)
        self.rows.keep = rest.keep

    def run(self, seen: Iterator[tuple[Frame, FrameReading]]) -> str | None:
        """Take in all frames; return why the source broke off, else None.

        Raises:
            SourceError: before the first frame.
        """
        with ExitStack() as stack:
            stack.enter_context(self.rows)
            if self.clip is not None:
                stack.enter_context(self.clip)
            try:
                for frame, reading in seen:
                    self.frames += 1
                    self.rows.append(reading)
                    self.summary.add(reading)
                    for sink in self.pictures:
                        sink.append(frame, reading)
            except SourceError as broken:
                if not self.frames:
                    raise
                return broken.message
        return None


def _summary(source: Source, path: Path) -> dict[str, Any] | None:
    """Return the summary that a run before has left of this very source."""
    summary = path.with_name(path.name + ".summary.json")
    if not summary.exists():
        return None
    try:
        found = read_json(summary)
    except SourceError:
        return None
    return found if found.get("source") == source.name else None


class Outputs:
    """Names the files of sources in a folder: STEM.csv, STEM.summary.json and so on.

    Args:
        folder: to write into; made when the first file is.
        wanted: what to write.
        run: how sources are read, JSON types: only rows of the same run are gone on with.
    """

    def __init__(
        self, folder: Path, wanted: OutputOptions, run: dict[str, Any] | None = None
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"--out {folder} is a file", hint="give a folder's name")
        self.folder, self.wanted, self._run = folder, wanted, run or {}
        self._used: set[str] = set()

    def name(self, source: Source) -> Path:
        """Return the path, without suffix, of a source's files: sources of one name differ."""
        stem = (
            "stdin" if source.name == "-" else Path(source.name).stem.replace(":", "-") or "source"
        )
        number, name = 1, stem
        while name in self._used:
            number += 1
            name = f"{stem}-{number}"
        self._used.add(name)
        return self.folder / name

    def done(self, source: Source, path: Path) -> bool:
        """Return whether this very source was read to its end; a summary comes last."""
        summary = _summary(source, path)
        return summary is not None and not summary.get("error")

    def broke_off(self, source: Source, path: Path) -> str | None:
        """Return why this very source could not be read to its end in a run before, or None."""
        return (_summary(source, path) or {}).get("error")

    def cut_off(self, path: Path) -> bool:
        """Return whether a run that was cut off has left rows of a source."""
        return RowFile(path, self.wanted.rows, ()).part.exists()

    def rest(
        self, source: Source, path: Path, settings: Settings, labels: Sequence[str]
    ) -> ResumePoint | None:
        """Return the rest of a video whose reading was cut off; None where it begins anew.

        Only rows are gone on with: a film cannot be, so a source with images begins anew.
        """
        if source.kind != "video" or self.wanted.pictures:
            return None
        rows = RowFile(path, self.wanted.rows, labels)
        return ResumePoint.of(rows, about(source, self._run), settings, labels)

    def write(
        self,
        source: Source,
        path: Path,
        seen: Iterator[tuple[Frame, FrameReading]],
        labels: Sequence[str],
        rest: ResumePoint | None = None,
    ) -> dict[str, Any]:
        """Write all that is wanted of a source; return its summary.

        A source that breaks off gives the files of its good part, and `error` in the summary.

        Args:
            source: what is read.
            path: of its files, without suffix.
            seen: the frames of the source, or of `rest.source(source)`, with their readings.
            labels: of the model.
            rest: from the method of this name; the rows before it are kept.

        Raises:
            SourceError: before its first frame.
            WriteError: a file could not be written; the rows until then stay in the .part.
        """
        wanted = self.wanted
        work = _Work(
            rows=RowFile(path, wanted.rows, labels),
            summary=Summary(labels, wanted.segments),
            timeline=Timeline(labels, wanted.images) if wanted.timeline or wanted.report else None,
            clip=self._clip(source, path),
        )
        if rest is not None:
            work.replay(rest, labels)
            seen = rest.join(seen)
        note(work.rows, about(source, self._run))
        try:
            error = work.run(hidden(seen) if wanted.blur and work.pictures else seen)
        except SourceError:
            forget(work.rows)
            raise
        result = {**work.summary.finish(), "error": error}
        if work.timeline is not None:
            self._draw(path, work.timeline, result, labels, work.clip)
        write_json(path.with_name(path.name + ".summary.json"), result)
        forget(work.rows)
        return result

    def _clip(self, source: Source, path: Path) -> ClipWriter | None:
        wanted = self.wanted
        if not wanted.images or not (wanted.annotate or wanted.report):
            return None
        # A voice tells who somebody is, too.
        sound = source.path if source.kind == "video" and not wanted.blur else None
        return ClipWriter(path.with_name(path.name + ".annotated.mp4"), sound)

    def _draw(
        self,
        path: Path,
        timeline: Timeline,
        result: dict[str, Any],
        labels: Sequence[str],
        clip: ClipWriter | None,
    ) -> None:
        if self.wanted.timeline:
            write_text(path.with_name(path.name + ".timeline.svg"), timeline.svg(result["source"]))
        if self.wanted.report:
            svg = timeline.svg(result["source"], moving=clip is not None)
            name = None if clip is None else clip.path.name
            write_text(path.with_name(path.name + ".html"), page(result, labels, svg, name))
