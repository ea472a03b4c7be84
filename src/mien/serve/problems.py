"""Everything that can go wrong, as application/problem+json (RFC 9457), from one table."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
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
    from starlette.routing import BaseRoute

log = logging.getLogger("mien.serve")

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[BaseException], int] = {
    SourceError: 422,
    ConfigError: 422,
    MissingExtraError: 501,
    ModelFileError: 500,
    MienError: 500,
    TimeoutError: 503,
}
"""Which status an exception gets; a subclass goes before its base. Anything else is a 500."""

HINTS = {
    404: "the addresses stand in /docs",
    405: "the methods stand in /docs",
    503: "try again after a while",
}
RETRY_AFTER_S = 1
GONE = 499
"""Status in log and metrics of a client who left before the answer."""
UNREADABLE = "urn:mien:unreadable-image"
"""Type of the problem where the image, not the request, is wrong."""


class Problem(Exception):
    """An answer that is not what was asked for.

    Args:
        status: of HTTP.
        detail: what is wrong; never with a client's own names or paths in it.
        hint: what to do.
        headers: more for the answer; 429 and 503 get Retry-After by themselves.
        kind: the problem's type.
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
        """Return the answer's JSON."""
        return {
            "type": self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
        }

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(self.body(), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: BaseException) -> Problem:
    """Return what a client is told of an exception; log those that are our mistakes."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        hint = HINTS.get(error.status_code, "see /docs")
        return Problem(error.status_code, str(error.detail), hint, error.headers)
    status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, MienError) and status != 500:
        return Problem(status, error.message, error.hint)
    if isinstance(error, TimeoutError):
        return Problem(503, "the answer took too long", "send fewer or smaller images, or later")
    log_failure(error)
    return Problem(500, "the server failed", "the server's log names the place; please report it")


def log_failure(error: BaseException) -> None:
    """Log where an unexpected exception came from; its words might hold a client's data."""
    trace = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(trace))
    log.error("failure: %s at %s", type(error).__name__, places)


def _of_validation(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"][:2])
    return Problem(422, f"{where}: {first['msg']}", "see /docs for what is allowed")


def _methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    near = (r for r in routes if r.matches(request.scope)[0] is not Match.NONE)
    return {method for route in near for method in getattr(route, "methods", None) or ()}


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Let every exception of the app's routes become a problem."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        if problem.status == 405:
            # Starlette names the methods of one route; an address may have several.
            problem.headers["Allow"] = ", ".join(sorted(_methods(routes, request)))
        return problem.response()

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=GONE)  # for the log: nobody receives it

    app.add_exception_handler(ClientDisconnect, gone)
    for kind in (
        Problem,
        MienError,
        RequestValidationError,
        HTTPException,
        TimeoutError,
        Exception,
    ):
        app.add_exception_handler(kind, answer)
