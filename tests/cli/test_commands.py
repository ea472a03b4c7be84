"""The contract of every command: help, an example, sentences, and functions that stay short."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from tests.conftest import ROOT

from mien.cli.application import command_line, commands
from mien.cli.examples import EXAMPLES

COMMANDS = dict(commands(command_line()))
NAMES = sorted(COMMANDS)
MAX_LINES = 50


def test_every_command_has_an_example_of_its_own() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for path, lines in EXAMPLES.items():
        assert any(f"mien {path}".strip() in line for line in lines), path


@pytest.mark.parametrize("path", NAMES)
def test_every_command_has_help(path: str) -> None:
    command = COMMANDS[path]
    text = " ".join(str(command.help).split())
    assert text[0].isupper()
    assert text.endswith(".")
    if path:
        short = command.get_short_help_str(80)
        assert short[0].isupper()
        assert short.endswith(".")
        assert len(short) <= 60, short


@pytest.mark.parametrize("path", NAMES)
def test_every_option_is_described_by_sentences(path: str) -> None:
    wrong = [
        f"{parameter.opts[0]}: {text!r}"
        for parameter in COMMANDS[path].params
        if not getattr(parameter, "hidden", False)
        and not _is_sentence(text := str(parameter.help or ""))
    ]
    assert not wrong


def _is_sentence(text: str) -> bool:
    return bool(text) and text[0].isupper() and text.endswith(".")


def test_examples_name_options_that_exist() -> None:
    for path, lines in EXAMPLES.items():
        for line in lines:
            words = shlex.split(line.partition(" > ")[0].rpartition("mien ")[2])
            command: Any = COMMANDS[""]
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            known = {
                name
                for parameter in command.params
                for name in [*parameter.opts, *parameter.secondary_opts]
            }
            used = {word for word in words if word.startswith("-") and word != "-"}
            assert used <= known, (path, line)


def test_every_function_of_the_command_line_is_short() -> None:
    long = {
        f"{path.name}: {node.name}"
        for path in sorted((ROOT / "src" / "mien" / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and _length(node) > MAX_LINES
    }
    assert long == set()


def _length(node: ast.FunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1


def test_tables_are_drawn_in_one_place() -> None:
    drawn = re.compile(r"from rich\.table import|\bTable\(")
    own = {
        path.name
        for path in (ROOT / "src" / "mien" / "cli").glob("*.py")
        if drawn.search(path.read_text(encoding="utf-8"))
    }
    assert own == {"render.py"}


def test_a_command_does_not_import_the_others() -> None:
    code = (
        "import sys; from mien.cli.main import run\n"
        "try:\n    run(['predict', '-h'])\n"
        "finally:\n    print([m for m in sys.modules if m.startswith('mien.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'mien.cli.predict'" in done.stdout
    assert not [name for name in ("train", "serve", "study") if f"'mien.cli.{name}'" in done.stdout]
