"""How the command line reports errors: one line 'error:', one line 'hint:', and an exit code."""

from __future__ import annotations

import sys
from typing import Any

from mien.cli import exit_codes
from mien.cli.streams import discard
from mien.cli.usage import usage_error
from mien.errors import ConfigError, MienError
from mien.files import write_error


def report(error: BaseException) -> int:
    """Print what a user can act upon and return the exit code; any other error is raised again."""
    if isinstance(error, MienError):
        print_error(error.message, error.hint)
        code = exit_codes.USAGE if isinstance(error, ConfigError) else exit_codes.FAILURE
    elif isinstance(error, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return exit_codes.INTERRUPTED
    elif isinstance(error, OSError):
        _report_system_error(error)
        code = exit_codes.FAILURE
    # Python raises a plain RuntimeError where the system refuses a thread.
    elif isinstance(error, MemoryError) or "can't start new thread" in str(error):
        print_error(
            f"not enough memory ({str(error) or 'an allocation failed'})",
            "close other programs, raise the limit (ulimit -v), or use --threads 1",
        )
        code = exit_codes.FAILURE
    else:
        raise error
    _log_origin(error)
    return code


def print_error(message: str, hint: str) -> None:
    """Print an error and its hint to stderr, a line each."""
    sys.stderr.write(f"error: {message}\nhint: {hint}\n")


def report_usage(error: Any) -> int:
    """Print Typer's error about a command line like any other error; return the exit code."""
    message = error.format_message()
    if message.startswith("Usage:"):  # no arguments at all: the message is the help
        sys.stderr.write(f"{message}\n")
    else:
        print_error(*usage_error(error))
    return exit_codes.USAGE


def _report_system_error(error: OSError) -> None:
    # What is still buffered would fail again at exit, with a traceback.
    discard(sys.stdout.fileno())
    # The reader of our output (head, less) may close it at any time; that is no error.
    if isinstance(error, BrokenPipeError):
        return
    failure = write_error(error.filename or "the output", error)
    # An error with a file's name may also come from reading.
    message = f"cannot use {error.filename}: {error.strerror}"
    print_error(message if error.filename else failure.message, failure.hint)


def _log_origin(error: BaseException) -> None:
    """Log the traceback, which --verbose shows."""
    # Not imported for this: a command that loaded no logging has nothing to show it with.
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("mien").debug("traceback of this error", exc_info=error)
