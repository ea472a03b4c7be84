"""What every request passes: doors, rate, room; then the log, the metrics and the headers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers

from mien.serve.problems import Problem, problem_of
from mien.serve.rate import Rate
from mien.serve.security import GUARDED, HEADERS, AccessPolicy, cors
from mien.serve.unread import Body

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mien.serve.metrics import Metrics
    from mien.serve.settings import Settings

log = logging.getLogger("mien.serve")

VIDEOS = "/v1/video/"
"""What a video's address begins with; its id follows."""


class Gate:
    """The outermost layer of the app.

    Args:
        app: to be guarded.
        settings: of the server.
        metrics: are told.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self.doors = AccessPolicy(settings)
        self._room = settings.limits.requests
        self._rate = Rate(settings.limits.rate / settings.workers)
        self._inside, self._patience = 0, settings.limits.wait
        self.wait_s: Callable[[int], float] = lambda requests: 0.0
        """Tells how long one more request would wait."""

    @property
    def full(self) -> bool:
        """Whether another request would have to wait too long, or be one too many."""
        return self._inside >= self._room or self.wait_s(self._inside) > self._patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status, origin = time.perf_counter(), 0, None
        body = Body(scope, receive)

        async def outward(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _headers(scope, message, origin)
                if not body.complete:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            origin = self._check(scope)
            if scope["method"] == "OPTIONS" and origin is not None:
                await _empty(outward)
            else:
                await self._inner(scope, body.receive, outward)
        except Exception as error:  # noqa: BLE001  (the one place that answers for all)
            if not status:  # else it was answered before it came to here
                await problem_of(error).response()(scope, body.receive, outward)
        self._tell(scope, status, time.perf_counter() - began)

    def _check(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        self.doors.check_host(headers)
        origin = self.doors.check_origin(headers)
        if scope["path"].startswith(GUARDED) and scope["method"] != "OPTIONS":
            self._check_rate(scope)
            self.doors.check_token(headers)
        return origin

    def _check_rate(self, scope: Scope) -> None:
        client = scope.get("client")
        wait = self._rate.wait_s(client[0] if client else "")
        if wait:
            raise Problem(
                429, "too many requests from this client", "wait as long as Retry-After says",
                {"Retry-After": str(wait)},
            )  # fmt: skip

    async def _inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in where there is room; only those that bring something need any."""
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self.full:
            wait = max(1, round(self.wait_s(self._inside)))
            raise Problem(
                503, "too many requests are being answered", "try again after Retry-After seconds",
                {"Retry-After": str(wait)},
            )  # fmt: skip
        self._inside += 1
        self._metrics.answering.inc()
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
            self._metrics.answering.dec()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self.doors.check_host(headers)
            self.doors.check_origin(headers)
            self._check_rate(scope)
            if "authorization" in headers:
                self.doors.check_token(headers)
                scope["mien.let_in"] = True
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  (as for HTTP)
            # Refused before it was accepted: the answer is one of HTTP, with its problem.
            await problem_of(error).response()(scope, receive, send)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        """Log a request by its path, and count it by its route: paths are without number."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        log.info("%s %s %d %.0f ms", method, shown_path(scope), status, seconds * 1e3)


LONGEST_PATH = 100
"""Characters of a path that the log shows."""
ID_SHOWN = 8
"""Characters of a video's id that the log shows: enough to follow it, too few to fetch it."""


def shown_path(scope: Scope) -> str:
    """Return a request's path for the log.

    All but letters, digits and a path's own signs is percent-encoded. The query is left out, and
    so is most of a video's id: who knows it may fetch the results.
    """
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    if path.startswith(VIDEOS):
        id_, slash, end = path.removeprefix(VIDEOS).partition("/")
        path = VIDEOS + (id_ if len(id_) <= ID_SHOWN else id_[:ID_SHOWN] + "...") + slash + end
    return path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "..."


_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"))


def _headers(scope: Scope, message: Message, origin: str | None) -> list[tuple[bytes, bytes]]:
    headers = [*message.get("headers", []), *HEADERS]
    if origin is not None:
        headers += cors(origin)
    if not any(name == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"no-store"))
    return headers


async def _empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
