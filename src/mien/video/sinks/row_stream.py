"""Rows printed to a text stream, such as standard output."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from mien.errors import ConfigError
from mien.video.sinks.base import Sink
from mien.video.sinks.rows import CsvLines, json_line, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.frame import FrameResult

KINDS = ("csv", "json")


class RowStream(Sink):
    """Writes rows to an open stream, which is not closed.

    Args:
        stream: for text.
        kind: 'csv' (without the header, see `header`) or 'json'.
        labels: of the model.
        flush: after each frame, for live sources.

    Raises:
        ConfigError: another kind.
    """

    needs_pixels = False

    def __init__(
        self, stream: IO[str], kind: str, labels: Sequence[str], *, flush: bool = False
    ) -> None:
        if kind not in KINDS:
            raise ConfigError(f"kind: {kind!r} is not a format", hint=f"known: {', '.join(KINDS)}")
        self._stream, self._labels, self._flush = stream, labels, flush
        self._csv = CsvLines(labels) if kind == "csv" else None

    @property
    def header(self) -> str:
        """The line of column names; empty for JSON. Write it once before the first source."""
        return "" if self._csv is None else self._csv.header

    def write(self, result: FrameResult) -> None:
        """Write the rows of a frame."""
        line = json_line if self._csv is None else self._csv.line
        self._stream.writelines(line(row) for row in rows(result.reading, self._labels))
        # Only where somebody watches: flushing each frame of a file makes a pipe slow.
        if self._flush:
            self._stream.flush()
