"""A study as a table: a line for each participant and video, as spreadsheets write them.

Columns: participant, video; optional: person, session, condition, baseline_start_s,
baseline_end_s, clock_offset_s, clock_drift_ppm, events_from (files separated by ;). All others are
between-subject variables. Several participants of one video have a line each.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.errors import DataError, did_you_mean
from mien.sessions.design import Clock, EventsFile, Participant, Session, Study

COLUMNS = (
    "participant", "video", "person", "session", "condition", "baseline_start_s",
    "baseline_end_s", "clock_offset_s", "clock_drift_ppm", "events_from",
)  # fmt: skip


def study_of_csv(content: bytes, path: Path) -> Study:
    """Return the study in a CSV file; `rows` and `people` have their defaults.

    Args:
        content: of the file, UTF-8; separated by commas, semicolons or tabs.
        path: of the file, for messages.

    Raises:
        DataError: a column is missing, a value is no number, or two lines contradict each other;
            names the line.
    """
    lines = _lines(content, path)
    participants: dict[str, Participant] = {}
    sessions: dict[str, Session] = {}
    for number, line in enumerate(lines, 2):
        where = f"{path}, line {number}"
        who = _participant(line, where)
        known = participants.setdefault(who.id, who)
        if known != who:
            raise DataError(
                f"{where}: {who.id!r} has other variables here than in a line above",
                hint="a participant's variables are the same in each of their lines",
            )
        one = _session(line, where)
        before = sessions.get(one.video)
        if before is None:
            sessions[one.video] = one
            continue
        if replace(before, participants=one.participants) != one:
            raise DataError(
                f"{where}: the video {one.video!r} has other values here than in a line above",
                hint="lines of one video differ in participant, person and variables only",
            )
        everyone = (*before.participants, who.id)
        sessions[one.video] = replace(before, participants=everyone)
    return Study(participants=tuple(participants.values()), sessions=tuple(sessions.values()))


def _lines(content: bytes, path: Path) -> list[dict[str, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: a character is not UTF-8",
            hint="save the table as CSV UTF-8",
        ) from error
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator)
    names = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = names
    for name in COLUMNS[:2]:
        if name not in names:
            raise DataError(
                f"{path}: the column {name!r} is missing, found {', '.join(names) or 'none'}",
                hint=f"{did_you_mean(name, names)}name the columns in the first line",
            )
    found: list[dict[Any, Any]] = list(reader)
    for number, values in enumerate(found, 2):
        if None in values or None in values.values():
            raise DataError(
                f"{path}, line {number}: has not the {len(names)} values of the first line",
                hint="put a value that holds a separator in quotes",
            )
    if not found:
        raise DataError(f"{path} has no lines", hint="add a line for each participant and video")
    return [{key: value.strip() for key, value in values.items()} for values in found]


def _participant(line: dict[str, str], where: str) -> Participant:
    if not line["participant"]:
        raise DataError(f"{where}: no participant", hint="give each line a participant")
    others = {key: _value(text) for key, text in line.items() if key not in COLUMNS and text}
    return Participant(line["participant"], line.get("person") or None, others)


def _session(line: dict[str, str], where: str) -> Session:
    video = line["video"]
    if not video:
        raise DataError(f"{where}: no video", hint="give the source that the rows have")
    start_s, end_s = (_number(line, f"baseline_{end}_s", where) for end in ("start", "end"))
    if (start_s is None) != (end_s is None) or (
        start_s is not None and end_s is not None and start_s >= end_s
    ):
        raise DataError(
            f"{where}: a baseline needs a start and a later end", hint="give both in seconds"
        )
    offset_s, drift_ppm = (
        _number(line, f"clock_{part}", where) for part in ("offset_s", "drift_ppm")
    )
    is_set = offset_s is not None or drift_ppm is not None
    return Session(
        id=line.get("session") or Path(video).stem,
        video=video,
        participants=(line["participant"],),
        condition=line.get("condition") or None,
        baseline=None if start_s is None or end_s is None else (start_s, end_s),
        clock=Clock(offset_s or 0.0, drift_ppm or 0.0) if is_set else None,
        events_from=tuple(
            EventsFile(one.strip()) for one in line.get("events_from", "").split(";") if one.strip()
        ),
    )


def _number(line: dict[str, str], key: str, where: str) -> float | None:
    text = line.get(key, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{where}: {key} = {text!r} is not a number", hint="give a number, such as 2.5"
        ) from error


def _value(text: str) -> str | int | float | bool:
    """Return a variable as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
