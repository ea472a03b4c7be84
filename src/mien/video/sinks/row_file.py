"""Rows to a file while they come, so that a kill loses at most the last second."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mien.errors import ConfigError
from mien.files import write_error
from mien.video.sinks.rows import CsvLines, arrow_schema, json_line, load_arrow, rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from mien.types import FrameReading

FORMATS = {"csv": ".csv", "json": ".jsonl", "parquet": ".parquet"}
ROWS_AT_ONCE = 20_000


class RowFile:
    """Writes NAME.csv, .jsonl or .parquet; a context manager.

    While it runs the rows stand in NAME.csv.part (or .jsonl.part), handed to the system frame by
    frame: a kill takes none of them, however long the next frame stays away. At the good end
    that becomes the file; a Parquet file, which nobody could read without its last bytes, is made
    from the lines then. After an error or a kill the part stays.

    Args:
        path: without the suffix.
        kind: 'csv', 'json' or 'parquet'.
        labels: of the model.

    Attributes:
        path: of the finished file.
        part: of the unfinished one.
        kind: of the part: 'csv' or 'json'.
        keep: bytes of the part to go on after; 0 begins anew.
    """

    def __init__(self, path: Path, kind: str, labels: Sequence[str]) -> None:
        if kind not in FORMATS:
            raise ConfigError(f"no rows are called {kind!r}", hint=f"known: {', '.join(FORMATS)}")
        if kind == "parquet":
            load_arrow()  # missing packages are told of now
        self.path = path.with_name(path.name + FORMATS[kind])
        suffix = ".jsonl.part" if kind == "parquet" else FORMATS[kind] + ".part"
        self.part = path.with_name(path.name + suffix)
        self._parquet, self._labels = kind == "parquet", labels
        self.kind = "csv" if kind == "csv" else "json"
        self.keep = 0
        self._csv = CsvLines(labels) if kind == "csv" else None
        self._stream: IO[str] | None = None
        self._written = False

    def __enter__(self) -> RowFile:
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            if self.keep:
                os.truncate(self.part, self.keep)
            mode = "a" if self.keep else "w"
            self._stream = self.part.open(mode, encoding="utf-8", newline="")
            if self._csv is not None and not self.keep:
                self._stream.write(self._csv.header)
        except OSError as error:
            raise write_error(self.part, error) from error
        return self

    def append(self, reading: FrameReading) -> None:
        """Write the rows of a frame.

        Raises:
            WriteError: the disk is full, or the like; what was flushed stays in the part.
        """
        assert self._stream is not None  # noqa: S101  (used inside its with block)
        line = json_line if self._csv is None else self._csv.line
        try:
            self._stream.writelines(line(row) for row in rows(reading, self._labels))
            self._stream.flush()
            self._written = True
        except OSError as error:
            raise write_error(self.path, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            try:
                stream.flush()
                os.fsync(stream.fileno())
            finally:
                stream.close()
            if kind is None:
                self._finish()
            elif not self._written and not self.keep:
                self.part.unlink()  # nothing but a header
        except OSError as failure:
            if kind is None:  # else the first error is the one to tell of
                raise write_error(self.path, failure) from failure

    def _finish(self) -> None:
        if self._parquet:
            write_parquet(self.part, self.path, self._labels)
            self.part.unlink()
        else:
            self.part.replace(self.path)


def write_parquet(lines: Path, path: Path, labels: Sequence[str]) -> None:
    """Turn JSON lines into a Parquet file, in groups of rows, whole or not at all."""
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
