"""Readings as JSON, JSON lines and CSV."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING

from mien.types import ABOUT, FACE, face_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.types import ImageReading


def write_json(readings: Iterable[ImageReading], stream: IO[str]) -> None:
    """Write a JSON list with one object per image, one per line; each is written at once."""
    # A terminal or pipe with another encoding gets escapes, which are valid JSON.
    ascii_only = (getattr(stream, "encoding", None) or "utf-8").lower() != "utf-8"
    # Piece by piece: readings of a large folder must not wait for the last one, nor fill the
    # memory.
    stream.write("[")
    for number, reading in enumerate(readings):
        stream.write(",\n " if number else "\n ")
        stream.write(json.dumps(reading.to_dict(), ensure_ascii=ascii_only))
    stream.write("\n]\n")


def write_jsonl(readings: Iterable[ImageReading], stream: IO[str]) -> None:
    """Write one JSON object per image and line; each is written at once."""
    ascii_only = (getattr(stream, "encoding", None) or "utf-8").lower() != "utf-8"
    for reading in readings:
        stream.write(json.dumps(reading.to_dict(), ensure_ascii=ascii_only) + "\n")


def write_csv(
    readings: Iterable[ImageReading],
    labels: Sequence[str],
    stream: IO[str],
    *,
    with_sets: bool = False,
) -> None:
    """Write a row per face; an image without a face, or an unreadable one, has one row.

    Columns: source, width, height, detector, model, face (from 0, empty where none), x0, y0,
    x1, y1 (pixels, as detected: they may lie outside the image), score, label, confidence, one
    column p_LABEL per label, prediction_set where a coverage was given (most probable label first,
    joined by |), turn (degrees), notes, error.
    """
    extra = [*(f"p_{label}" for label in labels), *(["prediction_set"] if with_sets else [])]
    columns = [*ABOUT, *FACE, *extra, "turn", "notes", "error"]
    writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for reading in readings:
        writer.writerows(face_rows(reading))
