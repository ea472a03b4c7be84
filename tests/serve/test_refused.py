"""Uploads that are refused get an answer, whatever of them is still on its way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.patience import PATIENCE_S, until
from tests.serve.running import SlowDetector, encoded, problem, running

from mien.serve import protocol, run

LARGE = 5_000_000


@contextmanager
def full(folder: Path) -> Iterator[httpx.Client]:
    """A server that answers one request, and refuses all others."""
    detector = SlowDetector()
    with running(folder, detector=detector, requests=1, rate=0) as server:
        asking = threading.Thread(target=server.post, args=("/v1/predict",),
                                  kwargs={"content": encoded()})  # fmt: skip
        asking.start()
        try:
            assert detector.begun.wait(PATIENCE_S)
            yield server
        finally:
            detector.open.set()
            asking.join()


def line(server: httpx.Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.base_url.port or 0), PATIENCE_S)


def head(length: str, *more: str, path: str = "/v1/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", length, *more, "", ""]
    return "\r\n".join(lines).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server says that no more does; a reset raises."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def sized(size: int) -> str:
    return f"Content-Length: {size}"


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/video?evry=2", "/nowhere"])
def test_a_refused_client_may_send_the_rest_and_reads_the_response(
    tmp_path: Path, path: str
) -> None:
    with full(tmp_path) as server, line(server) as connection:
        connection.sendall(head(sized(LARGE), path=path) + bytes(1000))
        answer = rest(connection)  # before the rest is sent
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in answer
        assert b"connection: close" in answer
        for _ in range(LARGE // 100_000):
            connection.sendall(bytes(100_000))
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""


def test_a_client_that_sends_all_before_reading_gets_the_response(tmp_path: Path) -> None:
    with full(tmp_path) as server:
        for size in (10_000, 75_000, LARGE):
            answer = server.post("/v1/predict", content=bytes(size))
            problem(answer, 503)
            assert answer.headers["Connection"] == "close"
            with line(server) as connection:
                connection.sendall(head(sized(size)) + bytes(size))
                assert rest(connection).startswith(b"HTTP/1.1 503 ")
        chunks = server.post("/v1/predict", content=iter([bytes(100_000)] * 20))
        problem(chunks, 503)


def test_a_connection_is_kept_if_the_body_was_read(tmp_path: Path) -> None:
    with running(tmp_path) as server, line(server) as connection:
        for body in (encoded(), b"words"):
            connection.sendall(head(sized(len(body))) + body)
            answer = connection.recv(65536)
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 415 "))
            assert b"connection: close" not in answer


def test_expect_100_continue_is_answered_before_the_body(tmp_path: Path) -> None:
    content, expect = encoded(), "Expect: 100-continue"
    with full(tmp_path) as server, line(server) as connection:
        connection.sendall(head(sized(LARGE), expect))
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in answer
    with running(tmp_path) as server, line(server) as connection:
        connection.sendall(head(sized(len(content)), expect))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(content)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_malformed_http_inside_a_body_gets_one_response(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        with line(server) as connection:
            connection.sendall(head("Transfer-Encoding: chunked") + b"nonsense\r\n" + bytes(50_000))
            connection.sendall(bytes(50_000))
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in answer
        assert answer.count(b"HTTP/1.1") == 1
        assert server.get("/healthz").status_code == 200


@pytest.mark.parametrize("limit", ["MAX_DROPPED_BYTES", "MAX_LINGER_S", "IDLE_S"])
def test_a_lingering_close_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(protocol, limit, 100_000 if limit == "MAX_DROPPED_BYTES" else 0.01)
    if limit == "MAX_LINGER_S":
        monkeypatch.setattr(protocol, "IDLE_S", 0.01)
    quiet = threading.Event()
    with full(tmp_path) as server, line(server) as connection:
        connection.sendall(head(sized(10**9)))
        assert rest(connection).startswith(b"HTTP/1.1 503 ")

        def ended() -> bool:
            try:
                connection.sendall(b"x" if limit == "IDLE_S" else bytes(65536))
            except OSError:
                return True
            if limit == "IDLE_S":
                quiet.wait(0.1)
            return False

        until(ended)


def test_every_client_of_many_gets_a_response(tmp_path: Path) -> None:
    async def ask(url: str) -> Counter[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_S) as client:
            posts = [client.post("/v1/predict", content=bytes(200_000)) for _ in range(150)]
            answers = await asyncio.gather(*posts)
        assert all("Retry-After" in answer.headers for answer in answers)
        return Counter(answer.status_code for answer in answers)

    with full(tmp_path) as server:
        assert asyncio.run(ask(str(server.base_url))) == {503: 150}


def test_the_file_limit_is_raised_as_far_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    now = [1024, 20_000]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: now.__setitem__(0, both[0]))
    assert run.raise_file_limit(5_000) == 5_000
    assert run.raise_file_limit(4_000) == 5_000  # what is allowed already is never taken back
    assert run.raise_file_limit() == 20_000


def test_a_low_file_limit_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    run.log.addHandler(caplog.handler)
    try:
        assert run.raise_file_limit() == 256
    finally:
        run.log.removeHandler(caplog.handler)
    assert "limit of open files is 256" in caplog.text
