"""The rows of a video as a table in Arrow, which pandas, Polars and DuckDB read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.video.sinks.base import Sink
from mien.video.sinks.rows import arrow_schema, load_arrow, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.frame import FrameResult
    from mien.video.summary import Summary

ROWS_AT_ONCE = 4096
"""Rows of a batch: as dictionaries they take many times the memory that Arrow needs."""


class VideoTable:
    """Rows, one per face and frame; columns as in docs/video.md.

    It has Arrow's own protocol too: `polars.from_arrow(table)`, `duckdb.from_arrow(table.arrow)`.

    Attributes:
        arrow: the pyarrow.Table.
        summary: statistics per track and in all, JSON types; see docs/video.md.
        error: why the video broke off, else None.
    """

    def __init__(self, arrow: Any, summary: dict[str, Any], error: str | None = None) -> None:
        self.arrow, self.summary, self.error = arrow, summary, error

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow.__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            return self.arrow.to_pandas()
        except ModuleNotFoundError as error:
            raise _missing("pandas") from error

    def to_polars(self) -> Any:
        """Return a polars.DataFrame.

        Raises:
            MissingExtraError: polars is not installed.
        """
        try:
            import polars
        except ModuleNotFoundError as error:
            raise _missing("polars") from error
        return polars.from_arrow(self.arrow)


class TableSink(Sink):
    """Collects the rows of a source; `table` is there after `close`.

    Args:
        labels: of the model.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    needs_pixels = False

    def __init__(self, labels: Sequence[str]) -> None:
        self._arrow, self._labels = load_arrow(), labels
        self._schema = arrow_schema(labels)
        self._batches: list[Any] = []
        self._rows: list[dict[str, Any]] = []
        self._table: VideoTable | None = None

    @property
    def table(self) -> VideoTable:
        """The table."""
        if self._table is None:
            raise RuntimeError("the table is complete only after TableSink.close")
        return self._table

    def write(self, result: FrameResult) -> None:
        """Take in the rows of a frame."""
        self._rows.extend(rows(result.reading, self._labels))
        # Packed at intervals: an hour of rows as dictionaries would take gigabytes.
        if len(self._rows) >= ROWS_AT_ONCE:
            self._pack()

    def close(self, summary: Summary) -> None:
        """Make the table."""
        self._pack()
        # With the schema: a video without a face has no rows to infer columns from.
        arrow = self._arrow.Table.from_batches(self._batches, schema=self._schema)
        error = None if summary.error is None else summary.error.message
        self._table = VideoTable(arrow, summary.to_dict(), error)

    def _pack(self) -> None:
        batch = self._arrow.RecordBatch.from_pylist(self._rows, schema=self._schema)
        self._batches.append(batch)
        self._rows = []


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"a table for {package} needs {package}, which is not installed",
        hint=f"install it: pip install {package}",
    )
