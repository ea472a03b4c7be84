"""The JSON Schema of `study.toml`; TOML has no null, so that what is not known is absent."""

from __future__ import annotations

from typing import Any

from mien.sessions.design import (
    Clock,
    Correction,
    Event,
    EventsFile,
    Exclusion,
    Participant,
    Session,
    Stimulus,
    Study,
)
from mien.train.recipe.reference import attribute_docs
from schema_types import Schema, dataclass_schema, defaults_of, described, object_schema

NAME: Schema = {"type": ["string", "integer"]}
"""Names may be numbers, which TOML writes without quotes."""
ARRAYS = {
    "participant": ("participants", Participant),
    "session": ("sessions", Session),
    "stimulus": ("stimuli", Stimulus),
    "event": ("events", Event),
    "exclusion": ("exclusions", Exclusion),
    "correction": ("corrections", Correction),
}


def study() -> Schema:
    """Return the schema of a study file."""
    words = dict(attribute_docs(Study))
    about = {name: described({"type": "string"}, words[name]) for name in ("name", "rows")}
    about["people"] = described({"type": "string"}, words["people"])
    properties: dict[str, Schema] = {"study": object_schema(about, optional=list(about))}
    for key, (name, kind) in ARRAYS.items():
        items = _table(kind)
        properties[key] = described({"type": "array", "items": items}, words[name])
    items = properties["participant"]["items"]
    del items["properties"]["variables"]
    items["additionalProperties"] = {"type": ["string", "number", "boolean"]}
    session = properties["session"]["items"]["properties"]
    docs = dict(attribute_docs(Session))
    span = object_schema({"start_s": {"type": "number"}, "end_s": {"type": "number"}})
    session["baseline"] = described(span, docs["baseline"])
    session["clock"] = described(_clock(), docs["clock"])
    file = _table(EventsFile)
    file["properties"]["clock"] = _clock()
    files = {"type": "array", "items": {"anyOf": [{"type": "string"}, file]}}
    session["events_from"] = described(files, docs["events_from"])
    return object_schema(properties, optional=list(properties))


def _clock() -> Schema:
    schema = _table(Clock)
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    shared = schema["properties"]["shared"]
    schema["properties"]["shared"] = {**shared, "items": pair, "minItems": 2}
    return schema


def _table(kind: Any) -> Schema:
    """Return the schema of a dataclass whose defaults are absent, and never null."""
    schema = dataclass_schema(kind, optional=defaults_of(kind))
    for name, one in schema["properties"].items():
        types = one.get("type")
        if isinstance(types, list) and "null" in types:
            one["type"] = types = next(word for word in types if word != "null")
        one.pop("anyOf", None)
        if types == "string" and name in ("id", "person", "session", "name", "condition", "label"):
            one["type"] = NAME["type"]
        if one.get("items") == {"type": "string"}:
            one["items"] = NAME
    return schema
