"""Writing a study file: an existing file's comments survive, by tomlkit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.files import write_text
from mien.sessions.entries import parse_toml

if TYPE_CHECKING:
    from pathlib import Path

    from mien.sessions.design import Clock, EventsFile, Participant, Session, Study


def tables_of(study: Study) -> dict[str, Any]:
    """Return a study as TOML's types; what has its default is absent."""
    about = {"name": study.name, "rows": study.rows, "people": study.people}
    defaults = {"name": "", "rows": ".", "people": "people.json"}
    return {
        "study": {key: value for key, value in about.items() if value != defaults[key]},
        "participant": [_participant(one) for one in study.participants],
        "session": [_session(one) for one in study.sessions],
        "stimulus": [_plain(one) for one in study.stimuli],
        "event": [_plain(one) for one in study.events],
        "exclusion": [_plain(one) for one in study.exclusions],
        "correction": [_plain(one) for one in study.corrections],
    }


def save(study: Study, path: Path) -> None:
    """Write a study; see `mien.sessions.study_file.save_study`."""
    try:
        import tomlkit
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("sessions", "writing study files") from error
    document = tomlkit.document()
    if path.exists():
        content = path.read_bytes()
        parse_toml(content, path)
        document = tomlkit.parse(content.decode("utf-8-sig"))
    for name, wanted in tables_of(study).items():
        if name == "study":
            _update(document.setdefault(name, tomlkit.table()), wanted)
        elif name not in document:
            if wanted:
                document[name] = _array(wanted)
        else:
            _merge(document[name], wanted)
            if not document[name]:
                del document[name]
    if not document.get("study"):
        document.pop("study", None)
    write_text(path, tomlkit.dumps(document))


def _array(values: list[dict[str, Any]]) -> Any:
    import tomlkit

    array = tomlkit.aot()
    for value in values:
        array.append(_table(value))
    return array


def _table(value: dict[str, Any]) -> Any:
    """Return a table on lines of its own, whose inner tables stand in one line each."""
    import tomlkit

    table = tomlkit.table()
    for key, inner in value.items():
        table[key] = _inline(inner)
    return table


def _inline(value: Any) -> Any:
    import tomlkit

    if isinstance(value, list):
        array = tomlkit.array()
        for one in value:
            array.append(_inline(one))
        return array
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: _inline(inner) for key, inner in value.items()})
        return table
    return value


def _merge(array: Any, wanted: list[dict[str, Any]]) -> None:
    """Change an array of tables: same entries stay, others are changed, removed or added."""
    left = list(wanted)
    changed: list[int] = []
    for place, table in enumerate(array):
        plain = _unwrapped(table)
        if plain in left:
            left.remove(plain)
        else:
            changed.append(place)
    for place in list(changed):
        if left:
            _update(array[place], left.pop(0))
            changed.remove(place)
    for place in reversed(changed):
        del array[place]
    for value in left:
        array.append(_table(value))


def _update(table: Any, wanted: dict[str, Any]) -> None:
    """Change only the keys that differ, so that comments of others stay."""
    plain = _unwrapped(table)
    for key in [key for key in plain if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        if key not in plain or plain[key] != value:
            table[key] = _inline(value)


def _unwrapped(table: Any) -> dict[str, Any]:
    return dict(table.unwrap())


def _plain(one: Any) -> dict[str, Any]:
    """Return a flat dataclass as a table without what has its default."""
    found = {}
    for item in dataclasses.fields(one):
        value = getattr(one, item.name)
        if value != item.default:
            found[item.name] = value
    return found


def _participant(one: Participant) -> dict[str, Any]:
    person = {} if one.person is None else {"person": one.person}
    return {"id": one.id, **person, **one.variables}


def _session(one: Session) -> dict[str, Any]:
    found: dict[str, Any] = {"id": one.id, "video": one.video}
    if one.participants:
        found["participants"] = list(one.participants)
    if one.condition is not None:
        found["condition"] = one.condition
    if one.baseline is not None:
        found["baseline"] = {"start_s": one.baseline[0], "end_s": one.baseline[1]}
    if one.clock is not None:
        found["clock"] = _clock(one.clock)
    if one.events_from:
        found["events_from"] = [_events_file(file) for file in one.events_from]
    return found


def _clock(one: Clock) -> dict[str, Any]:
    if one.shared:
        return {"shared": [list(pair) for pair in one.shared]}
    return {"offset_s": one.offset_s, "drift_ppm": one.drift_ppm}


def _events_file(one: EventsFile) -> Any:
    if not one.tiers and one.clock is None:
        return one.file
    found: dict[str, Any] = {"file": one.file}
    if one.tiers:
        found["tiers"] = list(one.tiers)
    if one.clock is not None:
        found["clock"] = _clock(one.clock)
    return found
