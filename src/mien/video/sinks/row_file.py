"""Rows in a file, written frame by frame, so that a kill loses at most the last second."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mien.errors import ConfigError
from mien.files import write_error, write_json
from mien.video.sinks.base import Sink
from mien.video.sinks.rows import CsvLines, arrow_schema, json_line, load_arrow, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.frame import FrameResult
    from mien.video.summary import Summary

FORMATS = {"csv": ".csv", "json": ".jsonl", "parquet": ".parquet"}
ROWS_AT_ONCE = 20_000
"""Rows of a group in a Parquet file: groups of some thousand rows compress well and fit memory."""


class RowFile(Sink):
    """Writes NAME.csv, .jsonl or .parquet.

    While it runs the rows stand in NAME.csv.part (or .jsonl.part), handed to the system frame by
    frame: a kill takes none of them, however long the next frame stays away. On `close` that
    becomes the file; a Parquet file, which is unreadable without its last bytes, is made from the
    lines then. After an error or a kill the part stays, for `ResumePoint`.

    Args:
        path: without the suffix.
        kind: 'csv', 'json' or 'parquet'.
        labels: of the model.
        keep: bytes of an earlier run's part to continue after; 0 starts a new one.
        about: what the rows are of, JSON types: written beside the part, so that only rows of the
            same source and settings are resumed; None writes no such note.

    Attributes:
        path: of the finished file.
        part: of the unfinished one.
        note: of the file that says what `part` is of.
        kind: of the part: 'csv' or 'json'.
    """

    needs_pixels = False

    def __init__(
        self,
        path: Path,
        kind: str,
        labels: Sequence[str],
        *,
        keep: int = 0,
        about: dict[str, Any] | None = None,
    ) -> None:
        if kind not in FORMATS:
            raise ConfigError(
                f"rows: {kind!r} is not a format", hint=f"known: {', '.join(FORMATS)}"
            )
        if kind == "parquet":
            load_arrow()  # a missing package is reported now, not after the last frame
        self.path = path.with_name(path.name + FORMATS[kind])
        suffix = ".jsonl.part" if kind == "parquet" else FORMATS[kind] + ".part"
        self.part = path.with_name(path.name + suffix)
        self.note = self.part.with_name(f".{self.part.name}.json")
        self._parquet, self._labels = kind == "parquet", labels
        self.kind = "csv" if kind == "csv" else "json"
        self._keep, self._about = keep, about
        self._csv = CsvLines(labels) if kind == "csv" else None
        self._stream: IO[str] | None = None
        self._written = False

    @property
    def resumable(self) -> bool:
        """Always: the rows of the earlier run stay where they are."""
        return True

    def open(self) -> None:
        """Open the part, after the bytes to keep.

        Raises:
            WriteError: the folder or the file cannot be written.
        """
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            # Before the first row: rows without their note could not be resumed.
            if self._about is not None:
                write_json(self.note, self._about)
            if self._keep:
                os.truncate(self.part, self._keep)
            mode = "a" if self._keep else "w"
            self._stream = self.part.open(mode, encoding="utf-8", newline="")
            if self._csv is not None and not self._keep:
                self._stream.write(self._csv.header)
        except OSError as error:
            raise write_error(self.part, error) from error

    def write(self, result: FrameResult) -> None:
        """Write the rows of a frame.

        Raises:
            WriteError: the disk is full, or the like; what was flushed stays in the part.
        """
        assert self._stream is not None  # noqa: S101  (opened before)
        line = json_line if self._csv is None else self._csv.line
        try:
            self._stream.writelines(line(row) for row in rows(result.reading, self._labels))
            # To the system after each frame: it keeps the rows when this process is killed.
            self._stream.flush()
            self._written = True
        except OSError as error:
            raise write_error(self.path, error) from error

    def close(self, summary: Summary) -> None:
        """Give the file its final name.

        Raises:
            WriteError: the disk is full, or the like; the part stays.
        """
        try:
            self._close_stream()
            if self._parquet:
                write_parquet(self.part, self.path, self._labels)
                self.part.unlink()
            else:
                self.part.replace(self.path)
            self.note.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error

    def abort(self) -> None:
        """Close the part, which stays where it holds rows."""
        if self._stream is None:
            return
        with suppress(OSError):  # the error that led here is the one to report
            self._close_stream()
        if not self._written and not self._keep:
            self.part.unlink(missing_ok=True)  # nothing but a header
            self.note.unlink(missing_ok=True)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            stream.flush()
            # Before the new name: after a power cut a complete name must mean complete rows.
            os.fsync(stream.fileno())
        finally:
            stream.close()


def write_parquet(lines: Path, path: Path, labels: Sequence[str]) -> None:
    """Convert JSON lines to a Parquet file, complete or not at all.

    Args:
        lines: the file to read.
        path: the file to write.
        labels: of the model.
    """
    from mien.files import atomic_write

    pa, schema = load_arrow(), arrow_schema(labels)
    import pyarrow.parquet as pq

    with atomic_write(path) as out, pq.ParquetWriter(out, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []
        with lines.open(encoding="utf-8") as stream:
            for line in stream:
                batch.append(json.loads(line))
                if len(batch) >= ROWS_AT_ONCE:
                    writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                    batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
