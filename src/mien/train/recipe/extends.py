"""Inheritance of recipes: `extends = "NAME or path"` takes another recipe's settings first."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError
from mien.train.recipe.find import find_recipe
from mien.train.recipe.settings import NETWORK_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "extends"


def read_recipe(path: Path) -> dict[str, Any]:
    """Return a recipe's settings as nested tables, with those of its parents merged in.

    A recipe's own keys override its parent's, table by table. The parent's `name` is not
    inherited, and its network options only as long as both train the same network.

    Raises:
        ConfigError: a file cannot be read or is not TOML; a parent is missing, or extends its
            own child.
    """
    return _read(path, ())


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in children:
        chain = " -> ".join(child.name for child in (*children, path))
        raise ConfigError(
            f"{children[-1]}: {KEY} forms a cycle: {chain}",
            hint=f"remove {KEY} from one of these recipes",
        )
    values = _read_toml(path)
    parent = values.pop(KEY, None)
    if parent is None:
        return values
    if not isinstance(parent, str) or not parent:
        raise ConfigError(
            f"{path}: {KEY} must be one recipe, got {parent!r}",
            hint=f'give a shipped recipe\'s name or a path: {KEY} = "small"',
        )
    inherited = _read(_find_parent(parent, path), (*children, path.resolve()))
    inherited.pop("name", None)
    return _merged(inherited, values)


def _find_parent(parent: str, child: Path) -> Path:
    """Return the parent's file: beside the child, as a path, or among the shipped recipes."""
    beside = child.parent / parent
    try:
        return beside if beside.is_file() else find_recipe(Path(parent))
    except ConfigError as error:
        raise ConfigError(
            f"{child}: {KEY} = {parent!r} is neither a file nor a shipped recipe", hint=error.hint
        ) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the recipe {path}: {error.strerror}",
            hint="give the path of a TOML file, such as recipes/small.toml",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint="correct that line") from error


def _merged(parent: dict[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            # Another network's options, such as widths, would be unknown to this one.
            if key == "network" and value.get("name", old.get("name")) != old.get("name"):
                old = {name: old[name] for name in old.keys() & NETWORK_KEYS}
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    return merged
