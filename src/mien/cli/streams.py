"""Standard output and error: closed, full, quiet, or of an encoding that lacks a letter."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

TROUBLE = ("error:", "hint:", "warning:", "unreadable:", "no face:", "interrupted", "Traceback")
"""Lines on standard error that `--quiet` lets through: what went wrong, never how it went."""


def open_standard_streams() -> None:
    """Make standard input, output and error usable, whatever the shell has closed (`>&-`).

    A closed one is opened on the null device, so that no file of ours gets its number. Output is
    opened for reading: whatever prints fails with EBADF, as it would in any other program, and
    what prints nothing is not disturbed. A closed standard error only loses notes.
    """
    modes = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY))
    for number, name, mode in modes:
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        way = "r" if number == 0 else "w"
        setattr(sys, name, open(number, way, encoding="utf-8", closefd=False))  # noqa: SIM115
    # File names may be any bytes; what the encoding cannot hold comes out spelt out.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up(number: int) -> None:
    """Send what is buffered for file descriptor `number` nowhere, lest Python fail over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


class Notes(io.TextIOBase):
    """Standard error for notes and progress: a full disk behind it stops no work.

    Args:
        stream: where lines go.
        quiet: pass on only lines that tell of trouble, and be no terminal, so that no bar moves.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.stream, self.quiet = stream, quiet
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream treats what its encoding lacks."""
        return self.stream.errors

    def fileno(self) -> int:
        """Of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether a person looks on who wants bars to move."""
        return not self.quiet and self.stream.isatty()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, text: str) -> int:
        """Write, or drop what nobody asked for or what the stream no longer takes."""
        if self.quiet:
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
            give_up(self.stream.fileno())
        except (OSError, io.UnsupportedOperation):  # a stream of a test has no number
            return
