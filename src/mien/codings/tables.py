"""Codings in tables: rows of mien's videos, segments with start and end, BIDS's events."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from mien.codings.coding import Coding, Segment, make_tier, track_tiers
from mien.errors import DataError, did_you_mean
from mien.types import UNSURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START = ("start_s", "start", "begin", "onset", "start_time", "begin_time")
END = ("end_s", "end", "stop", "offset", "end_time")
DURATION = ("duration", "duration_s")
LABEL = ("label", "expression", "code", "trial_type", "value", "annotation")
TIER = ("tier", "participant", "person", "subject", "track", "coder")
ROWS = ("time_s", "track", "label")
"""Columns by which rows of mien's videos are known."""


def read_table(path: Path) -> Coding:
    """Return the coding in a CSV or TSV file.

    Rows of `mien video` give a tier for each track; rows that are unsure, or have no label, are
    not coded. Other tables need a start, an end or a duration (seconds), and a label; a column
    such as 'tier' or 'participant' makes tiers.

    Raises:
        DataError: a column is missing, or a time is no number.
    """
    columns, rows = _read(path)
    if all(name in columns for name in ROWS):
        return _frames(path, rows)
    return _intervals(path, columns, rows)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        # Excel writes a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            separator = max("\t;,", key=head.count)
            reader = csv.DictReader(stream, delimiter=separator)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            # A short row gives None for what is missing.
            rows = [{key: row.get(key) or "" for key in columns} for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as a table: {error}", hint="save it as CSV in UTF-8"
        ) from error
    return columns, rows


def _frames(path: Path, rows: Sequence[Mapping[str, str]]) -> Coding:
    by_track: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    times: dict[str, set[float]] = defaultdict(set)
    for line, row in enumerate(rows, 2):
        source = row.get("source", "")
        time_s = _number(row["time_s"], f"{path}, line {line}, time_s")
        times[source].add(time_s)
        if row["track"]:
            read = "" if row["label"] == UNSURE else row["label"]
            by_track[source, row["track"]].append((time_s, read))
    kept = tuple(tier for tier in track_tiers(by_track, times) if tier.segments)
    segments = [segment for tier in kept for segment in tier.segments]
    if len({source for source, _ in by_track}) == 1 and not _overlap(segments):
        # Never two faces at once: one person, whom tracking lost now and then.
        kept = (make_tier("face", segments, str(path)),)
    return Coding(path, kept, is_sampled=True)


def _overlap(segments: Sequence[Segment]) -> bool:
    by_time = sorted(segments, key=lambda one: one.start_s)
    return any(a.end_s > b.start_s + 1e-6 for a, b in pairwise(by_time))


def _intervals(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Coding:
    start = _column(path, columns, START, "a start")
    label = _column(path, columns, LABEL, "a label")
    end = next((name for name in END if name in columns), "")
    duration = "" if end else _column(path, columns, (*DURATION, *END), "an end or a duration")
    tier = next((name for name in TIER if name in columns), "")
    found: dict[str, list[Segment]] = defaultdict(list)
    for line, row in enumerate(rows, 2):
        # BIDS writes n/a for what is not known.
        if row[label].strip().lower() in ("", "n/a"):
            continue
        where = f"{path}, line {line}"
        begin = _number(row[start], f"{where}, {start}")
        length = _number(row[end or duration], f"{where}, {end or duration}")
        stop = length if end else begin + length
        found[row[tier].strip() if tier else "coding"].append(
            Segment(begin, stop, row[label].strip())
        )
    tiers = (make_tier(name, some, f"{path}, tier {name!r}") for name, some in found.items())
    return Coding(path, tuple(tiers))


def _column(path: Path, columns: Sequence[str], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in columns:
            return name
    near = next((hint for column in columns if (hint := did_you_mean(column, names))), "")
    raise DataError(
        f"{path} has no column with {what}; it has {', '.join(columns) or 'none'}",
        hint=f"{near}one of: {', '.join(names)}",
    )


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is no number", hint="times are seconds, such as 12.48")
    return value
