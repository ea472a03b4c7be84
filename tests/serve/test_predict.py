from __future__ import annotations

import asyncio
import base64
import io
import socket
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.patience import PATIENCE_S, until
from tests.serve.running import WARM_UP, SlowDetector, encoded, fakes, problem, running

from mien import Reader
from mien.predict.detectors import DEFAULT
from mien.predict.detectors.registry import make_detector
from mien.serve.catalog import Catalog
from mien.serve.metrics import Metrics
from mien.serve.predictor import Predictor
from mien.serve.settings import ServerSettings
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("server")) as client:
        yield client


def test_images_are_answered_in_their_order(server: httpx.Client) -> None:
    files = [("files", encoded(size=(100 + i, 80))) for i in range(5)]
    images = server.post("/v1/predict", files=files).json()["images"]
    assert [p["width"] for p in images] == [100, 101, 102, 103, 104]
    assert images[0] == {
        "source": None, "width": 100, "height": 80, "detector": "fake", "model": "fake",
        "faces": [{
            "box": [10.0, 10.0, 60.0, 60.0], "box_inside": [10, 10, 60, 60],
            "score": 1.0, "label": "happy", "confidence": 0.9,
            "probabilities": {"happy": 0.9, "neutral": 0.05, "sad": 0.05},
        }],
        "error": None, "turn": 0, "notes": [],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_raw_body_of_any_kind_is_one_image(server: httpx.Client, kind: str) -> None:
    answer = server.post(
        "/v1/predict", content=encoded(kind), headers={"Content-Type": "text/html"}
    )
    assert answer.status_code == 200, answer.text
    assert [p["width"] for p in answer.json()["images"]] == [120]


def test_unreadable_images_leave_the_others_alone(server: httpx.Client) -> None:
    files = [("files", encoded()), ("files", encoded()[:-40]), ("files", b"words")]
    good, cut, words = server.post("/v1/predict", files=files).json()["images"]
    assert good["faces"]
    assert good["error"] is None
    assert "damaged" in cut["error"]["message"]
    assert "unsupported image format" in words["error"]["message"]
    assert cut["error"]["hint"]
    assert words["faces"] == []


def test_the_only_image_being_unreadable_is_a_problem(server: httpx.Client) -> None:
    post = server.post
    assert problem(post("/v1/predict", content=b"words"), 415)["type"].endswith("image")
    assert "damaged" in problem(post("/v1/predict", content=encoded()[:-40]), 422)["detail"]
    problem(post("/v1/predict", files=[("files", b"")]), 415)
    assert "no image" in problem(post("/v1/predict", content=b""), 422)["detail"]
    assert "no image" in problem(post("/v1/predict", files=[("other", b"x")]), 422)["detail"]


def test_postscript_is_never_opened(server: httpx.Client) -> None:
    # Pillow would start Ghostscript for it.
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    problem(server.post("/v1/predict", files=[("files", ("a.jpg", content, "image/jpeg"))]), 415)


def png_bomb(side: int) -> bytes:
    """A small PNG that unfolds into side x side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*c) for c in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )


@pytest.mark.parametrize("side", [6400, 20_000, 60_000])
def test_a_bomb_is_refused_by_its_header(
    server: httpx.Client, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(image: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    body = problem(server.post("/v1/predict", content=png_bomb(side)), 422)
    assert "too large" in body["detail"]
    assert "40 megapixels" in body["detail"]


def test_images_far_longer_than_wide_are_refused(server: httpx.Client) -> None:
    assert server.post("/v1/predict", content=encoded(size=(500, 10))).status_code == 200
    body = problem(server.post("/v1/predict", content=encoded(size=(10, 501))), 422)
    assert "10 x 501 pixels is above 50:1" in body["detail"]


def test_annotated_images_show_the_predictions(server: httpx.Client) -> None:
    content = encoded(size=(4000, 400))
    answer = server.post("/v1/predict", params={"annotate": True}, content=content)
    [image] = answer.json()["images"]
    assert image["width"] == 4000
    head, _, data = image["annotated"].partition(",")
    assert head == "data:image/png;base64"
    drawn = Image.open(io.BytesIO(base64.b64decode(data)))
    assert drawn.size == (2048, 205)
    assert len(drawn.getcolors(100_000) or []) > 10
    plain = server.post("/v1/predict", content=content).json()["images"][0]
    assert "annotated" not in plain


def test_the_threshold_and_whole_crops_are_the_clients_choice(server: httpx.Client) -> None:
    params: dict[str, str | float] = {"min_confidence": 0.95, "faces": "whole"}
    [image] = server.post("/v1/predict", params=params, content=encoded()).json()["images"]
    assert image["detector"] == "whole"
    assert image["faces"][0]["box"] == [0, 0, 120, 80]
    assert image["faces"][0]["label"] == "unsure"


@pytest.mark.parametrize(
    ("params", "status", "words"),
    [
        ({"model": "fak"}, 404, "fake"),
        ({"model": "../../etc/passwd"}, 404, "allowed: fake"),
        ({"min_confidence": "nan"}, 422, "min_confidence: 'nan' is out of range 0 to 1"),
        (
            {"min_confidence": 2},
            422,
            "query parameter min_confidence: '2' is out of range 0 to 1",
        ),
        (
            {"min_confidence": "x"},
            422,
            "query parameter min_confidence: 'x' is invalid: input should be a valid number",
        ),
        ({"faces": "some"}, 422, "input should be 'detect' or 'whole'"),
        ({"annotate": "perhaps"}, 422, "query parameter annotate: 'perhaps' is invalid"),
    ],
)
def test_invalid_parameters_are_reported(
    server: httpx.Client, params: dict[str, str], status: int, words: str
) -> None:
    body = problem(server.post("/v1/predict", params=params, content=encoded()), status)
    assert words in body["detail"] + body["hint"]


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=", b"x", 400),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", 400),
        ("multipart/form-data; boundary=b", b"nothing like a form", 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="files"'
         b"\r\n\r\nabc", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
    ],
)  # fmt: skip
def test_broken_forms_are_problems(
    server: httpx.Client, kind: str, content: bytes, status: int
) -> None:
    answer = server.post("/v1/predict", content=content, headers={"Content-Type": kind})
    problem(answer, status)


def test_too_large_bodies_are_refused(tmp_path: Path) -> None:
    with running(tmp_path, body_mb=0.01, files=2, faces=3) as server:
        problem(server.post("/v1/predict", content=b"x" * 10_001), 413)

        def endless() -> Iterator[bytes]:
            for _ in range(20):
                yield b"x" * 1000

        problem(server.post("/v1/predict", content=endless()), 413)
        three = [("files", encoded())] * 3
        assert "2 files" in problem(server.post("/v1/predict", files=three), 413)["detail"]
        assert server.post("/v1/predict", files=three[:2]).status_code == 200


def test_faces_with_the_highest_scores_are_kept(tmp_path: Path) -> None:
    boxes = [(float(x), 0.0, x + 9.0, 9.0) for x in range(0, 100, 10)]
    with running(tmp_path, detector=FakeDetector(boxes), faces=3) as server:
        [image] = server.post("/v1/predict", content=encoded()).json()["images"]
        assert [f["box"][0] for f in image["faces"]] == [0, 10, 20]


def test_faces_of_several_clients_share_a_batch(tmp_path: Path) -> None:
    catalog, detector = fakes("happy", "sad"), SlowDetector()
    classifier = catalog.models["fake"].classifier
    assert isinstance(classifier, FakeClassifier)
    with (
        running(tmp_path, catalog, detector, window_ms=3000, threads=8) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        waiting = [pool.submit(server.post, "/v1/predict", content=encoded()) for _ in range(8)]
        until(lambda: detector.count == 8)
        detector.open.set()
        answers = [w.result().json()["images"][0] for w in waiting]
    assert len(classifier.seen) < 8
    assert sum(map(len, classifier.seen)) == 8
    assert sorted(a["faces"][0]["label"] for a in answers) == ["happy"] * 4 + ["sad"] * 4


def test_too_many_requests_get_retry_after(tmp_path: Path) -> None:
    detector = SlowDetector()
    with running(tmp_path, detector=detector, requests=2) as server:
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(server.post, "/v1/predict", content=encoded()) for _ in range(2)]
            until(lambda: detector.count == 2)
            answer = server.post("/v1/predict", content=encoded())
            problem(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1
            problem(server.get("/readyz"), 503)
            assert server.get("/healthz").status_code == 200
            detector.open.set()
            assert [w.result().status_code for w in waiting] == [200, 200]
        assert server.post("/v1/predict", content=encoded()).status_code == 200
        assert server.get("/readyz").status_code == 200


def test_no_image_waits_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("mien.serve.predictor.time", clock)

    class Slow(SlowDetector):
        """Takes 0.2 s by that clock."""

        def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
            faces = super().detect(image_hwc)
            clock.now += 0.2
            return faces

    detector = Slow()
    with (
        running(tmp_path, detector=detector, threads=1, wait=0.5) as server,
        ThreadPoolExecutor(3) as pool,
    ):

        def ask() -> httpx.Response:
            return server.post("/v1/predict", content=encoded())

        inside = "mien_requests_in_progress "
        waiting = []
        for number in (1, 2, 3):  # who comes third waits for two, which is 0.4 s
            waiting.append(pool.submit(ask))
            until(partial(lambda n: f"{inside}{n}.0" in server.get("/metrics").text, number))
        answer = ask()
        problem(answer, 503)
        assert answer.headers["Retry-After"] == "1"
        detector.open.set()
        assert [w.result().status_code for w in waiting] == [200] * 3
        assert ask().status_code == 200


def test_held_bodies_are_bounded_over_all_clients(tmp_path: Path) -> None:
    with running(tmp_path, memory_mb=0.001) as server:
        problem(server.post("/v1/predict", content=encoded("BMP")), 503)
        problem(server.post("/v1/predict", content=iter([encoded("BMP")])), 503)
        assert server.post("/v1/predict", content=encoded("PNG")).status_code == 200


def test_memory_is_reserved_before_the_body_arrives(tmp_path: Path) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
    with running(tmp_path, memory_mb=0.01) as server:
        address = ("127.0.0.1", server.base_url.port or 0)
        with socket.create_connection(address, PATIENCE_S) as line:
            line.sendall(head + b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n")
            assert b" 100 " in line.recv(100)
            problem(server.post("/v1/predict", content=encoded()), 503)
        until(lambda: server.post("/v1/predict", content=encoded()).status_code == 200)


def test_the_rate_limit_is_enforced(tmp_path: Path) -> None:
    with running(tmp_path, rate=0.001) as server:
        assert server.get("/v1/models").status_code == 200
        answer = server.get("/v1/models")
        problem(answer, 429)
        assert 500 < int(answer.headers["Retry-After"]) <= 1000
        assert server.get("/healthz").status_code == 200


def test_slow_requests_time_out(tmp_path: Path) -> None:
    detector = SlowDetector()
    with running(tmp_path, detector=detector, seconds=2) as server:
        assert "too long" in problem(server.post("/v1/predict", content=encoded()), 503)["detail"]
        detector.open.set()


def test_internal_errors_reveal_nothing(tmp_path: Path) -> None:
    class Broken(FakeDetector):
        def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
            if image_hwc.shape == WARM_UP:
                return super().detect(image_hwc)
            raise ZeroDivisionError("a client's secret")

    with running(tmp_path, detector=Broken()) as server:
        answer = server.post("/v1/predict", content=encoded())
        problem(answer, 500)
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert server.get("/healthz").status_code == 200


def test_a_failing_model_fails_its_own_requests_only(tmp_path: Path) -> None:
    class Moody(FakeClassifier):
        def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
            if len(self.seen) == 0:
                self.seen.append(crops_nhw)
                raise ValueError("once")
            return super().logits(crops_nhw)

    catalog = fakes()
    model = catalog.models["fake"]
    catalog = Catalog([type(model)("fake", Moody(["happy"]))])
    with running(tmp_path, catalog) as server:
        problem(server.post("/v1/predict", content=encoded()), 500)
        assert server.post("/v1/predict", content=encoded()).status_code == 200


def test_the_server_reads_as_the_reader_does(tmp_path: Path, examples: Path) -> None:
    with running(tmp_path, Catalog.load([]), make_detector(threads=1)) as server:
        paths = sorted(examples.glob("*.jpg"))
        files = [("files", path.read_bytes()) for path in paths]
        images = server.post("/v1/predict", files=files).json()["images"]
    for image, path in zip(images, paths, strict=True):
        expected = Reader().read(path).to_dict()
        assert image == {**expected, "source": None}


def test_the_server_has_the_default_detector(tmp_path: Path) -> None:
    async def served() -> str:
        predictor = Predictor(fakes(), ServerSettings(data=tmp_path), Metrics())
        try:
            return predictor.detector.name
        finally:
            await predictor.close()

    assert asyncio.run(served()) == DEFAULT == Reader().detector.name


def test_requests_on_one_connection_do_not_mix(server: httpx.Client) -> None:
    refused = server.post("/v1/predict", params={"model": "x"}, content=encoded(size=(2000, 2000)))
    problem(refused, 404)  # answered before its body was read
    assert server.post("/v1/predict", content=encoded()).status_code == 200


def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    detector, content = SlowDetector(), encoded()
    with running(tmp_path, detector=detector, requests=1) as server:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
        address = ("127.0.0.1", server.base_url.port or 0)
        with socket.create_connection(address, PATIENCE_S) as line:
            line.sendall(head.encode() + b"\r\n\r\n" + content)
            assert detector.begun.wait(PATIENCE_S)
        detector.open.set()
        until(lambda: server.post("/v1/predict", content=content).status_code == 200)
