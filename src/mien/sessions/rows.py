"""Rows of videos as recordings: one participant in one session, with a value for each frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.codings.coding import usual_step
from mien.errors import DataError, counted, did_you_mean
from mien.files import CHECK_PATH
from mien.sessions.design import Participant, Session
from mien.sessions.notes import Notes
from mien.sessions.recording import NONE, Recording
from mien.tables.load import SUFFIXES, by_source, labels_of, load_rows
from mien.types import UNSURE
from mien.video.people.file import UNKNOWN, People
from mien.video.sinks.rows import POSE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.sessions.design import Study

FORMS = (".parquet", ".feather", ".csv", ".jsonl")
"""Forms of the same rows, in the order in which they are preferred: fastest to read first."""


@dataclass(slots=True)
class Cast:
    """Who is seen where: sessions and participants of a study, found in its rows.

    Attributes:
        study: as its file has it.
        people: who the tracks are; None where a study has no such file.
        notes: what a reader of the tables must know.
        sources: videos whose rows were read.
    """

    study: Study
    people: People | None
    notes: Notes
    sources: list[str] = field(init=False, default_factory=list)
    _participants: dict[str, Participant] = field(init=False)

    def __post_init__(self) -> None:
        self._participants = {one.id: one for one in self.study.participants}
        if self.people is None:
            return
        taken: dict[str, str] = {}
        for one in self.study.participants:
            if one.person is None:
                continue
            # One by the id and one by the name would be the same person.
            other = taken.setdefault(self.people.find(one.person).id, one.id)
            if other != one.id:
                raise DataError(
                    f"the participants {other!r} and {one.id!r} are the same person, {one.person}",
                    hint="correct person of one of the two",
                )

    def session_of(self, source: str) -> Session | None:
        """Return the session of a video; without any in the study each video is one."""
        for one in self.study.sessions:
            if one.video == source:
                return one
        return None if self.study.sessions else Session(source, source)

    def seen_in(self, session: Session, present: list[str]) -> dict[str | None, Participant]:
        """Return the participants of a session by the id of their person.

        Args:
            session: one of `session_of`.
            present: ids of the people in its rows.

        Returns:
            Participants; with the key None the only one, whose are all tracks.

        Raises:
            DataError: it is not known which tracks are whose.
        """
        wanted = [self._participants[name] for name in session.participants]
        if self.people is None:
            everyone = wanted or list(self.study.participants)
            if len(everyone) > 1:
                raise DataError(
                    f"session {session.id}: {counted(len(everyone), 'participant')} and no "
                    f"{self.study.people}, so that it is not known which tracks are whose",
                    hint="find the people first: mien video --people, or mien people find DIR",
                )
            return {None: everyone[0] if everyone else Participant(session.id)}
        if not self.study.participants:
            names = {person.id: person.name or person.id for person in self.people.people}
            return {one: Participant(names[one], one) for one in present}
        found: dict[str | None, Participant] = {}
        for one in wanted or self.study.participants:
            if one.person is None and len(wanted or self.study.participants) == 1:
                return {None: one}
            if one.person is None:
                raise DataError(
                    f"session {session.id}: the participant {one.id!r} has no person",
                    hint="add person = ... with an id or a name of people.json",
                )
            person = self.people.find(one.person).id
            if wanted or person in present:
                found[person] = one
        return found


def row_files(folder: Path, study_path: Path, notes: Notes) -> list[Path]:
    """Return the files of rows in a folder, of each video's forms only the one read fastest.

    Raises:
        DataError: the folder is missing or holds no rows.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of rows", hint=CHECK_PATH)
    forms: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and file.resolve() != study_path.resolve():
            if file.suffix.lower() == ".csv" and not _has_rows(file):
                notes.add("file", f"{file.name}: a table, but no rows of mien video; not read")
                continue
            forms.setdefault(file.stem, []).append(file)
    if not forms:
        is_table = study_path.suffix.lower() == ".csv"
        raise DataError(
            f"{folder} holds no rows",
            hint="write some: mien video clip.mp4 --out DIR"
            + ("; the table lies beside them" if is_table else ", and set rows in [study]"),
        )
    return [min(some, key=lambda one: FORMS.index(one.suffix.lower())) for some in forms.values()]


def _has_rows(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.readline().decode("utf-8-sig", "replace")
    return head.replace('"', "").startswith("source,frame,")


def recordings(files: list[Path], cast: Cast) -> Iterator[Recording]:
    """Yield a recording for each participant of each session, file by file.

    Raises:
        DataError: a file is damaged, a video's rows are in two files, models' labels differ, or
            it is not known which tracks are whose.
    """
    read: dict[str, Path] = {}
    labels: list[str] = []
    for file in files:
        table = load_rows([file], without=("landmarks", "raw"))
        labels = labels or labels_of(table)
        if labels_of(table) != labels:
            raise DataError(
                f"{file} has the labels {', '.join(labels_of(table))}, files before have "
                f"{', '.join(labels)}",
                hint="read all videos of a study with the same model",
            )
        for source, rows in by_source(table):
            if source in read:
                raise DataError(
                    f"the rows of {source} are in {read[source].name} and in {file.name}",
                    hint="keep one of the two files in the folder of rows",
                )
            read[source] = file
            cast.sources.append(source)
            yield from _of_source(source, rows, cast)
    for one in cast.study.sessions:
        if one.video not in read:
            cast.notes.add("session", f"session {one.id}: no rows have the source {one.video!r}; "
                           f"{did_you_mean(one.video, read)}known: {', '.join(read)}")  # fmt: skip


def _of_source(source: str, rows: Any, cast: Cast) -> Iterator[Recording]:
    session = cast.session_of(source)
    if session is None:
        cast.notes.add("video", f"{source}: no session has this video; its rows are left out")
        return
    places: list[str] = []
    place_n = np.where(rows["track"].is_null().to_numpy(), NONE, 0)
    if cast.people is not None:
        places, place_n = cast.people.places_of_rows(rows)
    seen = np.bincount(place_n[place_n >= 0], minlength=len(places))
    known = {person.id for person in cast.people.people} if cast.people else set()
    present = [place for place, n in zip(places, seen, strict=False) if n and place in known]
    who = cast.seen_in(session, present)
    if None not in who:
        _note_others(session, places, seen, who, cast)
    for person, participant in who.items():
        mine = (
            place_n >= 0
            if person is None
            else place_n == (places.index(person) if person in places else NONE - 1)
        )
        yield _recording(session, participant, rows, mine, cast.notes)


def _note_others(
    session: Session,
    places: list[str],
    seen: NDArray[np.int64],
    who: dict[str | None, Participant],
    cast: Cast,
) -> None:
    """Note rows of people who are no participants of a session, and of unknown people."""
    for place, n in zip(places, seen, strict=False):
        if n and place not in who:
            what = "tracks of unknown people" if place == UNKNOWN else place
            cast.notes.add("rows", f"session {session.id}: {counted(int(n), 'row')} of {what} "
                           "belong to no participant and are left out")  # fmt: skip


def _recording(
    session: Session,
    participant: Participant,
    rows: Any,
    mine: NDArray[np.bool_],
    notes: Notes,
) -> Recording:
    """Return a participant's recording on the grid of all frames of the video."""
    frame_n, first, place_n = np.unique(
        rows["frame"].to_numpy(), return_index=True, return_inverse=True
    )
    time_n = rows["time_s"].to_numpy()[first]
    chosen = np.flatnonzero(mine)
    # Of two faces in one frame the last one stays: the one of the higher score.
    chosen = chosen[np.lexsort((rows["score"].to_numpy()[chosen], place_n[chosen]))]
    place = place_n[chosen]
    last = np.append(place[1:] != place[:-1], True) if len(place) else np.zeros(0, bool)
    if not last.all():
        notes.add(
            "rows",
            f"session {session.id}: {participant.id} has two faces in "
            f"{counted(int((~last).sum()), 'frame')}; the higher detection score is kept",
        )
    taken, place = rows.take(chosen[last]), place[last]
    labels = tuple(labels_of(rows))
    n, label_names = len(frame_n), (*labels, UNSURE)
    p_kn = [_spread(n, place, taken[f"p_{label}"].to_numpy(), np.float64) for label in labels]
    pose_3n = [_spread(n, place, taken[name].to_numpy(), np.float64) for name in POSE]
    qualities, quality_n = _codes(taken["quality"])
    found, label_n = _codes(taken["label"])
    # The model's labels in its own order, whatever order they have in the rows; last for NONE.
    order = [label_names.index(one) if one in label_names else NONE for one in found]
    numbers = np.array([*order, NONE])[label_n]
    return Recording(
        session=session,
        participant=participant,
        labels=labels,
        step_s=usual_step(time_n),
        frame_n=frame_n,
        time_n=time_n,
        track_n=_spread(n, place, taken["track"].to_numpy(), np.int32),
        quality_n=_spread(n, place, quality_n, np.int16),
        qualities=tuple(qualities),
        label_n=_spread(n, place, numbers, np.int16),
        label_names=label_names,
        unsure_n=_spread(n, place, taken["unsure"].fill_null(False).to_numpy(), np.bool_),
        confidence_n=_spread(n, place, taken["confidence"].to_numpy(), np.float64),
        p_nk=np.stack(p_kn, axis=1),
        pose_n3=np.stack(pose_3n, axis=1),
    )


def _spread(n: int, place: NDArray[np.int64], values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return values at their places among n; elsewhere nan, False or NONE."""
    missing = {np.float64: np.nan, np.bool_: False}.get(dtype, NONE)
    spread = np.full(n, missing, dtype)
    spread[place] = values
    return spread


def _codes(column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts of a column, and each value's index among them; NONE for null."""
    coded = column.combine_chunks().dictionary_encode()
    if hasattr(coded, "combine_chunks"):
        coded = coded.combine_chunks()
    indices = coded.indices.fill_null(NONE).to_numpy(zero_copy_only=False)
    return coded.dictionary.to_pylist(), indices.astype(np.int64)
