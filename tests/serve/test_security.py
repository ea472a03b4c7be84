from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.patience import PATIENCE_S, until
from tests.serve.running import encoded, problem, running

from mien import ConfigError
from mien.serve.assets import Assets, web_assets
from mien.serve.protocol import MAX_HEADER_BYTES
from mien.serve.rate_limit import MAX_CLIENTS, RateLimiter
from mien.serve.settings import Limits, ServerSettings
from mien.serve.sniff import image_kind, video_kind

TOKEN = "a-token-of-the-tests"  # noqa: S105


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("locked"), token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer x", f"Bearer {TOKEN}x",
               f"Bearer {TOKEN[:-1]}"],
)  # fmt: skip
def test_requests_without_the_token_are_refused(locked: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("POST", "/v1/predict"), ("GET", "/v1/models"), ("GET", "/metrics"),
                         ("POST", "/v1/video"), ("GET", "/v1/video/x")):  # fmt: skip
        answer = locked.request(method, path, headers=headers)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_requests_with_the_token_are_accepted(locked: httpx.Client) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert locked.get("/v1/models", headers=headers).status_code == 200
    assert locked.get("/healthz").status_code == 200
    assert locked.get("/readyz").status_code == 200
    assert locked.get("/openapi.json").status_code == 200


def test_every_answer_carries_the_headers(locked: httpx.Client) -> None:
    for path in ("/healthz", "/v1/models", "/nowhere", "/"):
        headers = locked.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval", "")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["referrer-policy"] == "no-referrer"
        assert "camera=(self)" in headers["permissions-policy"]
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    assert locked.get("/healthz").headers["cache-control"] == "no-store"


def test_other_origins_are_refused(tmp_path: Path) -> None:
    allowed = "https://example.org"
    with running(tmp_path, origins=(allowed,)) as server:
        own = str(server.base_url).rstrip("/")
        for origin, status in ((own, 200), (allowed, 200), ("http://evil.test", 403),
                               ("null", 403), ("http://[", 403)):  # fmt: skip
            answer = server.post("/v1/predict", content=encoded(), headers={"Origin": origin})
            assert answer.status_code == status, origin
            shared = answer.headers.get("access-control-allow-origin")
            assert shared == (allowed if origin == allowed else None)
        asked = server.options("/v1/predict", headers={"Origin": allowed})
        assert asked.status_code == 204
        assert "authorization" in asked.headers["access-control-allow-headers"]


def test_other_host_names_are_refused_on_loopback(tmp_path: Path) -> None:
    with running(tmp_path, hosts=("faces.test",)) as server:
        for host, status in (("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8000", 200),
                             ("FACES.test", 200), ("evil.test", 421), ("", 421)):  # fmt: skip
            assert server.get("/healthz", headers={"Host": host}).status_code == status, host
    assert ServerSettings(host="0.0.0.0").allowed_hosts == ()  # noqa: S104


def test_urls_reach_no_other_files(locked: httpx.Client) -> None:
    for path in ("/assets/../app.py", "/assets/%2e%2e/app.py", "/assets//etc/passwd", "/app.py",
                 "/assets/models/..%2f..%2fpyproject.toml", "/assets/", "/assets/%00"):  # fmt: skip
        assert locked.get(path).status_code == 404, path


def test_the_pages_files_have_types_and_tags(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    (folder / "sub").mkdir(parents=True)
    for name in ("index.html", "a.mjs", "sub/b.wasm", "c.0123abcd.js", ".hidden.js", "d.py"):
        (folder / name).write_text(name)
    assets = Assets(web_assets(folder))
    page = assets.get("/")
    assert page is not None
    assert page.media_type == "text/html; charset=utf-8"
    wasm = assets.get("/assets/sub/b.wasm")
    assert wasm is not None
    assert wasm.media_type == "application/wasm"
    for absent in ("/assets/.hidden.js", "/assets/d.py", "/assets/index.html"):
        assert assets.get(absent) is None


def test_networks_for_private_mode_are_served(locked: httpx.Client) -> None:
    answer = locked.get("/assets/models/mien-small.onnx")
    assert answer.status_code == 200
    assert len(answer.content) > 100_000
    tag = answer.headers["etag"]
    again = locked.get("/assets/models/mien-small.onnx", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"
    for wanted in ("bytes=0-9", "bytes=9-0", "bytes=999999999-", "nonsense"):  # ranges are ignored
        part = locked.get("/", headers={"Range": wanted})
        assert (part.status_code, part.headers["accept-ranges"]) == (200, "none")
    for name in ("yunet", "onet"):
        assert locked.head(f"/assets/models/{name}.onnx").status_code == 200


@contextmanager
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """What the server's log says meanwhile."""
    logger = logging.getLogger("mien.serve")
    logger.addHandler(caplog.handler)
    try:
        yield lambda: caplog.text
    finally:
        logger.removeHandler(caplog.handler)


def test_the_log_names_paths_and_no_secrets(
    locked: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    files = [("files", ("my-secret-name.jpg", encoded(), "image/secret"))]
    headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "secret-agent"}
    with logged(caplog) as text:
        locked.post("/v1/predict?model=secret-model", files=files, headers=headers)
        locked.get("/v1/video/abcdefghsecret-id", headers=headers)
        locked.get("/v1/video/abcdefghsecret-id/reslut?token=secret", headers=headers)
        locked.get("/robots.txt?secret")
        locked.get("/a%0ab%1b%22%C3%BC" + "x" * 200)
        until(lambda: text().count("GET") >= 4)
    assert "POST /v1/predict 404" in caplog.text
    assert "GET /v1/video/abcdefgh... 404" in caplog.text
    assert "GET /v1/video/abcdefgh.../reslut 404" in caplog.text
    assert "GET /robots.txt 404" in caplog.text
    assert "GET /a%0Ab%1B%22%C3%BCxxx" in caplog.text
    assert "x..." in caplog.text
    assert "secret" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_disconnect_during_an_upload_is_not_an_error(
    locked: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with logged(caplog) as text:
        for number, path in enumerate(("/v1/predict", "/v1/video"), 1):
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            with socket.create_connection(
                ("127.0.0.1", locked.base_url.port or 0), PATIENCE_S
            ) as line:
                expect = b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n"
                line.sendall(head.encode() + expect)
                assert b" 100 " in line.recv(100)  # by now the route reads
                line.sendall(b"half")
            until(partial(lambda wanted: text().count(" 499 ") == wanted, number))
    assert "unexpected" not in caplog.text


def test_metrics_count_the_only_image_too_where_it_cannot_be_read(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.post("/v1/predict", files=[("files", b"words")]).status_code == 415
        text = server.get("/metrics").text
    assert 'mien_images_total{model="fake",outcome="unreadable"} 1.0' in text


def test_metrics_count_what_was_asked(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.post("/v1/predict", files=[("files", encoded()), ("files", b"words")])
        server.get("/nowhere/my-secret-name")
        text = server.get("/metrics").text
    assert 'mien_images_total{model="fake",outcome="read"} 1.0' in text
    assert 'mien_images_total{model="fake",outcome="unreadable"} 1.0' in text
    assert 'mien_faces_total{model="fake"} 1.0' in text
    assert 'mien_requests_total{method="POST",route="/v1/predict",status="200"} 1.0' in text
    assert "mien_batch_size_faces_count 1.0" in text
    assert "secret" not in text


def test_each_client_has_its_own_rate() -> None:
    now = [0.0]
    rate = RateLimiter(2, lambda: now[0])
    assert [rate.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    assert rate.wait_s("b") == 0
    now[0] += 1
    assert [rate.wait_s("a") for _ in range(3)] == [0, 0, 1]
    for number in range(MAX_CLIENTS + 10):
        rate.wait_s(str(number))
    assert rate.wait_s("a") == 0  # forgotten, for so many others came
    assert len(rate._buckets) == MAX_CLIENTS
    assert RateLimiter(0).wait_s("a") == 0


def talk(server: httpx.Client, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.base_url.port or 0), PATIENCE_S) as line:
        for piece in pieces:
            try:
                line.sendall(piece)
            except OSError:
                break
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer


def test_headers_are_limited(locked: httpx.Client) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    assert b" 200 " in talk(locked, request + b"Connection: close\r\n\r\n")
    big = talk(locked, request + b"X: ", *[b"x" * 10_000] * (MAX_HEADER_BYTES // 10_000 + 30))
    assert b" 400 " in big or big == b""
    assert b" 400 " in talk(locked, b"nonsense\r\n\r\n")
    assert locked.get("/healthz").status_code == 200


def test_incomplete_headers_time_out(locked: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", locked.base_url.port or 0), PATIENCE_S) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in line.recv(65536)
        monkeypatch.setattr("mien.serve.protocol.HEADER_TIMEOUT_S", 0.05)
        line.sendall(b"GET /he")  # of the next request: it ends the wait for a kept connection
        assert line.recv(65536) == b""
    assert talk(locked, b"GET /healthz HTTP/1.1\r\nHost: ") == b""


def test_silent_connections_have_their_own_timeout(
    locked: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A client on a busy machine may connect long before it sends: not under the header timeout.
    monkeypatch.setattr("mien.serve.protocol.HEADER_TIMEOUT_S", 0.01)
    with socket.create_connection(("127.0.0.1", locked.base_url.port or 0), PATIENCE_S) as line:
        assert locked.get("/healthz").status_code == 200  # the server knows the connection
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(PATIENCE_S)
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in line.recv(65536)
    monkeypatch.setattr("mien.serve.protocol.FIRST_BYTE_TIMEOUT_S", 0.05)
    assert talk(locked) == b""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"port": 70_000}, "port: 70000 is out of range 0 to 65535"),
        ({"port": -1}, "port: -1 is out of range 0 to 65535"),
        ({"workers": 0}, "workers: 0 is out of range: must be 1 or more"),
        ({"threads": -1}, "threads: -1 is out of range: must be 0 or more"),
        ({"token": " "}, "token: must be one or more ASCII characters, not only spaces"),
        ({"token": "ü"}, "token: must be one or more ASCII characters, not only spaces"),
        (
            {"origins": ("https://a.org", "example.org")},
            "origins.1: 'example.org' is invalid: must start with http:// or https://",
        ),
        ({"wokers": 2}, "wokers: 2 is invalid: unexpected keyword argument"),
    ],
)
def test_invalid_settings_name_value_and_range(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ServerSettings(**wrong)  # type: ignore[arg-type]
    assert str(error.value) == message
    assert error.value.hint


def test_limits_are_above_zero_and_the_token_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="limits.body_mb: -1 is out of range: must be above 0"):
        Limits(body_mb=-1)
    with pytest.raises(
        ConfigError, match="limits.pixels_mp: nan is invalid: input should be a fin"
    ):
        Limits(pixels_mp=float("nan"))
    with pytest.raises(ConfigError, match="limits.files: 0 is out of range: must be 1 or more"):
        Limits(files=0)
    assert Limits(rate=0).rate == 0
    assert pickle.loads(pickle.dumps(ServerSettings(token=TOKEN))).token == TOKEN  # noqa: S301
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


def test_formats_are_recognised_by_content() -> None:
    assert image_kind(encoded("PNG")[:16]) == "png"
    assert image_kind(b"RIFF0000AVI 0000") is None
    assert image_kind(b"") is None
    assert video_kind(b"RIFF0000AVI LIST") == "avi"
    assert video_kind(b"\0\0\0\x20ftypisom" + bytes(500)) == "mov"
    assert video_kind(b"\0\0\0\x20ftypavif" + bytes(500)) is None
    assert video_kind((b"G" + bytes(187)) * 3) == "mpegts"
    assert video_kind(b"#EXTM3U\n" + bytes(500)) is None
