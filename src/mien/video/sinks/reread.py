"""Parses the rows that a run left when it was cut off."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from mien.types import FrameReading, TrackedFace
from mien.video.sinks.rows import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def complete_frames(
    part: Path, kind: str, labels: Sequence[str]
) -> Iterator[tuple[int, FrameReading]]:
    """Yield the frames of unfinished rows, each with the number of bytes up to its end.

    A kill may cut anywhere, between two faces of a frame too: a frame counts as complete once
    another one follows it, so the last one is never given. Sizes of frames are not in the rows
    and are 0 here.

    Args:
        part: the file with the rows.
        kind: 'csv', else JSON lines.
        labels: of the model.

    Raises:
        ValueError: the file does not hold such rows.
    """
    frame: int | None = None
    waiting: list[dict[str, Any]] = []
    end = 0
    with part.open("rb") as stream:
        if kind == "csv":
            head = stream.readline()
            if _cells(head) != columns(labels):
                raise ValueError("the header is not that of these labels")
            end = len(head)
        for line in stream:
            if not line.endswith(b"\n"):  # cut within a line
                return
            row = _typed(_cells(line), labels) if kind == "csv" else json.loads(line)
            if frame is None and list(row) != columns(labels):
                raise ValueError("the rows have other columns: an older mien wrote them")
            # A frame counts once the next one starts: before that, some of its faces may be
            # missing.
            if waiting and row["frame"] != frame:
                yield end, _reading(waiting, labels)
                waiting = []
            frame = row["frame"]
            waiting.append(row)
            end += len(line)


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8")]), [])


_TEXTS = ("source", "origin", "quality", "label")
_INTEGERS = ("frame", "pts", "track")


def _typed(cells: list[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return a row of CSV with the types that JSON has."""
    row: dict[str, Any] = {}
    for name, cell in zip(columns(labels), cells, strict=True):
        if cell == "":
            row[name] = None
        elif name in _TEXTS:
            row[name] = cell
        elif name in _INTEGERS:
            row[name] = int(cell)
        elif name == "landmarks":
            row[name] = [float(v) for v in cell.split()]
        elif name == "unsure":
            row[name] = cell == "true"
        else:
            row[name] = float(cell)
    return row


def _reading(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> FrameReading:
    first = rows[0]
    faces = tuple(TrackedFace.from_row(row, labels) for row in rows if row["track"] is not None)
    return FrameReading(first["source"], first["frame"], first["pts"], first["time_s"], 0, 0, faces)
