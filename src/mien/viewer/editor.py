"""Reads and writes people.json and study.toml beside the results; read `Editor.apply` first.

A file that somebody else has changed since the page loaded it is never replaced: each edit names
the version of both files that the page knows, and the version on the disk must be the same.
"""

from __future__ import annotations

from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from mien.errors import DataError
from mien.files import sha256, write_bytes
from mien.sessions.places import placed
from mien.sessions.study_file import Correction, Event, Exclusion, Study, load_study, save_study
from mien.video.people.seen import TrackKey
from mien.viewer.lanes import lanes_of
from mien.viewer.people import load_people, move_part, seen_of, split_person
from mien.viewer.results import ROUNDING_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mien.video.people.file import People
    from mien.video.people.seen import Seen
    from mien.viewer.results import Results, SourceRows

T = TypeVar("T")

PEOPLE, STUDY = "people", "study"
MAX_UNDO = 50
"""Changes that can be undone."""
MAX_TEXT = 200
"""Characters of a name or a reason."""


class Conflict(DataError):
    """A file was changed by somebody else since it was loaded."""

    kind = "conflict"


class Editor:
    """The people and the study of a folder of results.

    Args:
        results: of the folder.
        people_path: people.json; made with the first change of a person.
        study_path: study.toml; made with the first event, exclusion or correction.

    Raises:
        DataError: one of the files is damaged; names the line.
    """

    def __init__(self, results: Results, people_path: Path, study_path: Path) -> None:
        self._results, self._seen = results, seen_of(results)
        self._paths = {PEOPLE: people_path, STUDY: study_path}
        self._lock = RLock()
        self._undo: list[tuple[str, bytes | None, str | None]] = []
        self._load()

    def _load(self) -> None:
        self._versions = {name: _version(path) for name, path in self._paths.items()}
        self._people, self._notes = load_people(self._paths[PEOPLE], self._seen)
        path = self._paths[STUDY]
        names = [source.name for source in self._results.sources]
        self._study = placed(load_study(path), names) if path.exists() else Study()

    def state(self, *, reload: bool = False) -> dict[str, Any]:
        """Return people and marks, JSON types.

        Args:
            reload: read the files again if they have changed.

        Raises:
            DataError: one of the files is damaged now.
        """
        with self._lock:
            if reload and self._versions != {n: _version(p) for n, p in self._paths.items()}:
                self._load()
                self._undo.clear()
            return {
                "people": self._people.to_dict(),
                "events": [_mark(self._study, one) for one in self._study.events],
                "exclusions": [_mark(self._study, one) for one in self._study.exclusions],
                "corrections": [_mark(self._study, one) for one in self._study.corrections],
                "versions": dict(self._versions),
                "undo": len(self._undo),
                "notes": self._notes,
            }

    @property
    def study(self) -> Study:
        """The study, with its corrections."""
        return self._study

    def apply(self, edit: Mapping[str, Any]) -> None:
        """Apply an edit and save the file that it changes.

        Args:
            edit: `action`, its arguments, and `versions` of the files that the page knows.

        Raises:
            Conflict: a file was changed by somebody else; nothing is written.
            DataError: the edit is invalid; nothing is written.
            WriteError: the file cannot be written.
        """
        arguments = {key: value for key, value in edit.items() if key not in ("action", "versions")}
        with self._lock:
            self._refuse_conflict(edit.get("versions") or {})
            action = edit.get("action")
            if action == "undo":
                self._undo_last()
            elif action in _PEOPLE_ACTIONS:
                people = _call(_PEOPLE_ACTIONS[action], self._people, self, arguments)
                self._save(PEOPLE, people.save)
                self._people = people
            elif action in _STUDY_ACTIONS:
                study = _call(_STUDY_ACTIONS[action], self._study, self, arguments)
                if arguments.get("person"):
                    self._keep_people()
                self._save(STUDY, lambda path: save_study(study, path))
                self._study = study
            else:
                known = ", ".join((*_PEOPLE_ACTIONS, *_STUDY_ACTIONS, "undo"))
                raise DataError(f"action: {action!r} is unknown", hint=f"known: {known}")

    def _refuse_conflict(self, versions: Mapping[str, Any]) -> None:
        for name, path in self._paths.items():
            if _version(path) != self._versions[name] or versions.get(name) != self._versions[name]:
                raise Conflict(
                    f"{path.name} was changed by somebody else since this page loaded it; nothing "
                    "was saved",
                    hint="load it again, then repeat the change",
                )

    def _save(self, name: str, write: Callable[[Path], None]) -> None:
        path = self._paths[name]
        before = path.read_bytes() if path.exists() else None
        write(path)
        self._versions[name] = _version(path)
        self._undo = [*self._undo, (name, before, self._versions[name])][-MAX_UNDO:]

    def _keep_people(self) -> None:
        """Write people.json if it is missing: who a mark's 'P2' is must be known without the page.

        It cannot be undone, since it changes nothing that the page shows.
        """
        path = self._paths[PEOPLE]
        if not path.exists():
            self._people.save(path)
            self._versions[PEOPLE] = _version(path)

    def _undo_last(self) -> None:
        if not self._undo:
            raise DataError("action: there is nothing to undo", hint="undo reaches to the start")
        name, before, _ = self._undo.pop()
        if before is None:
            self._paths[name].unlink()
        else:
            write_bytes(self._paths[name], before)
        self._load()

    def source(self, name: str) -> SourceRows:
        """Return a source of the results by its name."""
        return self._results.source(name)

    @property
    def seen(self) -> dict[TrackKey, Seen]:
        """The frames of each track."""
        return self._seen

    def corrected(self, values: Mapping[str, Any]) -> list[Correction]:
        """Return the corrections of a lane's range: one for each of its tracks in the range."""
        rows = self.source(_text(values, "source"))
        start_s, end_s = _range(values, rows)
        lanes = {lane.id: lane for lane in lanes_of(self._people.to_dict(), rows.name)}
        if values.get("lane") not in lanes:
            raise DataError(f"lane: {rows.name} has no {values.get('lane')!r}",
                            hint="reload the page")  # fmt: skip
        label = _text(values, "label")
        if label not in rows.labels:
            raise DataError(f"label: {label!r} is no label of the model",
                            hint=f"its labels are {', '.join(rows.labels)}")  # fmt: skip
        found = []
        for piece in lanes[values["lane"]].pieces:
            own = rows.time_n[rows.rows_of([piece])]
            own = own[(own >= start_s - ROUNDING_S) & (own < end_s)]
            if len(own):
                first = max(start_s, piece.start_s or 0.0, min(float(own[0]), end_s))
                last = min(end_s, piece.end_s or end_s, float(own[-1]) + rows.step_s)
                found.append(Correction(rows.name, piece.track, round(first, 3), round(last, 3),
                                        label, _text(values, "by")))  # fmt: skip
        if not found:
            raise DataError(f"{values['lane']} has no row from {start_s:.2f} s to {end_s:.2f} s",
                            hint="choose a range in which the face is seen")  # fmt: skip
        return found


def _version(path: Path) -> str | None:
    try:
        return sha256(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}",
                        hint="check its permissions") from error  # fmt: skip


def _mark(study: Study, one: Event | Exclusion | Correction) -> dict[str, Any]:
    """Return an entry of the study as JSON types; its session's video stands for the session."""
    video = getattr(one, "video", None)
    session = getattr(one, "session", None)
    if session is not None:
        video = next((s.video for s in study.sessions if s.id == session), None)
    found = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return {**found, "video": video} if "video" in found else found


def _call(work: Callable[..., Any], first: Any, second: Any, values: dict[str, Any]) -> Any:
    try:
        return work(first, second, values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"edit: an argument is missing or of another kind: {error}", hint="reload the page"
        ) from error


def _text(values: Mapping[str, Any], name: str) -> str:
    text = str(values.get(name) or "").strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise DataError(f"{name}: give a text of 1 to {MAX_TEXT} characters",
                        hint="without line breaks")  # fmt: skip
    return text


def _person(values: Mapping[str, Any]) -> str | None:
    return _text(values, "person") if values.get("person") else None


def _moment(value: Any, name: str, rows: SourceRows) -> float:
    time_s = round(float(value), 3)
    if not 0 <= time_s <= rows.end_s + rows.step_s:
        raise DataError(
            f"{name}: {time_s:g} s is outside of {rows.name}", hint=f"0 to {rows.end_s:.2f} s"
        )
    return time_s


def _range(values: Mapping[str, Any], rows: SourceRows) -> tuple[float, float]:
    start_s = _moment(values["start_s"], "start_s", rows)
    end_s = _moment(values["end_s"], "end_s", rows)
    if end_s <= start_s:
        raise DataError(
            f"end_s: {end_s:g} s does not come after start_s, {start_s:g} s",
            hint="choose a range with a start before its end",
        )
    return start_s, end_s


def _add_event(study: Study, editor: Editor, values: dict[str, Any]) -> Study:
    rows = editor.source(_text(values, "source"))
    event = Event(_text(values, "name"), _moment(values["time_s"], "time_s", rows), rows.name,
                  person=_person(values))  # fmt: skip
    return replace(study, events=(*study.events, event))


def _add_exclusion(study: Study, editor: Editor, values: dict[str, Any]) -> Study:
    rows = editor.source(_text(values, "source"))
    one = Exclusion(*_range(values, rows), _text(values, "reason"), rows.name,
                    person=_person(values))  # fmt: skip
    return replace(study, exclusions=(*study.exclusions, one))


def _add_correction(study: Study, editor: Editor, values: dict[str, Any]) -> Study:
    return replace(study, corrections=(*study.corrections, *editor.corrected(values)))


def _remove(study: Study, editor: Editor, values: dict[str, Any]) -> Study:
    kind, index = values["kind"], int(values["index"])
    if kind == "event":
        return replace(study, events=_without(study.events, kind, index))
    if kind == "exclusion":
        return replace(study, exclusions=_without(study.exclusions, kind, index))
    return replace(study, corrections=_without(study.corrections, kind, index))


def _without(entries: tuple[T, ...], kind: str, index: int) -> tuple[T, ...]:
    if not 0 <= index < len(entries):
        raise DataError(f"index: there is no {kind} {index}", hint="reload the page")
    return (*entries[:index], *entries[index + 1 :])


def _rename(people: People, editor: Editor, values: dict[str, Any]) -> People:
    return people.rename(_text(values, "person"), values.get("name"))


def _merge(people: People, editor: Editor, values: dict[str, Any]) -> People:
    return people.merge(_text(values, "into"), _text(values, "other"), editor.seen)


def _split(people: People, editor: Editor, values: dict[str, Any]) -> People:
    rows = editor.source(_text(values, "source"))
    at_s = _moment(values["at_s"], "at_s", rows)
    return split_person(people, _text(values, "person"), rows, at_s)


def _assign(people: People, editor: Editor, values: dict[str, Any]) -> People:
    start_s = values.get("start_s")
    key = TrackKey(_text(values, "source"), int(values["track"]))
    start_s = None if start_s is None else float(start_s)
    return move_part(people, key, start_s, _text(values, "to"), editor.seen)


_PEOPLE_ACTIONS: dict[str, Callable[[People, Editor, dict[str, Any]], People]] = {
    "rename": _rename, "merge": _merge, "split": _split, "assign": _assign,
}  # fmt: skip
_STUDY_ACTIONS: dict[str, Callable[[Study, Editor, dict[str, Any]], Study]] = {
    "event": _add_event,
    "exclusion": _add_exclusion,
    "correction": _add_correction,
    "remove": _remove,
}
