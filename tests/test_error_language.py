"""Errors of the library name Python arguments and recipe keys; only `mien.cli` names flags."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mien
from mien import errors
from mien.cli.examples import EXAMPLES

SOURCE = Path(mien.__file__).parent
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
# A flag begins a word; '---', CSS variables and long dashes between words do not.
FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Whole shell commands, of other programs and of mien: a user copies them, so their flags stay.
# `mien` must be followed by one of its commands; 'mien cannot take --x' is no command.
NAMES = "|".join(sorted((re.escape(name) for name in EXAMPLES if name), key=len, reverse=True))
COMMANDS = re.compile(rf"\b(?:(?:pip|curl|ffmpeg) |mien (?:{NAMES}) )[^;,`]*")


def flags_in_errors(text: str) -> list[str]:
    """Return the string constants with a flag inside `raise X(...)` and calls of mien's errors."""
    found = {
        constant.value
        for node in ast.walk(ast.parse(text))
        if _makes_error(node)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant)
        and isinstance(constant.value, str)
        and FLAG.search(COMMANDS.sub("", constant.value))
    }
    return sorted(found)


def _makes_error(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr == "of":
        function = function.value  # MissingExtraError.of(...)
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in ERRORS


def library_files() -> list[str]:
    files = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return sorted(str(path) for path in files if path.parts[0] != "cli")


def test_errors_outside_cli_name_no_flags() -> None:
    found = {}
    for name in library_files():
        flags = flags_in_errors((SOURCE / name).read_text(encoding="utf-8"))
        if flags:
            found[name] = flags
    assert not found, "name the Python argument; mien.cli.flags translates it"


def test_the_walk_finds_flags() -> None:
    raised = 'raise ConfigError(f"--fps must be above 0, got {fps}", hint="for example 10")'
    assert flags_in_errors(raised) == ["--fps must be above 0, got "]
    assert flags_in_errors('x = DataError("taken", hint="--force replaces it")') != []
    assert flags_in_errors('raise MissingExtraError.of("train", "the flag --deep")') != []
    assert flags_in_errors('raise ConfigError("fps: 0", hint="fps=10")') == []
    assert flags_in_errors('print("--fps")') == []
    installs = 'raise ModelFileError("damaged", hint="pip install --force-reinstall x==1")'
    assert flags_in_errors(installs) == []


def test_whole_commands_may_have_flags() -> None:
    def hint(text: str) -> str:
        return f"raise ModelFileError('damaged', hint={text!r})"

    for command in (
        "calibrate it: mien calibrate MODEL OUT --data DIR",
        "`mien data import SOURCE OUT --validation 0.15` holds images out",
        "pip install --upgrade mien",
    ):
        assert flags_in_errors(hint(command)) == []
    for flag in ("mien takes --fps 5", "see mien video, or use --fps 5", "import with --size 48"):
        assert flags_in_errors(hint(flag)) == [flag]
