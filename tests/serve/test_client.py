from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.serve.running import BOX, encoded, running
from tests.video.clips import write_clip

from mien import Client, Reader, ServerError, SourceError
from mien.predict.detectors.registry import make_detector
from mien.serve.catalog import Catalog
from mien.testing import FakeClassifier, FakeDetector


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("server")) as client:
        yield client


@pytest.fixture
def client(server: httpx.Client) -> Iterator[Client]:
    with Client(str(server.base_url), retries=0) as client:
        yield client


def test_a_client_answers_as_a_reader_does(tmp_path: Path, examples: Path) -> None:
    paths = sorted(examples.glob("*.jpg"))
    with (
        running(tmp_path, Catalog.load([]), make_detector(threads=1)) as server,
        Client(str(server.base_url)) as client,
    ):
        remote = list(client.read_many([*paths, "missing.jpg"]))
    local = list(Reader().read_many(paths))
    assert [r.to_dict() for r in remote[:-1]] == [r.to_dict() for r in local]
    assert "cannot read missing.jpg" in (remote[-1].error or "")


def test_arrays_bytes_and_bad_images(client: Client) -> None:
    grey = np.full((80, 120), 100, np.uint8)
    for image in (grey, np.repeat(grey[:, :, None], 3, axis=2), encoded()):
        reading = client.read(image)
        name = "bytes" if isinstance(image, bytes) else "array"
        assert (reading.source, reading.width, reading.height) == (name, 120, 80)
        assert reading.faces[0].label == "happy"
        assert reading.faces[0].box == BOX
    reading, drawn = client.annotated(encoded())
    assert drawn.startswith(b"\x89PNG")
    assert reading.faces


def test_images_take_the_forms_that_a_reader_takes(client: Client) -> None:
    grey = Image.fromarray(np.full((80, 120), 100, np.uint8))
    for image in (grey, np.full((80, 120), 0.4), io.BytesIO(encoded())):
        reading = client.read(image)
        assert (reading.width, reading.height, len(reading.faces)) == (120, 80, 1)


def test_what_cannot_be_read_raises_as_a_reader_does(client: Client, tmp_path: Path) -> None:
    reader = Reader(FakeClassifier(["happy"]), detector=FakeDetector([BOX]))
    words = tmp_path / "words.jpg"
    words.write_bytes(b"words")
    unreadable: list[Any] = [
        "missing.jpg", "a\0b.jpg", "", "https://example.com/a.jpg", tmp_path, words, b"words",
        np.zeros((8, 8, 5), np.uint8), None,
    ]  # fmt: skip
    for image in unreadable:
        with pytest.raises(SourceError) as local:
            reader.read(image)
        with pytest.raises(SourceError) as remote:
            client.read(image)
        with pytest.raises(SourceError):
            client.annotated(image)
        if isinstance(image, str | Path):
            assert (str(image) in local.value.message) == (str(image) in remote.value.message)
    for readings in (reader.read_many([*unreadable, encoded()]),
                     client.read_many([*unreadable, encoded()])):  # fmt: skip
        *bad, good = readings
        assert [bool(r.error) for r in bad] == [True] * len(unreadable)
        assert good.error is None
        assert len(good.faces) == 1
    for no_images in ("", "https://example.com/a.jpg", None):
        with pytest.raises(SourceError):
            next(client.read_many(no_images))


def test_a_folder_or_one_image_is_read_as_many(client: Client, tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(encoded())
    names = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert [r.source for r in client.read_many(tmp_path)] == names
    assert [r.source for r in client.read_many(names[0])] == names[:1]
    assert [len(r.faces) for r in client.read_many(encoded())] == [1]


def test_options_are_sent(server: httpx.Client) -> None:
    with Client(str(server.base_url), min_confidence=0.95, faces="whole", model="fake") as client:
        reading = client.read(encoded())
        assert reading.detector == "whole"
        assert reading.faces[0].label == "unsure"
        assert [m["name"] for m in client.models()] == ["fake"]
    with (
        Client(str(server.base_url), model="fak", retries=0) as client,
        pytest.raises(ServerError, match="404: query parameter model: no served model") as error,
    ):
        client.read(encoded())
    assert "did you mean 'fake'" in error.value.hint


def test_a_video_reads_as_it_does_here(client: Client, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 20)
    shares: list[float] = []
    result = client.video(clip, every=2, progress=shares.append)
    reader = Reader(FakeClassifier(["happy"]), detector=FakeDetector([BOX]))
    local = [r for r in reader.stream(clip) if r.frame % 2 == 0]
    assert [f.frame for f in result.frames] == [f.frame for f in local]
    assert {f.source for f in result.frames} == {str(clip)}
    assert (result.frames[0].width, result.frames[0].height) == (96, 64)
    face = result.frames[0].faces[0]
    assert (face.track, face.label, face.origin) == (1, "happy", "detected")
    assert face.probabilities == pytest.approx(local[0].faces[0].probabilities, abs=1e-4)
    assert result.summary["frames"] == 10
    assert shares[-1] == 1


def test_a_video_that_fails_says_why(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + bytes(900))
    with pytest.raises(SourceError, match=r"a\.mp4: cannot read the video"):
        client.video(broken)
    with pytest.raises(SourceError, match="cannot read"):
        client.submit(tmp_path / "none.mp4")
    job = client.submit(write_clip(tmp_path / "b.mp4", 5))
    job.wait()
    job.delete()
    with pytest.raises(ServerError, match="404"):
        job.status()


class Flaky(BaseHTTPRequestHandler):
    """Answers with the statuses of a list, one after another."""

    answers: list[tuple[int, dict[str, str], bytes]]
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def flaky() -> Iterator[tuple[type[Flaky], str]]:
    handler = type("Handler", (Flaky,), {"answers": [], "asked": 0})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


GOOD: tuple[int, dict[str, str], bytes] = (200, {}, b'{"models": []}')


def test_a_busy_server_is_retried(
    flaky: tuple[type[Flaky], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = flaky
    slept: list[float] = []
    monkeypatch.setattr("mien.client.time.sleep", slept.append)
    handler.answers = [(503, {"Retry-After": "3"}, b""), (429, {}, b""), (502, {}, b""), GOOD]
    with Client(url) as client:
        assert client.models() == []
    assert handler.asked == 4
    slept = [seconds for seconds in slept if seconds > 0.05]  # other threads sleep, too
    assert 3 <= slept[0] <= 4.5
    assert 0.1 <= slept[1] <= 0.5


def test_retries_are_limited(
    flaky: tuple[type[Flaky], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = flaky
    monkeypatch.setattr("mien.client.time.sleep", lambda seconds: None)
    handler.answers = [(503, {}, b"<html>")] * 9
    with Client(url, retries=2) as client, pytest.raises(ServerError, match="503") as error:
        client.models()
    assert handler.asked == 3
    assert "mien server" in error.value.hint


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mien.client.time", clock)
    return clock


def test_a_refusal_is_sent_again_until_the_deadline(
    flaky: tuple[type[Flaky], str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = flaky
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    handler.answers = [(503, {"Retry-After": "1"}, b"")] * 20 + [GOOD]
    with Client(url, timeout_s=1000) as client:
        assert client.models() == []
    assert handler.asked == 21
    handler.answers = [(429, {"Retry-After": "1"}, b"")] * 99
    began = clock.now
    with Client(url, timeout_s=20) as client, pytest.raises(ServerError, match="429"):
        client.models()
    assert 10 < clock.now - began < 20
    handler.asked, began = 0, clock.now
    handler.answers = [(503, {"Retry-After": "3600"}, b"")]
    with Client(url, timeout_s=20) as client, pytest.raises(ServerError, match="503"):
        client.models()
    assert handler.asked == 1, "it knows beforehand that the time is not enough"
    assert clock.now == began


def test_retry_after_may_be_a_date(flaky: tuple[type[Flaky], str], clock: Clock) -> None:
    handler, url = flaky
    clock.now = 1_800_000_000.0  # 2027-01-15 08:00:00
    date = "Fri, 15 Jan 2027 08:00:30 GMT"
    handler.answers = [(503, {"Retry-After": date}, b""), (503, {"Retry-After": "soon"}, b""), GOOD]
    with Client(url) as client:
        assert client.models() == []
    assert 30 <= clock.now - 1_800_000_000 <= 46


def test_no_server_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.client.time.sleep", lambda seconds: None)
    with Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(ServerError) as error:
        client.models()
    assert "no response from http://127.0.0.1:9" in str(error.value)
    assert "mien serve" in error.value.hint


def test_the_token_is_sent(tmp_path: Path) -> None:
    with running(tmp_path, token="secret") as server:  # noqa: S106
        with Client(str(server.base_url), token="secret") as client:  # noqa: S106
            assert client.read(encoded()).faces
        with (
            Client(str(server.base_url), token="wrong") as client,  # noqa: S106
            pytest.raises(ServerError, match="401"),
        ):
            client.read(encoded())
