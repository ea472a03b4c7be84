"""All that is written of one source, into one folder; and which sources are done already."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mien.errors import ConfigError, SourceError
from mien.files import read_json, write_json, write_text
from mien.predict.sinks.clip import ClipWriter
from mien.predict.sinks.report import page
from mien.predict.sinks.rowfile import FORMATS, RowFile
from mien.predict.sinks.timeline import Timeline
from mien.predict.video.hide import hidden
from mien.predict.video.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.predict.sources import Source
    from mien.predict.video.frame import Frame
    from mien.types import FrameReading


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to write.

    Attributes:
        rows: 'csv', 'json' or 'parquet'.
        annotate: a copy of the video with the readings drawn on it.
        timeline: a picture of each person's expressions over time.
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
                "--annotate writes pictures and --no-images forbids them",
                hint="leave one out; --timeline and --report work without pictures",
            )


class Sink(Protocol):
    """What takes frames with their readings, one after another."""

    def append(self, frame: Frame, reading: FrameReading) -> None:
        """Take one in."""
        ...


class Outputs:
    """Names the files of sources in a folder: STEM.csv, STEM.summary.json and so on.

    Args:
        folder: to write into; made when the first file is.
        wanted: what to write.
    """

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"--out {folder} is a file", hint="give a folder's name")
        self.folder, self.wanted = folder, wanted
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
        """Return whether the files of this very source are complete; a summary comes last."""
        summary = path.with_name(path.name + ".summary.json")
        if not summary.exists():
            return False
        try:
            return bool(read_json(summary).get("source") == source.name)
        except SourceError:
            return False

    def write(
        self,
        source: Source,
        path: Path,
        seen: Iterable[tuple[Frame, FrameReading]],
        labels: Sequence[str],
    ) -> dict[str, Any]:
        """Write all that is wanted of a source; return its summary.

        A source that breaks off gives the files of its good part, and `error` in the summary.

        Raises:
            SourceError: before its first frame.
            WriteError: a file could not be written; the rows until then stay in the .part.
        """
        summary, error, frames = Summary(labels, self.wanted.segments), None, 0
        wanted = self.wanted
        timeline = Timeline(labels, wanted.images) if wanted.timeline or wanted.report else None
        clip = self._clip(source, path)
        sinks: list[Sink] = [sink for sink in (timeline, clip) if sink is not None]
        with ExitStack() as stack:
            rows = stack.enter_context(RowFile(path, wanted.rows, labels))
            if clip is not None:
                stack.enter_context(clip)
            try:
                for frame, reading in hidden(seen) if wanted.blur and sinks else seen:
                    frames += 1
                    rows.append(reading)
                    summary.add(reading)
                    for sink in sinks:
                        sink.append(frame, reading)
            except SourceError as broken:
                if not frames:
                    raise
                error = broken.message
        result = {**summary.finish(), "error": error}
        if timeline is not None:
            self._draw(path, timeline, result, labels, clip)
        write_json(path.with_name(path.name + ".summary.json"), result)
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
