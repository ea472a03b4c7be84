"""Every error as application/problem+json (RFC 9457), from one table."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from mien.errors import (
    ConfigError,
    MienError,
    MissingExtraError,
    ModelFileError,
    SourceError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request
    from fastapi.dependencies.models import Dependant
    from fastapi.exceptions import ValidationException
    from fastapi.requests import HTTPConnection
    from starlette.routing import BaseRoute

log = logging.getLogger("mien.serve")

MEDIA_TYPE = "application/problem+json"
MAX_SHOWN = 60
"""Characters of a client's own text that a problem repeats."""

STATUS: dict[type[BaseException], int] = {
    SourceError: 422,
    ConfigError: 422,
    MissingExtraError: 501,
    ModelFileError: 500,
    MienError: 500,
    TimeoutError: 503,
}
"""HTTP status of each exception, subclasses before their bases. Any other exception is a 500."""

DETAILS = {404: "path: there is nothing at this path", 405: "method: not allowed for this path"}
"""Details in place of Starlette's, which only repeat the status."""
HINTS = {
    404: "see /docs for the paths",
    405: "see /docs, or the header Allow, for the methods of this path",
    503: "retry after the number of seconds in Retry-After",
}
RETRY_AFTER_S = 1
CLIENT_GONE = 499
"""Status in log and metrics of a client that disconnected before its response (as in nginx)."""
UNREADABLE = "urn:mien:unreadable-image"
"""Problem type for an unreadable image: the image is at fault, not the request."""


class Problem(Exception):
    """An error response.

    Args:
        status: HTTP status.
        detail: what is wrong, where, and what was found. Never repeats a client's file names.
        hint: what to do; the allowed values, where there is a list or range.
        headers: further response headers; 429 and 503 always get Retry-After.
        kind: problem type, a URI.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
        kind: str = "about:blank",
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint, self.kind = status, detail, hint, kind
        self.headers = dict(headers or {})
        if status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def body(self) -> dict[str, Any]:
        """Return the problem as a JSON object."""
        return {
            "type": self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
        }

    def response(self) -> JSONResponse:
        """Return the HTTP response."""
        return JSONResponse(self.body(), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: BaseException, connection: HTTPConnection | None = None) -> Problem:
    """Return the problem that a client gets for an exception; log unexpected exceptions.

    Args:
        error: the exception.
        connection: the connection it comes from, if it reached a route.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError | WebSocketRequestValidationError):
        return _of_validation(error, connection)
    if isinstance(error, HTTPException):
        status = error.status_code
        detail = DETAILS.get(status, str(error.detail))
        return Problem(status, detail, HINTS.get(status, "see /docs"), error.headers)
    status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, MienError) and status != 500:
        return Problem(status, error.message, error.hint)
    if isinstance(error, TimeoutError):
        return Problem(503, "the request took too long", "send fewer or smaller images, or retry")
    log_failure(error)
    return Problem(
        500, "internal server error", "the server's log shows where it failed; please report it"
    )


def log_failure(error: BaseException) -> None:
    """Log type and origin of an unexpected exception; its text may contain a client's data."""
    trace = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(trace))
    log.error("unexpected %s at %s", type(error).__name__, places)


def _of_validation(error: ValidationException, connection: HTTPConnection | None) -> Problem:
    """Return a 422 for the first invalid parameter: which, what was found, what is allowed."""
    first = error.errors()[0]
    where, name = (*(str(part) for part in first["loc"]), "")[:2]
    found = ascii(first["input"])[:MAX_SHOWN]
    allowed = "" if connection is None else _range(connection, name)
    if allowed and first.get("ctx", {}).keys() & {"ge", "le"}:
        reason = f"is out of range {allowed}"
    else:
        reason = f"is invalid: {first['msg'][:1].lower()}{first['msg'][1:]}"
    hint = f"allowed: {allowed}" if allowed else "see /docs for its allowed values"
    return Problem(422, f"{where} parameter {name}: {found} {reason}", hint)


def _range(connection: HTTPConnection, name: str) -> str:
    """Return the declared range of a query parameter, such as '0 to 1'; '' if it has none."""
    dependant: Dependant = connection.scope["route"].dependant
    for param in dependant.query_params:
        if param.alias == name:
            low, high = (
                next(
                    (getattr(m, bound) for m in param.field_info.metadata if hasattr(m, bound)),
                    None,
                )
                for bound in ("ge", "le")
            )
            return "" if low is None or high is None else f"{low:g} to {high:g}"
    return ""


def _allowed_methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    matching = (r for r in routes if r.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Register handlers that turn every exception of the app's routes into a problem."""

    async def respond(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error, request)
        if problem.status == 405:
            # Starlette lists the methods of one route; a path may have several routes.
            problem.headers["Allow"] = ", ".join(sorted(_allowed_methods(routes, request)))
        return problem.response()

    async def client_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)  # for log and metrics: nobody receives it

    app.add_exception_handler(ClientDisconnect, client_gone)
    for kind in (
        Problem,
        MienError,
        RequestValidationError,
        WebSocketRequestValidationError,  # refused before the handshake, so HTTP can answer
        HTTPException,
        TimeoutError,
        Exception,
    ):
        app.add_exception_handler(kind, respond)
