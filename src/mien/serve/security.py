"""Access policy (host names, origins, token) and security headers."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from mien.serve.settings import ServerSettings

CONTENT_SECURITY_POLICY = "; ".join(
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
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), display-capture=()"),
    # Both together isolate the page, which lets its WebAssembly use threads.
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
"""Sent with every response."""
PROTECTED = ("/v1/", "/metrics")
"""Path prefixes that need the token, if there is one; the page's files and health checks do not."""


class AccessPolicy:
    """Decides which requests are allowed, by host name, origin and token.

    Args:
        settings: settings of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        self._origins = set(settings.origins)
        self._token = None if settings.token is None else settings.token.encode("ascii")

    @property
    def requires_token(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def check_host(self, headers: Headers) -> None:
        """Refuse host names that are not the server's own.

        Raises:
            Problem: 421.
        """
        if self._hosts and _host(headers.get("host", "")) not in self._hosts:
            raise Problem(
                421,
                "header Host: the server does not accept this host name",
                "the operator can allow it: mien serve --allow-host NAME",
            )

    def check_origin(self, headers: Headers) -> str | None:
        """Refuse pages of other servers, unless their origin is allowed.

        Returns:
            The allowed origin of a page elsewhere, or None for the server's own page and for
            clients that are no browsers.

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
            403,
            "header Origin: web pages of this origin may not call the server",
            "the operator can allow it: mien serve --origin ADDRESS",
        )

    def check_token(self, headers: Headers) -> None:
        """Refuse requests without the token.

        Raises:
            Problem: 401.
        """
        # The scheme is case-insensitive (RFC 9110, section 11.1).
        kind, _, given = headers.get("authorization", "").partition(" ")
        if self.requires_token and not (kind.lower() == "bearer" and self.accepts(given)):
            raise Problem(
                401,
                "header Authorization: the token is missing or wrong",
                "send the header: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def accepts(self, given: str) -> bool:
        """Return whether this is the token, in constant time: timing must not reveal a prefix."""
        token = self._token
        return token is None or hmac.compare_digest(given.strip().encode("utf-8"), token)


def cors_headers(origin: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page of an allowed origin read a response (CORS)."""
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
    if name.startswith("["):  # an IPv6 address has colons of its own
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
