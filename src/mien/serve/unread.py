"""Whether a request's body was read when its response starts; if not, the connection must close.

A client that gets an early response may still be sending. To reuse the connection it would have to
send the whole rest first. The response therefore says `Connection: close`, and the client may stop;
`protocol` reads and drops whatever still arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope


class BodyMonitor:
    """Watches a request's body on its way to a route.

    Args:
        scope: scope of the request.
        receive: ASGI receive function of the server. Its first call sends `100 Continue` to a
            client that waits for it, so nothing is received before a route asks.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self.complete = empty
        """Whether the whole body was read, or there is none."""

    async def receive(self) -> Message:
        """Return the next ASGI message."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.complete = True
        return message
