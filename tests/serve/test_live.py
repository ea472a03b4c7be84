from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.patience import PATIENCE_S, until
from tests.serve.running import BOX, SlowDetector, fakes, running
from tests.video.clips import image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mien.imaging.pose import detected_poses
from mien.serve.live import MAX_UNREADABLE, Mailbox
from mien.testing import FakeDetector
from mien.types import Faces


def encoded() -> bytes:
    """A frame sharp enough to be read."""
    buffer = io.BytesIO()
    Image.fromarray(image(0, (120, 80))).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("server")) as client:
        yield client


@contextmanager
def camera(server: httpx.Client, query: str = "", **options: Any) -> Iterator[ClientConnection]:
    address = f"ws://127.0.0.1:{server.base_url.port}/v1/live{query}"
    with connect(address, open_timeout=PATIENCE_S, ping_timeout=None, **options) as line:
        yield line


def answer(line: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(line.recv(PATIENCE_S)))


def test_each_frame_that_is_read_is_answered(server: httpx.Client) -> None:
    with camera(server) as line:
        answers = []
        for _ in range(5):
            line.send(encoded())
            answers.append(answer(line))
    assert [a["frame"] for a in answers] == [0, 1, 2, 3, 4]
    first = answers[0]
    assert (first["time_s"], first["width"], first["height"], first["dropped"]) == (0, 120, 80, 0)
    face = answers[-1]["faces"][0]
    assert set(face) == {"track", "box", "score", "quality", "yaw", "pitch", "roll",
                         "probabilities", "raw", "label", "confidence", "unsure"}  # fmt: skip
    assert (face["track"], face["label"], face["unsure"]) == (1, "happy", False)
    assert face["probabilities"] == pytest.approx({"happy": 0.9, "neutral": 0.05, "sad": 0.05})
    assert [a["time_s"] for a in answers] == sorted(a["time_s"] for a in answers)


class Marked(FakeDetector):
    """Finds one face, with landmarks of a head that is turned and tilted."""

    marks = np.array([[[42, 30], [62, 26], [58, 38], [48, 50], [62, 48]]], np.float32)

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        found = super().detect(image_hwc)
        return Faces(found.boxes_xyxy, found.scores_n, self.marks[: len(found)])


def test_answers_have_the_heads_angles(tmp_path: Path) -> None:
    with running(tmp_path, detector=Marked([BOX])) as server, camera(server) as line:
        line.send(encoded())
        (face,) = answer(line)["faces"]
    (pose,) = detected_poses(Marked.marks).tolist()
    assert abs(pose[0]) > 5 and abs(pose[2]) > 5
    assert [face["yaw"], face["pitch"], face["roll"]] == pytest.approx(pose, abs=0.06)


def test_the_newest_frame_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, arrived, put = SlowDetector(), [0], Mailbox.put

    def counted(mailbox: Mailbox, content: bytes) -> None:
        put(mailbox, content)
        arrived[0] += 1

    monkeypatch.setattr(Mailbox, "put", counted)
    with running(tmp_path, detector=detector) as server, camera(server) as line:
        line.send(encoded())
        assert detector.begun.wait(PATIENCE_S)
        for _ in range(4):
            line.send(encoded())
        until(lambda: arrived[0] == 5)
        detector.open.set()
        answers = [answer(line), answer(line)]
    assert [(a["frame"], a["dropped"]) for a in answers] == [(0, 3), (4, 3)]


def test_every_connection_has_its_own_tracks(server: httpx.Client) -> None:
    with camera(server) as one, camera(server) as other:
        for line in (one, other, one):
            line.send(encoded())
            assert answer(line)["faces"][0]["track"] == 1


def test_a_bad_frame_is_reported_and_the_next_is_read(server: httpx.Client) -> None:
    with camera(server) as line:
        line.send(b"words")
        reported = answer(line)
        assert reported["frame"] == 0
        assert "unsupported image format" in reported["error"]["message"]
        line.send(encoded()[:-40])
        assert "damaged" in answer(line)["error"]["message"]
        line.send(encoded())
        assert answer(line)["frame"] == 2
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(MAX_UNREADABLE + 1):
                line.send(b"words")
                answer(line)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_the_threshold_can_be_changed(server: httpx.Client) -> None:
    with camera(server, "?min_confidence=0.95") as line:
        labels = []
        for words in (None, {"min_confidence": 0.5}):
            if words:
                line.send(json.dumps(words))
            line.send(encoded())
            face = answer(line)["faces"][0]
            labels.append((face["label"], face["unsure"]))
    assert labels == [("unsure", True), ("happy", False)]


@pytest.mark.parametrize(
    "text", ["[]", "no json", "{", '{"min_confidence": 2}', '{"min_confidence": true}',
             '{"min_confidence": NaN}', '{"min_confidense": 0.5}',
             "[" * 3000, '"' + "x" * 5000 + '"'],
)  # fmt: skip
def test_invalid_text_messages_close_the_connection(server: httpx.Client, text: str) -> None:
    with camera(server) as line:
        line.send(text)
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_the_token_comes_in_the_header_or_the_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, token="secret") as server:  # noqa: S106
        with camera(server) as line:
            line.send('{"token": "secret", "min_confidence": 0.95}')
            line.send(encoded())
            assert answer(line)["faces"][0]["label"] == "unsure"
        headers = {"Authorization": "Bearer secret"}
        with camera(server, additional_headers=headers) as line:
            line.send(encoded())
            assert answer(line)["frame"] == 0
        for first in ('{"token": "wrong"}', "{}", '{"token": null}', encoded(), None):
            if first is None:
                monkeypatch.setattr("mien.serve.routes.live.TOKEN_TIMEOUT_S", 0.1)
            with camera(server) as line:
                if first is not None:
                    line.send(first)
                with pytest.raises(ConnectionClosed) as closed:
                    line.recv(PATIENCE_S)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
        with pytest.raises(InvalidStatus) as refused:
            connect(
                f"ws://127.0.0.1:{server.base_url.port}/v1/live",
                additional_headers={"Authorization": "Bearer wrong"},
            )
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("query", "options", "status"),
    [
        ("?model=other", {}, 404),
        ("", {"origin": "http://evil.test"}, 403),
        ("?min_confidence=2", {}, 422),
        ("?min_confidense=0.5", {}, 422),
    ],
)
def test_invalid_connections_are_refused_before_the_handshake(
    server: httpx.Client, query: str, options: dict[str, Any], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{server.base_url.port}/v1/live{query}", **options)
    assert refused.value.response.status_code == status


def test_other_host_names_are_refused_too(server: httpx.Client) -> None:
    with pytest.raises(InvalidStatus) as refused:
        line = socket.create_connection(("127.0.0.1", server.base_url.port or 0), PATIENCE_S)
        connect("ws://evil.test/v1/live", sock=line)
    assert refused.value.response.status_code == 421


def test_cameras_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, live=1) as server:
        with camera(server) as line:
            line.send(encoded())
            answer(line)
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{server.base_url.port}/v1/live")
            assert refused.value.response.status_code == 503
        until(lambda: "mien_live_connections 0" in server.get("/metrics").text)
        with camera(server) as line:
            line.send(encoded())
            assert answer(line)["frame"] == 0


def test_many_cameras_leave_room_for_others(tmp_path: Path) -> None:
    count = 40  # more than the threads that asyncio has by itself
    with running(tmp_path, live=count) as server, ExitStack() as stack:
        lines = [stack.enter_context(camera(server)) for _ in range(count)]
        for line in lines:
            line.send(encoded())
            assert answer(line)["frame"] == 0
        assert server.get("/v1/video/none").status_code == 404


def test_large_frames_are_refused_by_their_header(tmp_path: Path) -> None:
    with running(tmp_path, pixels_mp=0.001) as server, camera(server) as line:
        line.send(encoded())
        assert "too large" in answer(line)["error"]["message"]


def test_closed_connections_leave_no_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    with running(tmp_path, fakes()) as server:
        for _ in range(10):
            with camera(server) as line:
                line.send(encoded())
                answer(line)
    until(lambda: threading.active_count() <= before)


def test_a_mailbox_holds_one_frame() -> None:
    mailbox = Mailbox()
    for content in (b"a", b"b", b"c"):
        mailbox.put(content)
    taken = mailbox.take()
    assert taken is not None
    assert (taken[0], taken[2], mailbox.dropped) == (2, b"c", 2)
    mailbox.close()
    assert mailbox.take() is None
