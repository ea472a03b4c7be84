"""Who may call, and what browsers are told: hosts, origins, tokens, headers."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from mien.serve.settings import Settings

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "font-src 'self'",
        "connect-src 'self' blob: data:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), display-capture=()"),
    # Both together let the page's WebAssembly use threads.
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer."""
GUARDED = ("/v1/", "/metrics")
"""What needs the token, where there is one: the page's own files and health stay open."""


class AccessPolicy:
    """Decides who comes in.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        self._origins = set(settings.origins)
        self._token = None if settings.token is None else settings.token.encode("ascii")

    @property
    def locked(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def check_host(self, headers: Headers) -> None:
        """Refuse other host names than the server's own.

        Raises:
            Problem: 421.
        """
        if self._hosts and _host(headers.get("host", "")) not in self._hosts:
            raise Problem(
                421, "the server is not called by that host name",
                "the operator may allow it: mien serve --allow-host NAME",
            )  # fmt: skip

    def check_origin(self, headers: Headers) -> str | None:
        """Refuse pages of other servers; return the origin where it is elsewhere and allowed.

        Raises:
            Problem: 403.
        """
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return origin
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            netloc = ""
        if netloc and netloc.lower() == headers.get("host", "").lower():
            return None
        raise Problem(
            403, "pages of other servers may not call this one",
            "the operator may allow a page: mien serve --origin ADDRESS",
        )  # fmt: skip

    def check_token(self, headers: Headers) -> None:
        """Refuse who has not the token.

        Raises:
            Problem: 401.
        """
        kind, _, given = headers.get("authorization", "").partition(" ")
        if self.locked and not (kind.lower() == "bearer" and self.opens(given)):
            raise Problem(
                401, "a token is needed", "send the header: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip

    def opens(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not tell how nearly."""
        token = self._token
        return token is None or hmac.compare_digest(given.strip().encode("utf-8"), token)


def cors(origin: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page of an allowed origin read an answer."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    ]


def _host(header: str) -> str:
    """Return the name in a Host header, without its port."""
    name = header.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
