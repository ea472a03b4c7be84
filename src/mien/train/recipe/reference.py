"""The reference of all recipe settings, generated from their types (docs/settings.md)."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from mien.train.networks.registry import NETWORKS
from mien.train.recipe.ranges import Range
from mien.train.recipe.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import Field

HEAD = """\
# Settings of a recipe

Every key of a recipe, of `--set a.b=c` and of a study's cells. `mien train --settings` prints this
page from the types that check the values.

A recipe file may also have `extends = "NAME or path"`: it inherits another recipe's settings, and
its own keys override them (see [Training](train.md#inheritance)).
"""

PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "table"}


def settings_reference() -> str:
    """Return every key of a recipe with its allowed values, default and meaning, as Markdown."""
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
    words, kinds = dict(attribute_docs(owner)), get_type_hints(owner, include_extras=True)
    rows = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    for f in own:
        key = f"{prefix}{f.name}"
        cells = (f"`{key}`", _values(kinds[f.name]), _default(f), words.get(f.name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def attribute_docs(owner: Any) -> Iterator[tuple[str, str]]:
    """Yield (attribute, meaning) from the docstrings of a class and its bases."""
    # Bases first: a subclass's words replace them.
    for cls in reversed(inspect.getmro(owner)):
        docstring = inspect.cleandoc(cls.__doc__ or "")
        _, _, listed = docstring.partition("Attributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
            yield name, " ".join(text.split())


def _first_line(cls: Any) -> str:
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def _values(kind: Any) -> str:
    """Return the allowed values of a type annotation in words."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{literal}`" if literal else "empty" for literal in get_args(kind))
    if get_origin(kind) is tuple:
        base, _, allowed = _values(get_args(kind)[0]).partition(", ")
        return f"list of {base}s" + (f", each {allowed}" if allowed else "")
    if get_origin(kind) is Annotated:
        base, allowed = get_args(kind)
        assert isinstance(allowed, Range)  # noqa: S101 - for the type checker
        return f"{_values(base)}, {allowed}"
    if kind in PLAIN:
        return PLAIN[kind]
    return "; or ".join(_values(part) for part in get_args(kind))  # a union


def _default(f: Field[Any]) -> str:
    if f.default is MISSING:
        return "the file's name" if f.name == "name" else ""
    if isinstance(f.default, bool):
        return f"`{str(f.default).lower()}`"
    if isinstance(f.default, tuple):
        return f"`{list(f.default)}`"
    return f'`"{f.default}"`' if isinstance(f.default, str) else f"`{f.default:g}`"
