"""The server as a process of its own: how it starts, ends, and is killed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.predict.clips import picture, write_clip

from mien import ConfigError, ModelFileError
from mien.files import WriteError
from mien.serve.run import serve
from mien.serve.settings import Settings
from mien.serve.store import alone


@contextmanager
def process(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`mien serve` on any port, and its address."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--data", str(folder)]
    said = folder / "said.log"
    folder.mkdir(exist_ok=True)
    with said.open("wb") as stream:
        server = subprocess.Popen([*command, *options], stderr=stream)
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said.read_text())):
            assert server.poll() is None, said.read_text()
            time.sleep(0.05)
        yield server, found.group()
    finally:
        if server.poll() is None:
            server.terminate()
        server.wait(60)


def until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{url}/readyz", timeout=5).status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = [picture(i, (160, 120)) for i in range(60)]
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", frames).read_bytes()


def test_jobs_survive_a_kill(tmp_path: Path, clip: bytes) -> None:
    with process(tmp_path) as (server, url):
        until_ready(url)
        answers = [httpx.post(f"{url}/v1/video", content=clip) for _ in range(10)]
        places = [a.headers["Location"] for a in answers]
        while all(httpx.get(url + p).json()["status"] == "queued" for p in places):
            time.sleep(0.01)
        server.send_signal(signal.SIGKILL)
        server.wait(30)
    with process(tmp_path) as (_, url):
        until_ready(url)
        deadline = time.monotonic() + 120
        waiting = set(places)
        while waiting:
            assert time.monotonic() < deadline
            for place in list(waiting):
                job = httpx.get(url + place).json()
                assert job["status"] in ("queued", "running", "done"), job
                if job["status"] == "done":
                    rows = httpx.get(f"{url}{place}/result").json()["rows"]
                    assert [r["frame"] for r in rows] == list(range(60))
                    waiting.remove(place)
            time.sleep(0.1)


def test_what_was_accepted_is_finished_by_several_workers(tmp_path: Path, examples: Path) -> None:
    content = (examples / "astronaut.jpg").read_bytes()
    files = [("files", content)] * 8
    answers: list[int] = []
    with process(tmp_path, "--workers", "2") as (server, url):
        until_ready(url)

        def ask() -> None:
            answers.append(httpx.post(f"{url}/v1/predict", files=files, timeout=60).status_code)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        begun = re.compile(r"^mien_requests_in_progress 4", re.MULTILINE)
        while not begun.search(httpx.get(f"{url}/metrics").text) and not answers:
            time.sleep(0.01)
        server.terminate()
        for thread in asking:
            thread.join()
        server.wait(60)
    assert answers == [200] * 4


def test_one_server_a_folder(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(ConfigError, match=f"another mien serve uses the folder {tmp_path}"),
    ):
        serve(Settings(port=0, data=tmp_path))


def test_what_cannot_be_served_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model none\.onnx"):
        serve(Settings(port=0, data=tmp_path, models=(("", Path("none.onnx")),)))
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        serve(Settings(port=0, data=tmp_path / "file"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "jobs.sqlite").write_bytes(b"no database, but long enough to be looked at" * 99)
    with pytest.raises(ConfigError, match="the table of jobs"):
        serve(Settings(port=0, data=broken))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(Settings(port=port, data=tmp_path / "data"))
