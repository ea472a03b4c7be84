"""Admission control: access policy, rate limit and load, before any route; then log and metrics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers

from mien.serve.problems import Problem, problem_of
from mien.serve.rate_limit import RateLimiter
from mien.serve.security import PROTECTED, SECURITY_HEADERS, AccessPolicy, cors_headers
from mien.serve.unread import BodyMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mien.serve.metrics import Metrics
    from mien.serve.settings import ServerSettings

log = logging.getLogger("mien.serve")

VIDEOS = "/v1/video/"
"""Path prefix of a video; its id follows."""
AUTHORIZED = "mien.authorized"
"""Key in a WebSocket's scope: the Authorization header held the token."""
MAX_LOGGED_PATH = 100
"""Characters of a path in the log; longer paths are cut."""
LOGGED_ID = 8
"""Characters of a video's id in the log: enough to follow it, too few to fetch its results."""
METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"))
"""Methods that metrics and log name; clients may send any word, so others count as 'other'."""


class AdmissionMiddleware:
    """The outermost layer of the app: decides which requests are processed.

    Args:
        app: the app behind it.
        settings: settings of the server.
        metrics: counts every request.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self.access = AccessPolicy(settings)
        self._max_requests = settings.limits.requests
        self._max_wait_s = settings.limits.wait
        # Each worker process counts on its own, and clients are spread over all of them.
        self._rate = RateLimiter(settings.limits.rate / settings.workers)
        self._active = 0
        self.expected_wait_s: Callable[[int], float] = lambda requests: 0.0
        """Returns the expected waiting time in seconds behind a number of active requests."""

    @property
    def full(self) -> bool:
        """Whether another request would exceed the concurrency or the waiting time limit."""
        return (
            self._active >= self._max_requests
            or self.expected_wait_s(self._active) > self._max_wait_s
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope (ASGI)."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status, origin = time.perf_counter(), 0, None
        body = BodyMonitor(scope, receive)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _response_headers(message, origin)
                if not body.complete:
                    # The rest of the body is still to come; `protocol` drops it.
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            # Before the body is read: a refused client costs no more than its headers.
            origin = self._check(scope)
            if scope["method"] == "OPTIONS" and origin is not None:
                await _send_no_content(send_with_headers)
            else:
                await self._admit(scope, body.receive, send_with_headers)
        except Exception as error:  # noqa: BLE001  (the one place that turns errors into responses)
            # FastAPI raises its own 500 again after it responded; a second response is impossible.
            if not status:
                await problem_of(error).response()(scope, body.receive, send_with_headers)
        self._record(scope, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> str | None:
        """Check host, origin, rate and token; return the origin of an allowed page elsewhere."""
        headers = Headers(scope=scope)
        self.access.check_host(headers)
        origin = self.access.check_origin(headers)
        # Browsers send no token with a preflight request (OPTIONS).
        if scope["path"].startswith(PROTECTED) and scope["method"] != "OPTIONS":
            self._check_rate(scope)
            self.access.check_token(headers)
        return origin

    def _check_rate(self, scope: Scope) -> None:
        client = scope.get("client")
        wait_s = self._rate.wait_s(client[0] if client else "")
        if wait_s:
            raise Problem(
                429,
                "rate limit exceeded: too many requests from this client address",
                "retry after the number of seconds in Retry-After",
                {"Retry-After": str(wait_s)},
            )

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if there is capacity; only uploads (POST) take any."""
        # Pages, health checks and results must answer while uploads fill the server.
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self.full:
            # Retry-After is in whole seconds; 0 would invite a retry at once.
            wait_s = max(1, round(self.expected_wait_s(self._active)))
            raise Problem(
                503,
                "the server is busy: too many requests are in progress",
                "retry after the number of seconds in Retry-After",
                {"Retry-After": str(wait_s)},
            )
        self._active += 1
        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1
            self._metrics.in_progress.dec()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self.access.check_host(headers)
            self.access.check_origin(headers)
            self._check_rate(scope)
            # Browsers cannot send this header: without it, the first message must hold the token.
            if "authorization" in headers:
                self.access.check_token(headers)
                scope[AUTHORIZED] = True
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  (as for HTTP)
            # Refused before the handshake: the client gets an HTTP response with the problem.
            await problem_of(error).response()(scope, receive, send)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Log a request by its path and count it by its route: paths are unbounded in number."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.duration.labels(route).observe(seconds)
        log.info("%s %s %d %.0f ms", method, loggable_path(scope), status, seconds * 1e3)


def loggable_path(scope: Scope) -> str:
    """Return a request's path for the log, percent-encoded and at most MAX_LOGGED_PATH long.

    The query is omitted, and so is most of a video's id: whoever knows an id can fetch the results.
    """
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    if path.startswith(VIDEOS):
        id_, slash, end = path.removeprefix(VIDEOS).partition("/")
        shown = id_ if len(id_) <= LOGGED_ID else id_[:LOGGED_ID] + "..."
        path = VIDEOS + shown + slash + end
    return path if len(path) <= MAX_LOGGED_PATH else path[:MAX_LOGGED_PATH] + "..."


def _response_headers(message: Message, origin: str | None) -> list[tuple[bytes, bytes]]:
    headers = [*message.get("headers", []), *SECURITY_HEADERS]
    if origin is not None:
        headers += cors_headers(origin)
    if not any(name == b"cache-control" for name, _ in headers):
        # Predictions are personal data: no cache may keep them. The page's files set their own.
        headers.append((b"cache-control", b"no-store"))
    return headers


async def _send_no_content(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
