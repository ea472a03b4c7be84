"""From Python arguments to command-line flags, in the messages of library errors.

The library names its arguments ('every: 0 is out of range, 1 or more'), since most of its callers
are Python code. A user of the command line typed '--every 0' and should read that. The names come
from the parameters of the running command, so no table has to be kept beside them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mien.errors import MienError

_NAME = r"(?<![\w.=/\\'\"-])([a-z][a-z0-9_]*)"
# 'every: ...' or 'every must be ...', with an owner before it or not: 'limits.rate: ...'.
_SUBJECT = re.compile(r"^(?:[a-z_]+\.)?([a-z][a-z0-9_]*)(?=: | must )")
# An argument and its value: every=2, force=True.
_KEYWORD = re.compile(_NAME + r"=([^\s,;()]+)")
# A name with an underscore is no English word, so it is an argument wherever it stands.
_IDENTIFIER = re.compile(_NAME + r"(?<=[a-z0-9])(?![\w/\\=(]|\.\w)")
# 'set force to replace it', 'leave prior out', 'give size, such as 64x48', 'detector opencv=FILE'.
_PHRASE = re.compile(
    r"(\b(?:set|with|without|leave|give|and|use) |: )([a-z][a-z0-9_]*)"
    r"(?= to | out\b|, such as| [a-z]+=)"
)
_QUOTED = re.compile(r"`([a-z][a-z0-9_]*)`")
# A setting of a recipe: fit.batch_size=32.
_SETTING = re.compile(r"(?<![\w./-])(?<!--set )(set )?([a-z_]+\.[a-z_]+=[^\s,;]+)")


def flags_of(parameters: Iterable[Any]) -> dict[str, str]:
    """Return the flag of each option of a command by its Python name; positionals have none.

    Args:
        parameters: of a Typer command.
    """
    flags = {}
    for parameter in parameters:
        options = [name for name in parameter.opts if name.startswith("--")]
        if options and not getattr(parameter, "hidden", False):
            flags[parameter.name] = options[0]
    return flags


def name_flags(error: MienError, flags: Mapping[str, str]) -> None:
    """Replace Python arguments by flags in an error's message and hint.

    Args:
        error: raised while a command ran.
        flags: of that command, see `flags_of`.
    """
    error.message = with_flags(error.message, flags)
    error.hint = with_flags(error.hint, flags)


def with_flags(text: str, flags: Mapping[str, str]) -> str:
    """Return the text with the flags of a command in place of Python arguments.

    'every: 0 is out of range' becomes '--every: 0 is out of range'; 'force=True' becomes
    '--force'; 'images=False' becomes '--no-images'; 'fit.epochs=2' becomes '--set fit.epochs=2'
    where the command has --set. A word that is no argument of the command stays.
    """

    def subject(match: re.Match[str]) -> str:
        return _flag(match[1], flags) or match[0]

    def keyword(match: re.Match[str]) -> str:
        flag = _flag(match[1], flags)
        # images=False is the flag --no-images.
        if match[2].rstrip(".") == "False" and f"no_{match[1]}" in flags:
            return flags[f"no_{match[1]}"] + match[2].removeprefix("False")
        if flag is None:
            return match[0]
        # A full stop may end the sentence, and is no part of the value.
        value = match[2].rstrip(".")
        end = match[2][len(value) :]
        return f"{flag}{end}" if value == "True" else f"{flag} {value}{end}"

    def phrase(match: re.Match[str]) -> str:
        return match[1] + (_flag(match[2], flags) or match[2])

    def identifier(match: re.Match[str]) -> str:
        return (_flag(match[1], flags) if "_" in match[1] else None) or match[0]

    # Settings first: their dots and equals signs would match the patterns below.
    if "--set" in flags.values():
        # 'set fit.epochs=2' must not become 'set --set'.
        text = _SETTING.sub(lambda m: f"{'give ' if m[1] else ''}--set {m[2]}", text)
    text = _SUBJECT.sub(subject, text)
    text = _QUOTED.sub(subject, text)
    text = _PHRASE.sub(phrase, text)
    text = _KEYWORD.sub(keyword, text)
    return _IDENTIFIER.sub(identifier, text)


def _flag(name: str, flags: Mapping[str, str]) -> str | None:
    return next((flags[known] for known in _spellings(name) if known in flags), None)


def _spellings(name: str) -> Iterator[str]:
    """Yield the names that a command may have for a library's argument, likeliest first."""
    yield name
    yield f"{name}_"  # set_, since set is a builtin
    yield f"max_{name}"  # --max-rate for a limit called rate
    if name.endswith("_s"):  # --smooth-seconds for smooth_s, --end for end_s
        yield f"{name.removesuffix('_s')}_seconds"
        yield name.removesuffix("_s")
    yield name.removesuffix("s")  # --origin is repeatable; the library has origins
