"""Rows, one per face and frame: JSON lines, CSV, and Arrow's columns.

A frame without a face has one row too, with an empty track: that no face was found is a result.
`track` numbers the faces of one source from 1; it does not identify a person.
"""

from __future__ import annotations

import csv
import io
import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mien.imaging.pose import HeadPose
    from mien.types import FrameReading, TrackedFace

ABOUT = ("source", "frame", "pts", "time_s")
PLACE = ("track", "x0", "y0", "x1", "y1", "origin", "score", "quality", "landmarks")
POSE = ("yaw", "pitch", "roll")
PREDICTION = ("label", "confidence", "unsure")


def columns(labels: Sequence[str]) -> list[str]:
    """Return the names of the columns for a model's labels, in order."""
    raw = [f"raw_{label}" for label in labels]
    smoothed = [f"p_{label}" for label in labels]
    return [*ABOUT, *PLACE, *POSE, *raw, *smoothed, *PREDICTION]


@cache
def _empty(labels: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(columns(labels))


def rows(reading: FrameReading, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a frame: values by column, None where there is none."""
    # Every row has every column, in one order: tables of one model can be joined.
    empty = _empty(tuple(labels))
    about = {
        "source": reading.source,
        "frame": reading.frame,
        "pts": reading.pts,
        "time_s": round(reading.time_s, 6),
    }
    for face in reading.faces:
        yield {**empty, **about, **_face(face, labels)}
    if not reading.faces:
        yield {**empty, **about}


def _face(face: TrackedFace, labels: Sequence[str]) -> dict[str, Any]:
    marks, pose = face.landmarks, face.pose
    return {
        "track": face.track,
        **{name: round(v, 1) for name, v in zip(PLACE[1:5], face.box, strict=True)},
        "origin": face.origin,
        "score": round(face.score, 4),
        "quality": face.quality,
        "landmarks": None if marks is None else [round(v, 1) for point in marks for v in point],
        **({} if pose is None else angles(pose)),
        **_probabilities("raw", face.raw, labels),
        **_probabilities("p", face.probabilities, labels),
        "label": face.label,
        "confidence": None if face.confidence is None else round(face.confidence, 4),
        "unsure": face.unsure,
    }


def angles(pose: HeadPose) -> dict[str, float | None]:
    """Return yaw, pitch and roll in degrees by name, rounded; None where there is no angle."""
    # Landmarks in one place have no angles, and JSON has no NaN.
    return {
        name: round(angle, 1) if math.isfinite(angle) else None
        for name, angle in zip(POSE, pose, strict=True)
    }


def _probabilities(
    prefix: str, probabilities: Mapping[str, float] | None, labels: Sequence[str]
) -> dict[str, float]:
    if probabilities is None:
        return {}
    return {f"{prefix}_{label}": round(probabilities[label], 4) for label in labels}


def json_line(row: Mapping[str, Any]) -> str:
    """Return a row as one line of JSON."""
    # Names of files stay readable; the file is UTF-8.
    return json.dumps(row, ensure_ascii=False) + "\n"


class CsvLines:
    """Converts rows to lines of CSV; landmarks are ten numbers separated by spaces."""

    def __init__(self, labels: Sequence[str]) -> None:
        # One buffer and one writer, emptied after each line, rather than new ones for each row.
        self._buffer = io.StringIO()
        self._columns = columns(labels)
        self._writer = csv.writer(self._buffer, lineterminator="\n")

    @property
    def header(self) -> str:
        """The line of column names."""
        self._writer.writerow(self._columns)
        return self._taken()

    def line(self, row: Mapping[str, Any]) -> str:
        """Return a row as a line."""
        marks = row["landmarks"]
        text = {
            **row,
            "landmarks": None if marks is None else " ".join(map(str, marks)),
            "unsure": None if row["unsure"] is None else str(row["unsure"]).lower(),
        }
        self._writer.writerow([text[name] for name in self._columns])
        return self._taken()

    def _taken(self) -> str:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text


def arrow_schema(labels: Sequence[str]) -> Any:
    """Return the Arrow schema of the columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = load_arrow()
    kinds = {
        "source": pa.string(),
        "frame": pa.int64(),
        "pts": pa.int64(),
        "time_s": pa.float64(),
        "track": pa.int32(),
        "origin": pa.string(),
        "quality": pa.string(),
        "landmarks": pa.list_(pa.float32()),
        "label": pa.string(),
        "unsure": pa.bool_(),
    }
    return pa.schema([(name, kinds.get(name, pa.float32())) for name in columns(labels)])


def load_arrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("data", "a table in Arrow or Parquet") from error
    return pyarrow
