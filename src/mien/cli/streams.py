"""Standard output and error: closed, full, quiet, or in an encoding that lacks a letter."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

TROUBLE = ("error:", "hint:", "warning:", "unreadable:", "no face:", "interrupted", "Traceback")
"""Prefixes of the lines on standard error that `--quiet` prints: trouble, not progress."""


def open_standard_streams() -> None:
    """Make standard input, output and error usable, whatever the shell has closed (`>&-`).

    A closed stream is opened on the null device, so that no file of ours gets its descriptor.
    Output is opened for reading: printing then fails with EBADF, as in any other program, and a
    command that prints nothing works. With a closed standard error only notes are lost.
    """
    modes = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY))
    for number, name, mode in modes:
        if getattr(sys, name) is not None:
            continue
        # The lowest free number is often the one wanted, since the shell closed it.
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        way = "r" if number == 0 else "w"
        setattr(sys, name, open(number, way, encoding="utf-8", closefd=False))  # noqa: SIM115
    # File names may be any bytes; what the encoding cannot represent is escaped.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_note(text: str) -> None:
    """Print a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def discard(number: int) -> None:
    """Discard what is buffered for file descriptor `number`, else Python fails on it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # The descriptor is replaced, not closed: a closed number would go to the next file that is
    # opened.
    os.dup2(nowhere, number)
    os.close(nowhere)


class NoteStream(io.TextIOBase):
    """Standard error for notes and progress; a failure to write it never stops the work.

    Args:
        stream: destination.
        quiet: pass on only lines that start with one of TROUBLE, and report to be no terminal, so
            that no progress bar is drawn.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.stream, self.quiet = stream, quiet
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Error handler of the stream's encoding."""
        return self.stream.errors

    def fileno(self) -> int:
        """File descriptor of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether progress bars should be drawn."""
        return not self.quiet and self.stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write; drop what `quiet` suppresses and what the stream does not take."""
        if self.quiet:
            # Whole lines only: what decides is how a line starts, and text arrives in pieces.
            *lines, self._line = (self._line + text).split("\n")
            self._pass("".join(f"{line}\n" for line in lines if line.startswith(TROUBLE)))
        else:
            self._pass(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self.stream.flush()
        except OSError:
            self._lose()

    def _pass(self, text: str) -> None:
        try:
            self.stream.write(text)
        except OSError:
            self._lose()

    def _lose(self) -> None:
        try:
            discard(self.stream.fileno())
        except (OSError, io.UnsupportedOperation):  # a stream in memory has no descriptor
            return
