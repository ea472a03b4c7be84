"""From parsed TOML to typed, checked dataclasses; errors name the key and the allowed values."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from mien.errors import ConfigError, did_you_mean
from mien.train.recipe.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Mapping


def from_mapping(cls: type, values: Mapping[str, Any], *, where: str) -> Any:
    """Return dataclass `cls` with `values`, checked against its type annotations.

    Args:
        cls: a dataclass; `Annotated[float, Range(0, 1)]` restricts a number to a range.
        values: parsed TOML.
        where: name of the table, for errors; "" at the top.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, or a number out of its range.
    """
    known = {f.name: f for f in fields(cls)}
    types = get_type_hints(cls, include_extras=True)
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown setting {prefix}{key}",
                hint=did_you_mean(key, known) + f"known here: {', '.join(known)}",
            )
    missing = [
        name
        for name, f in known.items()
        if name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"setting {prefix}{missing[0]} is missing", hint="add it to the recipe")
    return cls(**{key: _convert(types[key], v, f"{prefix}{key}") for key, v in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_range(_convert(arguments[0], value, where), arguments[1], where)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise _wrong_type(where, "a table", value)
        return from_mapping(kind, value, where=where)  # type: ignore[arg-type]
    if origin is Literal:
        return _one_of(arguments, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong_type(where, "a list", value)
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin in (Union, UnionType):
        return _convert_union(arguments, value, where)
    return value if dict in (origin, kind) else _convert_scalar(kind, value, where)


def _one_of(literals: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in literals:
        return value
    raise ConfigError(
        f"{where}: {value!r} is not one of {', '.join(map(repr, literals))}",
        hint=did_you_mean(str(value), [str(a) for a in literals]) + "choose one of these",
    )


def _in_range(value: Any, allowed: Range, where: str) -> Any:
    if value in allowed:
        return value
    closed = "to" in str(allowed).split()
    raise ConfigError(
        f"{where}: {value} is out of range" + (f" {allowed}" if closed else f", must be {allowed}"),
        hint=f"set {where} to a number {'from ' if closed else ''}{allowed}",
    )


def _convert_scalar(kind: type, value: Any, where: str) -> Any:
    """Return a whole number as a float if one is required; other types must match exactly."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int: `epochs = true` must not pass as 1.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        required = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise _wrong_type(where, required, value)
    return value


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Return the value if it is one of the literals, else converted to the one other type."""
    literals = [a for kind in kinds if get_origin(kind) is Literal for a in get_args(kind)]
    if value in literals:
        return value
    (other,) = (kind for kind in kinds if get_origin(kind) is not Literal)
    if isinstance(value, str):
        raise _wrong_type(where, f"a number or {' or '.join(map(repr, literals))}", value)
    return _convert(other, value, where)


def _wrong_type(where: str, required: str, found: Any) -> ConfigError:
    return ConfigError(
        f"{where} must be {required}, got {found!r}", hint=f"set {where} to {required}"
    )


def apply_setting(values: dict[str, Any], override: str) -> None:
    """Apply one `a.b=c` to nested tables; c is a TOML value, or a bare word taken as a string.

    Raises:
        ConfigError: the override has another form, or goes through a value that is not a table.
    """
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(
            f"the setting {override!r} is not of the form a.b=c",
            hint="for example optimizer.lr=0.001",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = values
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"the setting {override!r}: {key} is a value, not a table",
                hint="mien train --settings lists all keys",
            )
    table[keys[-1]] = value
