"""From Python's types to JSON Schema (draft 2020-12): read `dataclass_schema` first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mien.train.recipe.ranges import UNBOUNDED, Range
from mien.train.recipe.reference import attribute_docs

Schema = dict[str, Any]

CHECKING_ONLY = {"Mapping": Mapping, "Sequence": Sequence}
"""Names that modules import for the type checker only."""
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def dataclass_schema(
    cls: Any, *, optional: Collection[str] = (), without: Collection[str] = ()
) -> Schema:
    """Return the schema of a dataclass that is written with all its attributes.

    Descriptions are those of the docstring; ranges and allowed values those of the types.

    Args:
        cls: the dataclass.
        optional: attributes that a file may lack.
        without: attributes that no file has.
    """
    kinds = get_type_hints(cls, localns=CHECKING_ONLY, include_extras=True)
    words = dict(attribute_docs(cls))
    properties = {
        f.name: described(type_schema(kinds[f.name]), words.get(f.name, ""))
        for f in fields(cls)
        if f.name not in without
    }
    return object_schema(properties, optional=optional)


def object_schema(properties: Mapping[str, Schema], *, optional: Collection[str] = ()) -> Schema:
    """Return the schema of an object with these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def described(schema: Schema, text: str) -> Schema:
    """Return a schema with a description, which comes first in the file; '' adds none."""
    # Docstrings say None for what JSON calls null.
    words = re.sub(r"\bNone\b", "null", text.rstrip("."))
    return {"description": words, **schema} if words else schema


def optional_null(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def type_schema(kind: Any) -> Schema:
    """Return the schema of the JSON form of a type annotation.

    Raises:
        TypeError: a type that no file of mien holds.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    if is_dataclass(kind):
        return dataclass_schema(kind)
    if origin not in GENERIC:
        raise TypeError(f"no file holds a {kind}")
    return GENERIC[origin](arguments)


def _union(kinds: tuple[Any, ...]) -> Schema:
    others = [type_schema(kind) for kind in kinds if kind is not NoneType]
    schema = others[0] if len(others) == 1 else {"anyOf": others}
    return optional_null(schema) if NoneType in kinds else schema


def _array(kinds: tuple[Any, ...]) -> Schema:
    """Return the schema of a list, or of a tuple of a fixed length whose items have one type."""
    schema: Schema = {"type": "array", "items": type_schema(kinds[0])}
    if len(kinds) > 1 and Ellipsis not in kinds:
        assert len(set(kinds)) == 1, kinds  # noqa: S101 - no file has another
        schema |= {"minItems": len(kinds), "maxItems": len(kinds)}
    return schema


def _limits(allowed: Range) -> Schema:
    low = "exclusiveMinimum" if allowed.above else "minimum"
    high = "exclusiveMaximum" if allowed.below else "maximum"
    limits: Schema = {low: allowed.low}
    if allowed.high < UNBOUNDED and not math.isinf(allowed.high):
        limits[high] = allowed.high
    return limits


GENERIC: dict[Any, Callable[[tuple[Any, ...]], Schema]] = {
    Annotated: lambda kinds: {**type_schema(kinds[0]), **_limits(kinds[1])},
    Literal: lambda values: {"enum": list(values)},
    Union: _union,
    UnionType: _union,
    tuple: _array,
    list: _array,
    Sequence: _array,
    dict: lambda kinds: {"type": "object", "additionalProperties": type_schema(kinds[1])},
    Mapping: lambda kinds: {"type": "object", "additionalProperties": type_schema(kinds[1])},
}
"""How the parameters of each generic type become a schema."""


def defaults_of(cls: Any) -> set[str]:
    """Return the names of a dataclass's attributes that have a default."""
    return {
        f.name for f in fields(cls) if f.default is not MISSING or f.default_factory is not MISSING
    }
