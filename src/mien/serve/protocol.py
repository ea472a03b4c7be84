"""HTTP connections: patient with slow clients, up to a limit, and never cut before the answer.

A server that answers before it has read a request's whole body, and then closes, resets the
connection: the client, still sending, may lose the answer. So the rest of such a body is read and
dropped, within limits of bytes and time; where the connection then ends, only its sending half is
closed before (a lingering close, as RFC 9112, 9.6 asks for).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mien.serve.problems import Problem

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_S = 15.0
"""In which a request's head must arrive, once a connection is made or its first byte came."""
HEAD_BYTES = 65_536
DROP_BYTES = 1_000_000_000
"""Of a refused body, read and dropped: twice the largest video, by default. They take no memory."""
DROP_S = 30.0
"""For which a refused body is read and dropped."""
QUIET_S = 5.0
"""After which a client that sends nothing more of it is let go."""


class HeaderTimeoutProtocol(HttpToolsProtocol):
    """uvicorn's connection, with limits to a request's head and to a body that nobody reads.

    uvicorn waits for a head for ever and keeps whatever comes until then; it closes at once where
    an answer ends a connection, whatever is still on its way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._timer: asyncio.TimerHandle | None = None
        self._in_body = False  # a request's head is complete, its body is not
        self._lingers = False  # all is sent, and what still comes is dropped
        self._dropped, self._dropped_then, self._drop_until = 0, 0, 0.0

    @property
    def _answered(self) -> bool:
        """Whether the last request has its whole answer, or none came yet."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; those of a head are counted, those after the last answer dropped."""
        if self._lingers:
            self._dropped += len(data)
            if self._dropped > DROP_BYTES:
                self._give_up()
            return
        before_head = not self._in_body and self._answered
        if before_head:
            self._head += len(data)
            if self._timer is None:
                self._wait()
        super().data_received(data)
        if before_head and self._timer is not None and self._head > HEAD_BYTES:
            self._arrived()
            if not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        """Go on to the request."""
        self._arrived()
        self._in_body = True
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # else it becomes a WebSocket, which closes for itself
            self.cycle.transport = _Lingering(self)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Note that the body is complete."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request; there is none after a body that was not read."""
        if self._in_body and self._answered:
            self.cycle.body = bytearray()  # it would be kept as long as the connection
            self.linger()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem; what follows is dropped."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._answered or cycle is None:
            begun = False
        else:
            begun = cycle.response_started or not self._in_body
            cycle.disconnected = True
            cycle.message_event.set()
        if not begun:
            answer = Problem(HTTPStatus.BAD_REQUEST, msg, "send an HTTP request").response()
            headers = [*self.server_state.default_headers, *answer.raw_headers]
            lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(h) for h in headers)]
            head = b"\r\n".join((*lines, b"connection: close", b"", b""))
            self.transport.write(head + bytes(answer.body))
        self._in_body = True
        self.linger()

    def shutdown(self) -> None:
        """End once the request at hand is answered, and its answer had time to be read."""
        if not self._lingers:
            super().shutdown()

    def linger(self) -> None:
        """Close; where a body is still on its way, only once the client has had its answer."""
        if self._lingers or self.transport.is_closing():
            return
        if not self._in_body:
            self.transport.close()
            return
        self._lingers = True
        self._arrived()
        self._drop_until = self.loop.time() + DROP_S
        self._timer = self.loop.call_later(QUIET_S, self._look)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _look(self) -> None:
        """Let a client go that sends nothing more, or for too long."""
        if self._dropped == self._dropped_then or self.loop.time() >= self._drop_until:
            self._give_up()
            return
        self._dropped_then = self._dropped
        self._timer = self.loop.call_later(QUIET_S, self._look)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def _arrived(self) -> None:
        self._head = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


class _Lingering:
    """What uvicorn's answers write to: `close` waits for the rest of the request's body.

    Args:
        connection: that is answered.
    """

    def __init__(self, connection: HeaderTimeoutProtocol) -> None:
        self._connection, self._transport = connection, connection.transport
        self.write, self.is_closing = self._transport.write, self._transport.is_closing

    def close(self) -> None:
        """End the connection."""
        self._connection.linger()
