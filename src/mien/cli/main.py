"""The `mien` command: where its subcommands start, and where their errors end up."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from mien.cli.commands import COMMANDS, QUICK
from mien.cli.flags import flags_of, name_flags
from mien.cli.reporting import report, report_usage
from mien.cli.streams import NoteStream, open_standard_streams
from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Sequence

GARBAGE_THRESHOLD = 20_000
"""Objects between two garbage collections; with Python's 700 a start collects a hundred times, and
nothing of what it imports is garbage."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the entry point of the `mien` script.

    Errors go to stderr in two lines, 'error:' and 'hint:', without a traceback. Exit codes are in
    `mien.cli.exit_codes`.

    Args:
        arguments: command line without the program's name (default: the process's own).
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    # At exit Python collects garbage several times, over every object of every package.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    open_standard_streams()
    stderr, sys.stderr = sys.stderr, NoteStream(sys.stderr)
    try:
        sys.exit(_run(sys.argv[1:] if arguments is None else arguments))
    finally:
        sys.stderr = stderr


def _run(words: Sequence[str]) -> int:
    """Run the command and return its exit code; report every error a user can act upon."""
    try:
        # Shell completion gets the words from its own variable.
        name = words[0] if words and "_MIEN_COMPLETE" not in os.environ else ""
        code = _run_quick(name, words[1:]) if name in QUICK else None
        if code is None:
            code = _run_typer(name if name in COMMANDS else "", words)
        sys.stdout.flush()  # here, where a full disk can still be reported
        return code
    except (MienError, KeyboardInterrupt, OSError, MemoryError, RuntimeError) as error:
        return report(error)


def _run_quick(name: str, words: Sequence[str]) -> int | None:
    """Run a command whose words are plain and return its exit code; None leaves it to Typer."""
    from mien.cli.quick import parse

    command = getattr(import_module(f"mien.cli.{name}"), name)
    values = parse(command, words)
    if values is None:
        return None
    try:
        return int(command(**values))
    except MienError as error:
        from mien.cli.application import command_line

        name_flags(error, flags_of(command_line(name).commands[name].params))
        raise


def _run_typer(name: str, words: Sequence[str]) -> int:
    """Run what Typer parses: one command, or with '' any of them."""
    from mien.cli.application import USAGE_ERROR, command_line

    try:
        # Not standalone: Click would print its own errors and exit by itself.
        return int(command_line(name)(words, prog_name="mien", standalone_mode=False) or 0)
    except USAGE_ERROR as error:
        return report_usage(error)
