"""The study file, `study.toml`: who took part, what was shown and when, and what to leave out.

`load_study` reads it; `save_study` writes a changed study and keeps the comments of its authors.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mien.errors import DataError, did_you_mean
from mien.files import CHECK_PATH, near_file
from mien.sessions.design import Clock as Clock
from mien.sessions.design import Correction as Correction
from mien.sessions.design import Event as Event
from mien.sessions.design import EventsFile as EventsFile
from mien.sessions.design import Exclusion as Exclusion
from mien.sessions.design import Participant as Participant
from mien.sessions.design import Session as Session
from mien.sessions.design import Stimulus as Stimulus
from mien.sessions.design import Study as Study
from mien.sessions.entries import Entry, parse_toml, refuse_unknown
from mien.sessions.study_csv import study_of_csv
from mien.sessions.study_save import save

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "study.toml"
"""Usual name of a study file, beside the rows or in a folder above them."""
TABLES = ("study", "participant", "session", "stimulus", "event", "exclusion", "correction")
"""Names of the tables, in the order in which a new file has them."""


def load_study(path: Path) -> Study:
    """Return the study in a file.

    Args:
        path: `.toml`, or `.csv` with a line for each participant and video (see
            `mien.sessions.study_csv`).

    Raises:
        DataError: the file is missing or damaged (names the line), has an unknown key (names the
            nearest known one), a name twice, or names somebody who is not in it.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise DataError(
            f"{path} is a folder, not a study file",
            hint=f"give a file, such as {path / 'study.toml'}",
        ) from error
    except OSError as error:
        hint = near_file(path) + CHECK_PATH
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    if path.suffix.lower() == ".csv":
        return check_study(study_of_csv(content, path), path)
    return check_study(_study(parse_toml(content, path), path), path)


def save_study(study: Study, path: Path) -> None:
    """Write a study; comments and order of an existing file are kept where entries are the same.

    Raises:
        DataError: the existing file is damaged; it is not replaced.
        MissingExtraError: tomlkit is not installed.
        WriteError: the file cannot be written.
    """
    save(check_study(study, path), path)


def _study(tables: dict[str, Any], path: Path) -> Study:
    refuse_unknown(tables, TABLES, str(path))
    about = Entry(tables.get("study", {}), f"{path}, [study]")
    name, rows = about.text("name"), about.text("rows")
    people = about.text("people")
    about.refuse_others()
    return Study(
        name=name or "",
        rows=rows or ".",
        people=people or "people.json",
        participants=tuple(map(_participant, _entries(tables, "participant", path))),
        sessions=tuple(map(_session, _entries(tables, "session", path))),
        stimuli=tuple(map(_stimulus, _entries(tables, "stimulus", path))),
        events=tuple(map(_event, _entries(tables, "event", path))),
        exclusions=tuple(map(_exclusion, _entries(tables, "exclusion", path))),
        corrections=tuple(map(_correction, _entries(tables, "correction", path))),
    )


def _entries(tables: dict[str, Any], name: str, path: Path) -> Iterable[Entry]:
    values = tables.get(name, [])
    if not isinstance(values, list):
        raise DataError(
            f"{path}: [{name}] is one table, and there may be several", hint=f"write [[{name}]]"
        )
    return [Entry(value, f"{path}, [[{name}]] {n}") for n, value in enumerate(values, 1)]


def _participant(entry: Entry) -> Participant:
    name, person = entry.some_text("id"), entry.text("person")
    return Participant(name, person, entry.others())


def _session(entry: Entry) -> Session:
    name, video = entry.some_text("id"), entry.some_text("video")
    who, condition = entry.texts("participants"), entry.text("condition")
    baseline = entry.part("baseline")
    span = baseline.span() if baseline else None
    if baseline:
        baseline.refuse_others()
    clock = _clock(entry.part("clock"))
    files = tuple(_events_file(entry, value) for value in entry.values("events_from"))
    entry.refuse_others()
    return Session(name, video, who, condition, span, clock, files)


def _clock(entry: Entry | None) -> Clock | None:
    if entry is None:
        return None
    offset_s, drift_ppm = entry.number("offset_s"), entry.number("drift_ppm")
    shared = entry.pairs("shared")
    entry.refuse_others()
    if shared and (offset_s is not None or drift_ppm is not None):
        raise DataError(
            f"{entry.where}: has both shared events and an offset or a drift",
            hint="give one of the two: offset and drift are estimated from shared events",
        )
    if shared and min(len({pair[side] for pair in shared}) for side in (0, 1)) < 2:
        raise DataError(
            f"{entry.where}: two shared events at different times of both clocks are needed, "
            f"found {', '.join(str(list(pair)) for pair in shared)}",
            hint="give a second one, at another time: "
            "shared = [[video_s, other_s], [video_s, other_s]]",
        )
    return Clock(offset_s or 0.0, drift_ppm or 0.0, shared)


def _events_file(entry: Entry, value: Any) -> EventsFile:
    if isinstance(value, str) and value.strip():
        return EventsFile(value)
    one = Entry(value, f"{entry.where}, events_from")
    found = EventsFile(one.some_text("file"), one.texts("tiers"), _clock(one.part("clock")))
    one.refuse_others()
    return found


def _place(entry: Entry) -> tuple[str | None, str | None]:
    """Return video and session, of which an entry has at most one."""
    video, session = entry.text("video"), entry.text("session")
    if video is not None and session is not None:
        raise DataError(
            f"{entry.where}: has both a video and a session", hint="give one of the two"
        )
    return video, session


def _stimulus(entry: Entry) -> Stimulus:
    made = Stimulus(entry.some_text("name"), *entry.span(), *_place(entry), entry.text("condition"))
    entry.refuse_others()
    return made


def _event(entry: Entry) -> Event:
    name, time_s = entry.some_text("name"), entry.some_number("time_s")
    made = Event(name, time_s, *_place(entry), entry.text("person"))
    entry.refuse_others()
    return made


def _exclusion(entry: Entry) -> Exclusion:
    span, reason = entry.span(), entry.text("reason") or ""
    made = Exclusion(*span, reason, *_place(entry), entry.text("person"))
    entry.refuse_others()
    return made


def _correction(entry: Entry) -> Correction:
    source, track = entry.some_text("source"), entry.whole("track")
    made = Correction(
        source, track, *entry.span(), entry.some_text("label"), entry.text("by") or ""
    )
    entry.refuse_others()
    return made


def check_study(study: Study, path: Path) -> Study:
    """Return a study whose names are consistent.

    Raises:
        DataError: a name is given twice, or an entry names somebody or a session that is not there.
    """
    ids = [one.id for one in study.participants]
    sessions = [one.id for one in study.sessions]
    _refuse_twice(ids, f"{path}: two participants have the id")
    people = [one.person for one in study.participants if one.person is not None]
    _refuse_twice(
        people, f"{path}: two participants are the person",
        "give each a person of its own, by an id or a name of people.json",
    )  # fmt: skip
    _refuse_twice(sessions, f"{path}: two sessions have the id")
    _refuse_twice(
        [one.video for one in study.sessions], f"{path}: two sessions have the video",
        "give each video one session; parts of a video are stimuli, with a condition each",
    )  # fmt: skip
    for one in study.sessions:
        _refuse_twice(
            one.participants, f"{path}, session {one.id}: names twice the participant",
            "remove one of the two",
        )  # fmt: skip
        for name in one.participants:
            if name not in ids:
                raise DataError(
                    f"{path}, session {one.id}: no participant has the id {name!r}",
                    hint=f"{did_you_mean(name, ids)}add a [[participant]] with this id",
                )
    placed: list[Stimulus | Event | Exclusion] = []
    for entries in (study.stimuli, study.events, study.exclusions):
        placed += entries
    for entry in placed:
        if entry.session is not None and entry.session not in sessions:
            kind = type(entry).__name__.lower()
            raise DataError(
                f"{path}: a [[{kind}]] is in the session {entry.session!r}, which is not there",
                hint=f"{did_you_mean(entry.session, sessions)}"
                f"known: {', '.join(sessions) or 'none'}",
            )
    return study


def _refuse_twice(
    names: Iterable[str], words: str, hint: str = "give each a name of its own"
) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{words} {name!r}", hint=hint)
