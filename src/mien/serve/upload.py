"""Request bodies to images in memory, or to a file: multipart or raw, within the limits.

Images are never written to disk; file names given by clients are ignored.
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

PART_NAMES = (b"files", b"file")
"""Names of the form parts that are read; others are skipped."""


class MemoryBudget:
    """Memory for request bodies, shared by all clients.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Give a function that reserves a number of bytes; all are released at the end.

        Raises:
            Problem: 503, from that function, when the budget is used up.
        """
        reserved = 0

        def take(count: int) -> None:
            nonlocal reserved
            if self.used + count > self.limit:
                raise Problem(
                    503,
                    "the server is busy: its memory for images "
                    f"({self.limit / 1e6:g} MB) is in use",
                    "retry after the number of seconds in Retry-After",
                )
            reserved += count
            self.used += count

        try:
            yield take
        finally:
            self.used -= reserved


async def read_body(request: Request, limit: int, timeout_s: float) -> AsyncIterator[bytes]:
    """Yield a request's body in chunks.

    Args:
        request: the request.
        limit: maximum size of the body, in bytes.
        timeout_s: maximum time for each chunk, in seconds.

    Raises:
        Problem: 413 for a body above the limit, 408 for a timeout.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit, int(length))
    stream, count = aiter(request.stream()), 0
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(
                408, f"body: no data arrived for {timeout_s:g} seconds", "send the request again"
            ) from None
        count += len(chunk)
        if count > limit:  # a chunked body has no Content-Length
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int, length: int | None = None) -> Problem:
    found = "it" if length is None else f"{length / 1e6:.3g} MB"
    return Problem(
        413,
        f"body: {found} is larger than the maximum of {limit / 1e6:g} MB",
        "send fewer or smaller files",
    )


class BodyParts:
    """Splits a body into its file parts while it arrives.

    Args:
        content_type: header of the request; any type but multipart/form-data is one raw part.
        limit: maximum number of parts.
        start_part: called at the start of each part.
        write: called with each chunk of the current part.

    Raises:
        Problem: 400 for a malformed form, 413 for too many parts.
    """

    def __init__(
        self,
        content_type: str,
        limit: int,
        start_part: Callable[[], None],
        write: Callable[[bytes], None],
    ) -> None:
        kind, options = parse_options_header(content_type)
        self.count, self._limit = 0, limit
        self._start_part, self._write = start_part, write
        self._complete = False
        self._parser: MultipartParser | None = None
        if kind != b"multipart/form-data":
            return
        if b"boundary" not in options:
            raise _malformed("the header Content-Type has no boundary")
        self._header: list[bytes] = [b"", b""]  # name and value of the header being parsed
        self._wanted = False  # whether the current part is a file
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._reset_part,
                    "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                    "on_header_end": self._end_header,
                    "on_part_data": self._part_data,
                    "on_end": self._end_form,
                },
            )
        except (FormParserError, ValueError):
            raise _malformed("the boundary in the header Content-Type is invalid") from None

    def feed(self, chunk: bytes) -> None:
        """Process a chunk of the body."""
        if self._parser is None:
            if chunk:
                if not self.count:
                    self._next_part()
                self._write(chunk)
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _malformed("the body does not follow its boundary") from None

    def finish(self) -> None:
        """Check at the end of the body that the form is complete."""
        if self._parser is not None and not self._complete:
            raise _malformed("the closing boundary is missing")

    def _next_part(self) -> None:
        self.count += 1
        if self.count > self._limit:
            raise Problem(
                413,
                f"body: more than {self._limit} files in one request",
                f"send at most {self._limit} per request",
            )
        self._start_part()

    def _reset_part(self) -> None:
        self._header, self._wanted = [b"", b""], False

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data  # a header may arrive in several chunks

    def _end_header(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            self._wanted = parse_options_header(value)[1].get(b"name") in PART_NAMES
            if self._wanted:
                self._next_part()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._write(data[start:end])

    def _end_form(self) -> None:
        self._complete = True


async def read_images(
    request: Request, take: Callable[[int], None], limit: int, max_images: int, timeout_s: float
) -> list[bytes]:
    """Return the encoded images of a request, in order.

    Args:
        request: request with a multipart or raw body.
        take: reserves memory; see `MemoryBudget.reserve`.
        limit: maximum size of the body, in bytes.
        max_images: maximum number of images.
        timeout_s: maximum time for each chunk of the body, in seconds.

    Raises:
        Problem: 400, 408, 413, 422 (no image) or 503 (no memory).
    """
    files: list[bytearray] = []
    # Memory for a body of known length is reserved at once: a client is refused before it sends
    # anything, and never after it has sent half.
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

    parts = BodyParts(
        request.headers.get("content-type", ""),
        max_images,
        lambda: files.append(bytearray()),
        write,
    )
    async for chunk in read_body(request, limit, timeout_s):
        parts.feed(chunk)
    parts.finish()
    if not files:
        raise Problem(
            422,
            "body: contains no image",
            "send a form part named 'files' (curl -F files=@photo.jpg), or a raw image "
            "(curl --data-binary @photo.jpg)",
        )
    return [bytes(content) for content in files]


def _malformed(why: str) -> Problem:
    return Problem(
        400, f"body: malformed multipart form: {why}", "use an HTTP library to encode the form"
    )
