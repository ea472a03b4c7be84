"""A real server for the tests: uvicorn in a thread, with fakes for its networks."""

from __future__ import annotations

import io
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from tests.patience import PATIENCE_S, until

from mien.serve.app import create_app
from mien.serve.catalog import Catalog, ServedModel
from mien.serve.run import make_config
from mien.serve.settings import Limits, ServerSettings
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces

WARM_UP = (480, 640, 3)
"""Shape of the image with which a server warms up."""
BOX = (10.0, 10.0, 60.0, 60.0)


def fakes(*answers: str, **about: Any) -> Catalog:
    """One fake model, called 'fake'."""
    return Catalog([ServedModel("fake", FakeClassifier(answers or ("happy",), **about))])


def encoded(kind: str = "JPEG", size: tuple[int, int] = (120, 80), level: int = 100) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, kind)
    return buffer.getvalue()


class SlowDetector(FakeDetector):
    """Finds its boxes once `open` is set, or after some seconds; the first call sets `begun`."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__([BOX])
        self.seconds, self.count = seconds, 0
        self.begun, self.open = threading.Event(), threading.Event()

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        if image_hwc.shape == WARM_UP:
            return super().detect(image_hwc)
        self.count += 1
        self.begun.set()
        if self.seconds:
            time.sleep(self.seconds)
        else:
            self.open.wait(PATIENCE_S)
        return super().detect(image_hwc)


@contextmanager
def running(
    folder: Path, catalog: Catalog | None = None, detector: Any = None, **changed: Any
) -> Iterator[httpx.Client]:
    """A server with these settings and limits, and a client that knows its address."""
    limits = {k: changed.pop(k) for k in list(changed) if k in Limits.__dataclass_fields__}
    changed.setdefault("threads", 2)
    settings = ServerSettings(port=0, data=folder / "data", limits=Limits(**limits), **changed)
    app = partial(create_app, settings, catalog or fakes(), detector or FakeDetector([BOX]))
    server = uvicorn.Server(make_config(settings, app))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert thread.is_alive(), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S,
            event_hooks={"response": [check_documented]},
        ) as client:  # fmt: skip
            yield client
    finally:
        server.should_exit = True
        if isinstance(detector, SlowDetector):
            detector.open.set()  # where the test failed before it did
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI description, which is the same for every server."""
    with tempfile.TemporaryDirectory() as folder:
        app: Any = create_app(ServerSettings(data=Path(folder)), fakes(), FakeDetector([BOX]))
        return dict(app._app.openapi())


def documented(method: str, path: str) -> dict[str, Any] | None:
    """The responses that OpenAPI documents for a request; None for no such operation."""
    for template, operations in openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            operation = operations.get(method.lower())
            return None if operation is None else dict(operation["responses"])
    return None


def check_documented(answer: httpx.Response) -> None:
    """Every error of every test is a problem, with a status that OpenAPI documents."""
    if answer.status_code < 400:
        return
    request = answer.request
    assert answer.headers["content-type"] == "application/problem+json"
    responses = documented(request.method, request.url.path)
    if responses is not None:
        assert str(answer.status_code) in responses, (request.method, request.url, answer)
        assert "application/problem+json" in responses[str(answer.status_code)]["content"]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a problem, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "hint"}
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["hint"]
    return body
