"""The table of a video, in Arrow, for whatever reads tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError, SourceError
from mien.video.sinks.rows import arrow_schema, load_arrow, rows
from mien.video.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.types import FrameReading

ROWS_AT_ONCE = 4096


class VideoTable:
    """Rows, one a face and frame; columns as in docs/video.md.

    Arrow's own protocol works too: `polars.from_arrow(table)`, `duckdb.from_arrow(table.arrow)`.

    Attributes:
        arrow: the pyarrow.Table.
        summary: of each person and all together, JSON types.
        error: why the video broke off, else None.
    """

    def __init__(self, arrow: Any, summary: dict[str, Any], error: str | None = None) -> None:
        self.arrow, self.summary, self.error = arrow, summary, error

    @classmethod
    def collect(cls, readings: Iterable[FrameReading], labels: Sequence[str]) -> VideoTable:
        """Return the table of readings.

        Raises:
            SourceError: before the first reading.
            MissingExtraError: pyarrow is not installed.
        """
        pa, schema = load_arrow(), arrow_schema(labels)
        summary, batches, error = Summary(labels), [], None
        waiting: list[dict[str, Any]] = []
        frames = 0
        try:
            for reading in readings:
                frames += 1
                summary.add(reading)
                waiting.extend(rows(reading, labels))
                if len(waiting) >= ROWS_AT_ONCE:
                    batches.append(pa.RecordBatch.from_pylist(waiting, schema=schema))
                    waiting = []
        except SourceError as broken:
            if not frames:
                raise
            error = broken.message
        batches.append(pa.RecordBatch.from_pylist(waiting, schema=schema))
        return cls(pa.Table.from_batches(batches, schema=schema), summary.finish(), error)

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


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"a table for {package} needs {package}, which is not installed",
        hint=f"install it: pip install {package}",
    )
