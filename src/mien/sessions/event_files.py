"""Events of other software: BIDS's events.tsv, ELAN, Praat, and recordings of LSL (XDF)."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.errors import DataError, MissingExtraError, did_you_mean
from mien.files import CHECK_PATH, near_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAME_COLUMNS = ("trial_type", "value", "event", "name", "label")
"""Columns of BIDS's events.tsv that name an event, in the order of preference."""
MISSING = ("", "n/a", "N/A", "nan")


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event in a file.

    Attributes:
        name: of the event.
        start_s: seconds of the file's own clock; NaN where the file says that it has none.
        duration_s: 0 for a moment.
        tier: tier or stream; '' where the file has none.
    """

    name: str
    start_s: float
    duration_s: float
    tier: str


def read_events(path: Path, tiers: Sequence[str] = ()) -> list[FileEvent]:
    """Return the events of a file, by time; those without a time are last.

    Args:
        path: `.tsv` or `.csv` (BIDS), `.eaf` (ELAN), `.TextGrid` (Praat, UTF-8 or UTF-16; points
            and intervals) or `.xdf` (markers of LSL).
        tiers: tiers or streams to read; all where empty.

    Raises:
        DataError: the file is missing, damaged or of another kind, or has no such tier.
        MissingExtraError: the package that reads this kind is not installed.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file of events", hint="name a file in it")
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint=near_file(path) + CHECK_PATH)
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path}: {path.suffix or 'a file without a suffix'} is no file of events",
            hint=f"known: {', '.join(READERS)}",
        )
    found = read(path)
    known = list(dict.fromkeys(one.tier for one in found))
    for name in tiers:
        if name not in known:
            raise DataError(
                f"{path} has no tier {name!r} with events",
                hint=f"{did_you_mean(name, known)}known: {', '.join(known) or 'none'}",
            )
    kept = [one for one in found if not tiers or one.tier in tiers]
    return sorted(kept, key=lambda one: (math.isnan(one.start_s), one.start_s))


def _read_bids(path: Path) -> list[FileEvent]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="save it as UTF-8") from error
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    lines = csv.DictReader(io.StringIO(text), delimiter=separator)
    names = lines.fieldnames or []
    if "onset" not in names:
        raise DataError(
            f"{path}: the column 'onset' is missing, found {', '.join(names) or 'none'}",
            hint="BIDS's events have the columns onset, duration and trial_type, in seconds",
        )
    label = next((name for name in NAME_COLUMNS if name in names), None)
    found = []
    for number, line in enumerate(lines, 2):
        start_s = math.nan
        if (line["onset"] or "").strip() not in MISSING:
            start_s = _seconds(line["onset"], f"{path}, line {number}: onset")
        length = (line.get("duration") or "").strip()
        duration_s = (
            0.0 if length in MISSING else _seconds(length, f"{path}, line {number}: duration")
        )
        name = (line[label] or "").strip() if label else ""
        found.append(FileEvent("event" if name in MISSING else name, start_s, duration_s, ""))
    return found


def _seconds(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} = {text!r} is not a number", hint="give seconds, such as 2.5")
    return value


def _read_elan(path: Path) -> list[FileEvent]:
    from mien.codings.elan import read_elan

    return _of_tiers(read_elan(path))


def _read_praat(path: Path) -> list[FileEvent]:
    from mien.codings.praat import read_points, read_textgrid

    points = read_points(path).items()
    moments = [FileEvent(name, time_s, 0.0, tier) for tier, some in points for time_s, name in some]
    return [*_of_tiers(read_textgrid(path)), *moments]


def _of_tiers(coding: Any) -> list[FileEvent]:
    return [
        FileEvent(one.label, one.start_s, one.end_s - one.start_s, tier.name)
        for tier in coding.tiers
        for one in tier.segments
    ]


def _read_xdf(path: Path) -> list[FileEvent]:
    """Return the markers of all streams of text; other streams are not loaded."""
    try:
        import pyxdf
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("sessions", "reading XDF files") from error
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty", hint="was the recording started in LabRecorder?")
    # .xdfz is the same, compressed.
    if start != b"XDF:" and start[:2] != b"\x1f\x8b":
        raise DataError(
            f"{path} cannot be read as an XDF file: it starts with {start!r}",
            hint="LabRecorder writes .xdf",
        )
    try:
        wanted = [
            one["stream_id"]
            for one in pyxdf.resolve_streams(str(path))
            if one.get("type") == "Markers" or one.get("channel_format") == "string"
        ]
        streams = pyxdf.load_xdf(str(path), select_streams=wanted)[0] if wanted else []
    except Exception as error:
        # pyxdf meets damage with errors of any kind: EOFError, struct.error, ParseError, its own.
        raise DataError(
            f"{path} cannot be read as an XDF file: {type(error).__name__}: {error}",
            hint="was the recording closed properly? LabRecorder writes .xdf",
        ) from error
    return [
        FileEvent(str(sample[0]).strip(), float(time_s), 0.0, str(stream["info"]["name"][0]))
        for stream in streams
        for time_s, sample in zip(stream["time_stamps"], stream["time_series"], strict=True)
        if str(sample[0]).strip()
    ]


READERS: dict[str, Callable[[Path], list[FileEvent]]] = {
    ".tsv": _read_bids, ".csv": _read_bids, ".eaf": _read_elan, ".textgrid": _read_praat,
    ".xdf": _read_xdf,
}  # fmt: skip
"""Readers by the suffix in lower case."""
OWN_CLOCK = (".xdf",)
"""Files whose times do not start with the video: LSL counts from the computer's start."""
