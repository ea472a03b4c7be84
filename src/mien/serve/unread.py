"""Whether a request's body was read when its answer begins; if not, the connection ends with it.

A client that gets its answer early may still be sending. Whoever goes on to use the connection
would have to send all the rest first; so the answer says that it is the connection's last, and the
client may stop. `protocol` then reads and drops what comes nevertheless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope


class Body:
    """A request's body on its way to a route.

    Args:
        scope: of the request.
        receive: of the server; where the client waits for `100 Continue`, its first call says so.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        none = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self.complete = none
        """Whether all of it was read, or there is none."""

    async def receive(self) -> Message:
        """Return the next piece."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.complete = True
        return message
