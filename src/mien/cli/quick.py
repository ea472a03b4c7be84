"""Plain command lines, parsed without Typer: what is not plain is left to it.

`mien predict photo.jpg --json` needs no help, no completion and no error message. Whatever might
need one gives None here, and Typer parses the command line from its beginning, so no error has two
wordings. `tests/cli/test_quick.py` compares both parsers.
"""

from __future__ import annotations

import os
import re
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from mien.cli.declare import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.cli.declare import Declared

_INTEGER = re.compile(r"\d{1,9}", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?|\.\d{1,9}", re.ASCII)


class _NotPlainError(Exception):
    """The command line is left to Typer."""


def parse(function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments of a command for the words behind its name, or None.

    Args:
        function: the command; its parameters are declared by `mien.cli.declare`.
        words: of the command line.
    """
    try:
        return _parse(function, words)
    except _NotPlainError:
        return None


def _parse(function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    defaults = {name: p.default for name, p in signature(function).parameters.items()}
    flags, positional = _named(function)
    values: dict[str, Any] = {}
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if not word.startswith("-") or word == "-":
            if not word or not positional:
                raise _NotPlainError
            values.setdefault(positional, []).append(_text(word))
            continue
        flag, equals, value = word.partition("=")
        if flag not in flags or (equals and not flag.startswith("--")):
            raise _NotPlainError
        name, kind, declared = flags[flag]
        if name in values:  # which one counts is for Typer to say
            raise _NotPlainError
        if kind is bool:
            if equals:
                raise _NotPlainError
            values[name] = True
            continue
        if not equals:
            value = waiting.pop() if waiting else ""
        values[name] = _converted(value, kind, declared)
    return {**defaults, **values}


def _named(
    function: Callable[..., Any],
) -> tuple[dict[str, tuple[str, Any, Declared]], str]:
    """Return name, type and declaration by flag, and the name of the list of arguments."""
    flags: dict[str, tuple[str, Any, Declared]] = {}
    positional = ""
    for name, (hint, declared) in parameters(function).items():
        if declared is None:
            continue
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        kind = kinds[0] if kinds and get_origin(hint) is not list else hint
        if declared.is_option:
            flags |= {flag: (name, kind, declared) for flag in declared.names}
        else:
            positional = name
    return flags, positional


def _converted(value: str, kind: Any, declared: Declared) -> Any:
    """Return the value of an option; what Typer might refuse is left to it."""
    # A value that looks like an option may be a forgotten value.
    if not value or value.startswith("-"):
        raise _NotPlainError
    if kind is str:
        return _text(value)
    if kind is Path:
        if os.path.lexists(value) and not os.access(value, os.R_OK):
            raise _NotPlainError
        return Path(_text(value))
    if kind not in (int, float) or not (_INTEGER if kind is int else _NUMBER).fullmatch(value):
        raise _NotPlainError
    number = kind(value)
    low, high = declared.settings.get("min"), declared.settings.get("max")
    if (low is not None and number < low) or (high is not None and number > high):
        raise _NotPlainError
    return number


def _text(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:  # bytes of a file's name that are no text
        raise _NotPlainError from None
    return word
