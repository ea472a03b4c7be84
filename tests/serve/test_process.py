"""The server as a process of its own: how it starts, ends, and is killed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.patience import PATIENCE_S, child, until
from tests.video.clips import image, write_clip

from mien import ConfigError, ModelFileError
from mien.files import WriteError
from mien.serve.run import serve
from mien.serve.settings import ServerSettings
from mien.serve.store import exclusive_lock


@contextmanager
def process(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """`mien serve` on any port, ready, and a client that knows its address."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--data", str(folder)]
    log = folder / "server.log"
    folder.mkdir(exist_ok=True)
    with (
        log.open("wb") as stream,
        child([*command, *options], stderr=stream) as server,
    ):
        found: list[str] = []

        def started() -> bool:
            assert server.poll() is None, log.read_text()
            found[:] = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())
            return bool(found)

        until(started)
        with httpx.Client(base_url=found[0], timeout=PATIENCE_S) as client:
            assert client.get("/readyz").status_code == 200  # it waits in the socket's queue
            yield server, client
        if server.poll() is None:
            server.terminate()
        server.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = [image(i, (160, 120)) for i in range(60)]
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", frames).read_bytes()


def test_jobs_survive_a_kill(tmp_path: Path, clip: bytes) -> None:
    with process(tmp_path) as (server, client):
        answers = [client.post("/v1/video", content=clip) for _ in range(10)]
        places = [a.headers["Location"] for a in answers]
        until(lambda: any(client.get(p).json()["status"] != "queued" for p in places))
        server.send_signal(signal.SIGKILL)
        server.wait(PATIENCE_S)
    with process(tmp_path) as (_, client):
        for place in places:

            def done(place: str = place) -> bool:
                job = client.get(place).json()
                assert job["status"] in ("queued", "running", "done"), job
                return bool(job["status"] == "done")

            until(done, 0.1)
            rows = client.get(f"{place}/result").json()["rows"]
            assert [r["frame"] for r in rows] == list(range(60))


def test_accepted_requests_are_finished_by_several_workers(tmp_path: Path, examples: Path) -> None:
    content = (examples / "astronaut.jpg").read_bytes()
    files = [("files", content)] * 6
    answers: list[int] = []
    counts = (r"^mien_requests_in_progress (\d+)",
              r'^mien_requests_total\{.*route="/v1/predict".*\} (\d+)')  # fmt: skip
    # Looking at the metrics again and again would use up the rate, and a slow machine the wait.
    limits = ("--max-rate", "0", "--max-wait", "60")
    with process(tmp_path, "--workers", "2", *limits) as (server, client):

        def ask() -> None:
            url = client.base_url.join("/v1/predict")
            answers.append(httpx.post(url, files=files, timeout=PATIENCE_S).status_code)

        def accepted() -> bool:
            text = client.get("/metrics").text
            found = (int(n) for count in counts for n in re.findall(count, text, re.MULTILINE))
            return sum(found) == 4

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        until(accepted)
        server.terminate()
        for thread in asking:
            thread.join()
        server.wait(PATIENCE_S)
    assert answers == [200] * 4


def test_a_data_folder_serves_one_server(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path),
        pytest.raises(ConfigError, match=f"another server uses the folder {tmp_path}"),
    ):
        serve(ServerSettings(port=0, data=tmp_path))


def test_invalid_settings_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no model none\.onnx"):
        serve(ServerSettings(port=0, data=tmp_path, models=(("", Path("none.onnx")),)))
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        serve(ServerSettings(port=0, data=tmp_path / "file"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "jobs.sqlite").write_bytes(b"no database, but long enough to be looked at" * 99)
    with pytest.raises(ConfigError, match="cannot open the job table"):
        serve(ServerSettings(port=0, data=broken))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(ServerSettings(port=port, data=tmp_path / "data"))
