"""Request bodies to images in memory, or to a file: multipart or raw, within the limits.

Images never touch the disk; the names that clients give are never read.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

PARTS = (b"files", b"file")
"""Names of the parts that are read; others are passed over."""


class Budget:
    """Bytes of request bodies that may be held at once, over all clients."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    @contextmanager
    def lend(self) -> Iterator[Callable[[int], None]]:
        """Give a function that takes so many bytes; all are given back at the end.

        Raises:
            Problem: 503, from that function: none are left.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.used + count > self.limit:
                raise Problem(503, "the server holds as many images as it may", "try again soon")
            taken += count
            self.used += count

        try:
            yield take
        finally:
            self.used -= taken


async def body(request: Request, limit: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield a request's body in pieces.

    Raises:
        Problem: 413 where it is longer than `limit` bytes, 408 where a piece takes longer than
            `seconds`.
    """
    too_long = Problem(
        413, f"the request is larger than {limit / 1e6:g} MB", "send less, or smaller images"
    )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_long
    stream, count = aiter(request.stream()), 0
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(408, "the request did not arrive in time", "send it again") from None
        count += len(piece)
        if count > limit:
            raise too_long
        yield piece


class Parts:
    """Takes a body apart as it comes; hands on what is inside of its parts.

    Args:
        content_type: of the request; anything but multipart/form-data is one raw part.
        most: parts that may be read.
        begin: called at the beginning of each part.
        write: called with its bytes, again and again.

    Raises:
        Problem: 400 for a broken form, 413 for too many parts.
    """

    def __init__(
        self,
        content_type: str,
        most: int,
        begin: Callable[[], None],
        write: Callable[[bytes], None],
    ) -> None:
        kind, options = parse_options_header(content_type)
        self.count, self._most = 0, most
        self._begin, self._write = begin, write
        self._ended = False
        self._parser: MultipartParser | None = None
        if kind != b"multipart/form-data":
            return
        if b"boundary" not in options:
            raise _broken("it names no boundary")
        self._header: list[bytes] = [b"", b""]
        self._reads = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._forget,
                    "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                    "on_header_end": self._end_header,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except (FormParserError, ValueError):
            raise _broken("its boundary cannot be one") from None

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body in."""
        if self._parser is None:
            if piece:
                if not self.count:
                    self._next()
                self._write(piece)
            return
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _broken("its parts cannot be told apart") from None

    def finish(self) -> None:
        """Say that the body is complete."""
        if self._parser is not None and not self._ended:
            raise _broken("it ends too early")

    def _next(self) -> None:
        self.count += 1
        if self.count > self._most:
            raise Problem(
                413, f"more than {self._most} files in a request", "send them in several requests"
            )
        self._begin()

    def _forget(self) -> None:
        self._header, self._reads = [b"", b""], False

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _end_header(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            self._reads = parse_options_header(value)[1].get(b"name") in PARTS
            if self._reads:
                self._next()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._reads:
            self._write(data[start:end])

    def _end(self) -> None:
        self._ended = True


async def images(
    request: Request, take: Callable[[int], None], limit: int, most: int, seconds: float
) -> list[bytes]:
    """Return the images in a request, in their order, undecoded.

    Args:
        request: with a multipart or a raw body.
        take: asks for memory; see `Budget.lend`.
        limit: of the body, in bytes.
        most: images.
        seconds: for each piece of the body.

    Raises:
        Problem: too much, too slow, broken, or nothing in it.
    """
    files: list[bytearray] = []
    # Room for all of it is taken at once, where its length is known: who gets in is not refused
    # after having sent half, and who does not hears of it before.
    length = request.headers.get("content-length", "")
    room = int(length) if length.isdecimal() and int(length) <= limit else 0
    take(room)

    def write(data: bytes) -> None:
        nonlocal room
        room -= len(data)
        if room < 0:
            take(-room)
            room = 0
        files[-1] += data

    parts = Parts(
        request.headers.get("content-type", ""), most, lambda: files.append(bytearray()), write
    )
    async for piece in body(request, limit, seconds):
        parts.feed(piece)
    parts.finish()
    if not files:
        raise Problem(
            422, "the request holds no image", "curl -F files=@photo.jpg, or --data-binary"
        )
    return [bytes(content) for content in files]


def _broken(why: str) -> Problem:
    return Problem(400, f"the multipart form is broken: {why}", "let a library write the form")
