"""HTTP connections that give up on clients who never finish their request's head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_S = 15.0
"""In which a request's head must arrive, once a connection is made or its first byte came."""
HEAD_BYTES = 65_536


class Patience(HttpToolsProtocol):
    """uvicorn's connection, with a limit to the time and size of a request's head.

    uvicorn waits for ever, and keeps whatever comes until then.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and count those that come before a head is complete."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        idle = cycle is None or cycle.response_complete
        if idle:
            self._head += len(data)
            if self._timer is None:
                self._wait()
        super().data_received(data)
        if idle and self._timer is not None and self._head > HEAD_BYTES:
            self._arrived()
            if not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        """Go on to the request."""
        self._arrived()
        super().on_headers_complete()

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
