"""The reference of all settings of a recipe, made from their types: read `settings_reference`."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from mien.train.networks.registry import NETWORKS
from mien.train.recipe.recipe import ABOVE_ZERO, RANGES, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import Field

HEAD = """\
# Settings of a recipe

Every key that a recipe, `--set a.b=c` and a study's cells take. This page is made by
`mien train --settings`, from the types that check the values.
"""


def settings_reference() -> str:
    """Return every key of a recipe with its values, default and meaning, as Markdown."""
    kinds = get_type_hints(Recipe)
    plain = [f for f in fields(Recipe) if not is_dataclass(kinds[f.name])]
    parts = [HEAD, _table(Recipe, plain, "")]
    for f in fields(Recipe):
        kind = kinds[f.name]
        if is_dataclass(kind):
            own = [g for g in fields(kind) if g.name != "options"]
            parts += [f"## [{f.name}]\n\n{_first_line(kind)}\n", _table(kind, own, f"{f.name}.")]
    for name, entry in NETWORKS.items():
        parts += [
            f'## [network] with name = "{name}"\n\n{entry.about[:1].upper()}{entry.about[1:]}.\n',
            _table(entry.options, list(fields(entry.options)), "network."),
        ]
    return "\n".join(parts)


def _table(owner: Any, own: list[Field[Any]], prefix: str) -> str:
    words, kinds = dict(_meanings(owner)), get_type_hints(owner)
    rows = ["| key | values | default | what |", "| --- | --- | --- | --- |"]
    for f in own:
        key = f"{prefix}{f.name}"
        cells = (f"`{key}`", _values(key, kinds[f.name]), _default(f), words.get(f.name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _meanings(owner: Any) -> Iterator[tuple[str, str]]:
    """Yield what the docstrings of a class, and of those that it is made from, say of each key."""
    for cls in reversed(inspect.getmro(owner)):
        text = inspect.cleandoc(cls.__doc__ or "")
        _, _, listed = text.partition("Attributes:\n")
        for name, said in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
            yield name, " ".join(said.split())


def _first_line(cls: Any) -> str:
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def _values(key: str, kind: Any) -> str:
    literals = [a for k in (kind, *get_args(kind)) if get_origin(k) is Literal for a in get_args(k)]
    named = ", ".join(f"`{literal}`" for literal in literals)
    if get_origin(kind) is Literal:
        return named
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    if get_origin(kind) is tuple:
        (inner, *_) = get_args(kind)
        return f"list of {plain[inner]}s"
    scalar = next((k for k in (kind, *get_args(kind)) if k in plain), None)
    text = plain[scalar] if scalar is not None else "table"
    if key in RANGES:
        low, high = RANGES[key]
        text += f", at least {low:g}" if high >= 1e9 else f", {low:g} to {high:g}"
    if key in ABOVE_ZERO:
        text += ", above 0"
    return f"{text}; or {named}" if named else text


def _default(f: Field[Any]) -> str:
    if f.default is MISSING:
        return "the file's name" if f.name == "name" else ""
    if isinstance(f.default, bool):
        return f"`{str(f.default).lower()}`"
    if isinstance(f.default, tuple):
        return f"`{list(f.default)}`"
    return f'`"{f.default}"`' if isinstance(f.default, str) else f"`{f.default:g}`"
