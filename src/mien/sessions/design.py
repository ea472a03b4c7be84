"""What a study consists of: participants, sessions, stimuli, events, exclusions, corrections."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who took part.

    Attributes:
        id: name in the tables; each is given once.
        person: id or name of the person in `people.json`; None where a session has one face.
        variables: between-subject variables, such as an age or a group.
    """

    id: str
    person: str | None = None
    variables: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clock:
    """How times of another clock become times of the video.

    Attributes:
        offset_s: seconds that are added: the video's time when the other clock says 0.
        drift_ppm: microseconds that the video gains on the other clock in each of its seconds.
        shared: two events or more seen by both, each as the video's and the other clock's
            seconds; offset and drift are then estimated from them.
    """

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    shared: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class EventsFile:
    """A file of events.

    Attributes:
        file: its path, relative to the study file.
        tiers: tiers or streams to read; all where empty.
        clock: of this file; None is the session's.
    """

    file: str
    tiers: tuple[str, ...] = ()
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A recording: one video and those who were seen in it.

    Attributes:
        id: name in the tables; each is given once.
        video: `source` of its rows, or the name of that file alone: see `mien.sessions.places`.
        participants: ids of those who were seen; all of the study where empty and it has one.
        condition: of the whole session; stimuli may have their own.
        baseline: start and end of the rest segment in seconds of the video.
        clock: of the files of events.
        events_from: files of events, relative to the study file.
    """

    id: str
    video: str
    participants: tuple[str, ...] = ()
    condition: str | None = None
    baseline: tuple[float, float] | None = None
    clock: Clock | None = None
    events_from: tuple[EventsFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Stimulus:
    """What was shown, from `start_s` to `end_s` of the video; see `Event` for its place."""

    name: str
    start_s: float
    end_s: float
    video: str | None = None
    session: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A moment at `time_s` of the video.

    Its place is a `video` or a `session`; with neither it is in every session. `person` is a
    participant's id or a person of `people.json`; None concerns everyone in the session.
    """

    name: str
    time_s: float
    video: str | None = None
    session: str | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A range to leave out, for a `reason`; see `Event` for its place and person."""

    start_s: float
    end_s: float
    reason: str = ""
    video: str | None = None
    session: str | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A label that a person, `by`, gave to a track's range; kept beside the model's labels."""

    source: str
    track: int
    start_s: float
    end_s: float
    label: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study; change it with `dataclasses.replace` and write it with `save_study`.

    Attributes:
        name: of the study, for titles.
        rows: folder or file of the rows, relative to the study file.
        people: file that joins tracks into people, relative to the study file.
        participants: those who took part.
        sessions: recordings; where there is none, each video of the rows is one.
        stimuli: what was shown.
        events: moments.
        exclusions: ranges to leave out; they may overlap.
        corrections: labels that people gave.
    """

    name: str = ""
    rows: str = "."
    people: str = "people.json"
    participants: tuple[Participant, ...] = ()
    sessions: tuple[Session, ...] = ()
    stimuli: tuple[Stimulus, ...] = ()
    events: tuple[Event, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    corrections: tuple[Correction, ...] = ()
