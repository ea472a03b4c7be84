"""HTTP connections with a header timeout, and a lingering close after an early response.

A server that responds before it has read the whole body, and then closes, resets the connection:
the client, still sending, may lose the response. Therefore the rest of such a body is read and
dropped, within limits of bytes and time, and only the sending half of the connection is closed
before (a lingering close, RFC 9112, section 9.6).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mien.serve.problems import Problem

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

FIRST_BYTE_TIMEOUT_S = 60.0
"""Seconds that a new connection may stay silent: a client that starts hundreds of uploads at once
on a busy machine sends its first byte late. An idle connection costs only an open file."""
HEADER_TIMEOUT_S = 15.0
"""Seconds from the first byte of a request until its headers must be complete."""
MAX_HEADER_BYTES = 65_536
MAX_DROPPED_BYTES = 1_000_000_000
"""Bytes of a refused body that are read and dropped: twice the largest video, by default."""
MAX_LINGER_S = 60.0
"""Seconds for which a refused body is read and dropped."""
IDLE_S = 15.0
"""Seconds without data after which a lingering connection is closed: with 5 s, clients that shared
a busy machine with hundreds of other uploads were reset before they had their turn."""


class HeaderTimeoutProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on headers and a lingering close.

    uvicorn waits for headers without a timeout and buffers whatever arrives; and it closes right
    after a response that ends the connection, whatever the client is still sending.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._in_body = False  # the headers are complete, the body is not
        self._lingering = False  # the response is sent, and received data is dropped
        self._dropped, self._dropped_before, self._linger_until = 0, 0, 0.0

    @property
    def _idle(self) -> bool:
        """Whether the last request has its whole response, or there was none yet."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first byte."""
        super().connection_made(transport)
        self._start_header_timer(FIRST_BYTE_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._reset_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes: count those of headers, drop those of a refused body."""
        if self._lingering:
            self._dropped += len(data)
            if self._dropped > MAX_DROPPED_BYTES:
                self._close_now()
            return
        in_headers = not self._in_body and self._idle
        if in_headers:
            if not self._header_bytes:  # the first bytes of a request
                self._reset_header_timer()
                self._start_header_timer(HEADER_TIMEOUT_S)
            self._header_bytes += len(data)
        super().data_received(data)
        # The timer is gone if the headers were completed by this data, whatever its length.
        if in_headers and self._timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._reset_header_timer()
            if not self.transport.is_closing():
                self.send_400_response(
                    f"request headers are larger than {MAX_HEADER_BYTES:,} bytes"
                )

    def on_headers_complete(self) -> None:
        """Stop the header timeout and start the request."""
        self._reset_header_timer()
        self._in_body = True
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # else it is upgraded to a WebSocket, which closes by itself
            self.cycle.transport = _LingeringTransport(self)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Note that the body is complete."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, unless a body was left unread."""
        if self._in_body and self._idle:
            self.cycle.body = bytearray()  # else it is held as long as the connection
            self.linger()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond to malformed HTTP with a problem; whatever follows is dropped."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._idle or cycle is None:
            started = False
        else:
            started = cycle.response_started or not self._in_body
            # The route stops waiting for a body that can no longer be parsed.
            cycle.disconnected = True
            cycle.message_event.set()
        if not started:
            problem = Problem(HTTPStatus.BAD_REQUEST, msg, "send a valid HTTP request")
            response = problem.response()
            headers = [*self.server_state.default_headers, *response.raw_headers]
            lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(h) for h in headers)]
            head = b"\r\n".join((*lines, b"connection: close", b"", b""))
            self.transport.write(head + bytes(response.body))
        self._in_body = True
        self.linger()

    def shutdown(self) -> None:
        """Close after the current request; a lingering connection closes by its own timer."""
        if not self._lingering:
            super().shutdown()

    def linger(self) -> None:
        """Close; while a body is still arriving, only after the client could read the response."""
        if self._lingering or self.transport.is_closing():
            return
        if not self._in_body:
            self.transport.close()
            return
        self._lingering = True
        self._reset_header_timer()
        self._linger_until = self.loop.time() + MAX_LINGER_S
        self._timer = self.loop.call_later(IDLE_S, self._check_linger)
        self.transport.write_eof()
        self.flow.resume_reading()  # uvicorn pauses reading while a body waits for the route

    def _check_linger(self) -> None:
        """Close if the client sent nothing since the last check, or has sent for too long."""
        if self._dropped == self._dropped_before or self.loop.time() >= self._linger_until:
            self._close_now()
            return
        self._dropped_before = self._dropped
        self._timer = self.loop.call_later(IDLE_S, self._check_linger)

    def _start_header_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._close_now)

    def _reset_header_timer(self) -> None:
        self._header_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_now(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


class _LingeringTransport:
    """The transport that uvicorn's responses write to: `close` becomes a lingering close.

    Args:
        connection: the connection that gets the response.
    """

    def __init__(self, connection: HeaderTimeoutProtocol) -> None:
        self._connection, self._transport = connection, connection.transport
        self.write, self.is_closing = self._transport.write, self._transport.is_closing

    def close(self) -> None:
        """Close the connection once the client has had its response."""
        self._connection.linger()
