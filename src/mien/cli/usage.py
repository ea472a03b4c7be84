"""Typer's errors about a wrong command line, in the words of all other errors.

Typer's own texts lack the value that was typed, or the range that is allowed.
"""

from __future__ import annotations

import re
from typing import Any

_NO_COMMAND = re.compile(r"No such command '([^']*)'\.?(?: Did you mean (.*)\?)?")
_EXTRA = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)")
_TYPES = {"valid integer": "an integer", "valid number": "a number"}


def usage_error(error: Any) -> tuple[str, str]:
    """Return message and hint for an error that Typer raises before a command starts."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mien"
    hint = f"see {command} --help"
    # Typer breaks its messages into lines of the terminal's width.
    text = " ".join(error.format_message().split())
    option = getattr(error, "option_name", "")
    parameter = getattr(error, "param", None)
    match type(error).__name__:
        case "NoSuchOption":
            message = f"{command} has no option {option}"
            hint = f"{_did_you_mean(' or '.join(error.possibilities or ()))}{hint}"
        case "BadOptionUsage":
            message = f"{option} {'needs a value' if 'requires' in text else 'takes no value'}"
        case "MissingParameter" if parameter is not None:
            message = f"{command} needs {_name(parameter)}"
            hint = f"{_name(parameter)}: {parameter.help} See {command} --help"
        case _ if parameter is not None:
            message = _bad_value(parameter, error, text)
        case _:
            if unknown := _NO_COMMAND.match(text):
                message = f"{command} has no command '{unknown[1]}'"
                hint = f"{_did_you_mean(unknown[2] or '')}{hint}"
            elif extra := _EXTRA.match(text):
                message = f"{command} got more arguments than it takes: {extra[1]}"
            else:
                message = _plain(text)
    return message, hint


def _did_you_mean(likely: str) -> str:
    return f"did you mean {likely}? " if likely else ""


def _name(parameter: Any) -> str:
    """Return '--size', or 'MODEL' for a positional argument."""
    if parameter.param_type_name != "argument":
        return str(parameter.opts[0])
    return str(parameter.metavar or parameter.name.upper())


def _bad_value(parameter: Any, error: Any, text: str) -> str:
    name, value = _name(parameter), _typed_value(error)
    for technical, plain in _TYPES.items():
        if technical in text:
            return f"{name} must be {plain}, got {value!r}"
    allowed = _range(getattr(parameter, "min", None), getattr(parameter, "max", None))
    if allowed and "Input should be" in text:
        return f"{name}: {value} is out of range, {allowed}"
    return _plain(text)


def _typed_value(error: Any) -> str:
    """Return what was typed, which only the error beneath Typer's knows."""
    problems: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    value = problems[0].get("input") if problems else None
    return "another value" if value is None else str(value)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"{low:g} or more"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def _plain(text: str) -> str:
    """Return Typer's own words for an error that is not foreseen here."""
    return text[:1].lower() + text[1:].rstrip(".")
