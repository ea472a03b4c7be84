"""What a study says about times of a recording: conditions, stimuli, exclusions, events."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DataError, counted, did_you_mean
from mien.sessions.clocks import Mapping
from mien.sessions.event_files import OWN_CLOCK, read_events
from mien.sessions.recording import NONE
from mien.video.people.parse import name_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.sessions.design import Event, EventsFile, Exclusion, Session, Stimulus, Study
    from mien.sessions.notes import Notes
    from mien.sessions.recording import Recording
    from mien.video.people.file import People

STUDY_FILE = "study file"
"""Origin of events that stand in the study file itself."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An event or the onset of a stimulus, in seconds of the video.

    Attributes:
        name: of the event.
        kind: 'event' or 'stimulus'.
        time_s: when it starts.
        duration_s: 0 for a moment.
        origin: the file and tier that it is from.
        participant: id of the one whom it concerns; None concerns everyone in the session.
    """

    name: str
    kind: str
    time_s: float
    duration_s: float
    origin: str
    participant: str | None = None


class Marks:
    """Marks recordings by what a study says.

    Args:
        study: the study.
        people: who the tracks are, or None.
        folder: of the study file, to which paths are relative.
        notes: gets what was merged or left out.
    """

    def __init__(self, study: Study, people: People | None, folder: Path, notes: Notes) -> None:
        self._study, self._people, self._folder, self._notes = study, people, folder, notes
        named = [one.condition for one in study.sessions]
        named += [one.condition for one in study.stimuli]
        self.conditions: list[str] = list(dict.fromkeys([one or "" for one in named])) or [""]
        if "" not in self.conditions:
            self.conditions.append("")
        self._events: dict[str, list[Moment]] = {}
        self._corrected: set[int] = set()

    def mark(self, one: Recording) -> None:
        """Fill a recording's conditions, stimuli, exclusions and corrections."""
        one.condition_n[:] = self.conditions.index(one.session.condition or "")
        for number, stimulus in enumerate(self._study.stimuli):
            if not _is_in(stimulus, one.session):
                continue
            self._note_outside("stimulus", stimulus.name, stimulus.start_s, stimulus.end_s, one)
            frames = one.between(stimulus.start_s, stimulus.end_s)
            if (one.stimulus_n[frames] != NONE).any():
                self._notes.add("stimulus", f"session {one.session.id}: {stimulus.name!r} overlaps "
                                "another stimulus; the later one of the file counts")  # fmt: skip
            one.stimulus_n[frames] = number
            if stimulus.condition is not None:
                one.condition_n[frames] = self.conditions.index(stimulus.condition)
        self._exclude(one)
        for number, correction in enumerate(self._study.corrections):
            if correction.source == one.session.video:
                frames = one.between(correction.start_s, correction.end_s)
                mine = one.track_n[frames] == correction.track
                one.corrected_n[frames][mine] = number
                if mine.any():
                    self._corrected.add(number)

    def note_corrections(self, labels: Sequence[str], videos: Iterable[str]) -> None:
        """Note corrections in known videos that no frame has, or with a label of no model."""
        known = set(videos)
        for number, one in enumerate(self._study.corrections):
            if one.source not in known:
                continue
            what = f"{one.source}, track {one.track}, {one.start_s:g} to {one.end_s:g} s"
            if number not in self._corrected:
                self._notes.add("correction", f"the correction of {what} covers no frame of a "
                                "participant; it is left out")  # fmt: skip
            elif one.label not in labels:
                self._notes.add("correction", f"the correction of {what} has the label "
                                f"{one.label!r}, which is none of the rows' labels: "
                                f"{', '.join(labels)}")  # fmt: skip

    def events(self, one: Recording) -> list[Moment]:
        """Return what concerns a recording, by time: events of the study and its files, stimuli."""
        if one.session.id not in self._events:
            self._events[one.session.id] = self._of_session(one)
        everyone = self._events[one.session.id]
        return [e for e in everyone if e.participant in (None, one.participant.id)]

    def _exclude(self, one: Recording) -> None:
        mine = [
            entry
            for entry in self._study.exclusions
            if _is_in(entry, one.session)
            and self._participant(entry.person, one.session) in (None, one.participant.id)
        ]
        for merged in merged_exclusions(mine):
            start_s, end_s, parts = merged
            if len(parts) > 1:
                words = " and ".join(
                    f"{p.start_s:g} to {p.end_s:g} s ({p.reason or 'no reason'})" for p in parts
                )
                self._notes.add("exclusion", f"session {one.session.id}: the exclusions {words} "
                                f"overlap and count once, {start_s:g} to {end_s:g} s")  # fmt: skip
            reasons = dict.fromkeys(part.reason or "excluded" for part in parts)
            self._note_outside("exclusion", "; ".join(reasons), start_s, end_s, one)
            one.excluded_n[one.between(start_s, end_s)] = len(one.reasons)
            one.reasons.append("; ".join(reasons))

    def _note_outside(
        self, kind: str, name: str, start_s: float, end_s: float, one: Recording
    ) -> None:
        first, last = one.span_s
        if start_s < first - one.step_s or end_s > last + one.step_s:
            part = "lies" if start_s >= last or end_s <= first else "lies partly"
            self._notes.add(
                kind,
                f"session {one.session.id}: {kind} {name!r}, {start_s:g} to {end_s:g} s, {part} "
                f"outside the video ({first:g} to {last:g} s)",
            )

    def _of_session(self, one: Recording) -> list[Moment]:
        session = one.session
        found = [
            Moment(s.name, "stimulus", s.start_s, s.end_s - s.start_s, STUDY_FILE)
            for s in self._study.stimuli
            if _is_in(s, session)
        ]
        found += [
            Moment(e.name, "event", e.time_s, 0.0, STUDY_FILE, self._participant(e.person, session))
            for e in self._study.events
            if _is_in(e, session)
        ]
        for file in session.events_from:
            found += self._of_file(file, session)
        first, last = one.span_s
        kept = []
        for moment in sorted(found, key=lambda m: m.time_s):
            if first <= moment.time_s < last:
                kept.append(moment)
            else:
                self._notes.add("event", f"session {session.id}: {moment.kind} {moment.name!r} "
                                f"({moment.origin}) at {moment.time_s:.3f} s is outside the video "
                                f"({first:g} to {last:g} s) and left out")  # fmt: skip
        return kept

    def _of_file(self, file: EventsFile, session: Session) -> Iterable[Moment]:
        path = self._folder / file.file
        clock = file.clock or session.clock
        where = f"session {session.id}, {file.file}"
        if clock is None and path.suffix.lower() in OWN_CLOCK:
            raise DataError(
                f"{where}: LSL's times have another clock than the video",
                hint="give clock = {shared = [[video_s, other_s], [video_s, other_s]]} of two "
                "events that both have, or {offset_s = ...}",
            )
        line = Mapping(clock, where)
        if clock is not None and clock.shared:
            self._notes.add("clock", f"{where}: offset {line.offset_s:.4f} s and drift "
                            f"{line.drift_ppm:.1f} ppm from {len(clock.shared)} shared events, "
                            f"which lie within {line.residual_s:.4f} s of that line")  # fmt: skip
        everything = read_events(path, file.tiers)
        found = [one for one in everything if not math.isnan(one.start_s)]
        if len(found) < len(everything):
            n = counted(len(everything) - len(found), "event")
            self._notes.add("file", f"{where}: {n} without a time left out")
        if not everything:
            self._notes.add("file", f"{where}: holds no events")
        owners = {tier: self._owner(tier, session) for tier in {one.tier for one in found}}
        for tier, owner in sorted(owners.items()):
            if tier and owner is None:
                n = counted(sum(one.tier == tier for one in found), "event")
                self._notes.add("tier", f"{where}: the tier {tier!r} names no participant; "
                                f"{n} of it concern everyone in the session")  # fmt: skip
        return [
            Moment(
                one.name, "event", line.to_video(one.start_s), one.duration_s,
                f"{file.file}, {one.tier}" if one.tier else file.file, owners[one.tier],
            )
            for one in found
        ]  # fmt: skip

    def _names(self, session: Session) -> dict[str, str]:
        """Return ids of participants by all names that they have."""
        names = {}
        known = self._study.participants
        for one in known:
            if session.participants and one.id not in session.participants:
                continue
            names[one.id] = one.id
            if one.person is not None:
                names[one.person] = one.id
                if self._people is not None:
                    person = self._people.find(one.person)
                    names |= {name: one.id for name in (person.id, person.name) if name}
        if not known and self._people is not None:
            for person in self._people.people:
                names |= {name: person.name or person.id for name in (person.id, person.name)
                          if name}  # fmt: skip
        return names

    def _owner(self, tier: str, session: Session) -> str | None:
        return _named(tier, self._names(session))

    def _participant(self, person: str | None, session: Session) -> str | None:
        if person is None:
            return None
        # An entry without a place is in every session, and its person perhaps not.
        everyone = self._names(replace(session, participants=()))
        found = _named(person, {**everyone, **self._names(session)})
        if found is None:
            raise DataError(
                f"an event or exclusion of session {session.id} concerns {person!r}, who is no "
                "participant",
                hint=f"{did_you_mean(person, everyone)}known: {', '.join(everyone)}"
                if everyone
                else "add a [[participant]] with this id, or write people.json beside the rows: "
                "mien people find DIR, or mien view DIR, which writes it with a change of a person",
            )
        return found


def _named(name: str, names: dict[str, str]) -> str | None:
    """Return the participant with a name; one whose name differs in case only, if none has it."""
    by_key = {name_key(known): who for known, who in names.items()}
    return names.get(name, by_key.get(name_key(name)))


def _is_in(entry: Stimulus | Event | Exclusion, session: Session) -> bool:
    """Return whether an entry is in a session; one without a place is in all."""
    if entry.session is not None:
        return entry.session == session.id
    return entry.video is None or entry.video == session.video


def merged_exclusions(
    entries: Sequence[Exclusion],
) -> list[tuple[float, float, list[Exclusion]]]:
    """Return start, end and parts of each range, where ranges that overlap are one."""
    merged: list[tuple[float, float, list[Exclusion]]] = []
    for one in sorted(entries, key=lambda entry: entry.start_s):
        if merged and one.start_s < merged[-1][1]:
            start_s, end_s, parts = merged[-1]
            merged[-1] = (start_s, max(end_s, one.end_s), [*parts, one])
        else:
            merged.append((one.start_s, one.end_s, [one]))
    return merged


def note_unplaced(study: Study, videos: Iterable[str], notes: Notes) -> None:
    """Note entries in a video of which there are no rows."""
    known = set(videos)
    entries: list[Stimulus | Event | Exclusion] = []
    for some in (study.stimuli, study.events, study.exclusions):
        entries += some
    for entry in entries:
        if entry.video is not None and entry.video not in known:
            name = getattr(entry, "name", "") or getattr(entry, "reason", "")
            kind = type(entry).__name__.lower()
            notes.add(kind, f"{kind} {name!r} is in {entry.video}, which is the video of no "
                      "session with rows; it is left out")  # fmt: skip
    for correction in study.corrections:
        if correction.source not in known:
            notes.add("correction", f"a correction is of {correction.source}, which is the video "
                      "of no session with rows")  # fmt: skip
