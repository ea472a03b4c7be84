"""A server of its own, and headless Chromium with a camera that plays a file."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.patience import PATIENCE_S
from tests.web.chromium import ROOT, launched, serving, visiting, write_camera

sys.path.insert(0, str(ROOT / "tools"))
try:
    import browser_package as browser_package  # for the tests too
finally:
    sys.path.pop(0)

VENDOR = ROOT / "src" / "mien" / "serve" / "web" / "vendor"
MODULE = "/node_modules/@mien/browser/index.js"
EXAMPLE = "/node_modules/@mien/browser/example/"


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(camera_file: Path) -> Iterator[Any]:
    """Chromium; of each test file alone, for its event loop must not meet other tests'."""
    with launched(f"--use-file-for-fake-video-capture={camera_file}") as chromium:
        yield chromium


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page, ready for use: visit(path="/", width=1440, ...)."""
    with visiting(browser, "body[data-ready]") as open_page:
        yield lambda path="/", **more: open_page(address + path, **more)


@pytest.fixture
def private(visit: Callable[..., Any]) -> Callable[..., Any]:
    """Open the page in private mode, everything fetched."""
    if not (VENDOR / "ort.wasm.min.mjs").exists():
        pytest.skip("web/vendor is empty: make web")

    def open_page(**more: Any) -> Any:
        page = visit(**more)
        page.check("[name=where][value=private]")
        page.wait_for_selector("body[data-private=on]")
        return page

    return open_page


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which finds what bars people from using a page."""
    path = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not installed: make web")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees: a portrait that sways."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    write_camera(path)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: one person, and in the second of them another."""
    av = pytest.importorskip("av", reason="the extra video is not installed")
    path = tmp_path_factory.mktemp("clip") / "two people.mp4"
    faces = [
        Image.open(ROOT / "examples" / name).convert("RGB").crop(box).resize((200, 230))
        for name, box in (
            ("astronaut.jpg", (140, 20, 320, 227)),
            ("grace_hopper.jpg", (130, 70, 400, 380)),
        )
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(30):
            frame = Image.new("RGB", (640, 360), (150, 155, 160))
            frame.paste(faces[0], (60, 60))
            if number >= 15:
                frame.paste(faces[1], (370, 60))
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembled package."""
    folder = tmp_path_factory.mktemp("browser") / "package"
    browser_package.assemble(folder)
    return folder


@pytest.fixture(scope="session")
def tarball(package: Path) -> Path:
    """The package as npm packs it."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    return browser_package.pack(package, package.parent)


@pytest.fixture(scope="session")
def site(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A folder as npm installs the package, served as files: `address`, `folder`, `requested`."""
    if not (VENDOR / "ort.wasm.min.mjs").exists():
        pytest.skip("web/vendor is empty: make web")
    root = tmp_path_factory.mktemp("site")
    installed = root / "node_modules" / "@mien" / "browser"
    with tarfile.open(tarball) as archive:
        archive.extractall(root / "unpacked", filter="data")
    installed.parent.mkdir(parents=True)
    (root / "unpacked" / "package").rename(installed)
    shutil.copytree(VENDOR, root / "node_modules" / "onnxruntime-web" / "dist")
    (root / "blank.html").write_text("<!doctype html><title>blank</title>", encoding="utf-8")
    requested: list[str] = []

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            requested.append(self.path)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # Pages are closed while they load, which is no error of the server's.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), functools.partial(Files, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(
        address=f"http://127.0.0.1:{server.server_port}", folder=installed, requested=requested
    )
    server.shutdown()
    server.server_close()


@pytest.fixture
def load(browser: Any, site: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of the site: load(path="/blank.html", ...)."""
    contexts = []

    def open_page(path: str = "/blank.html", **more: Any) -> Any:
        context = browser.new_context(**more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(site.address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()


def downloaded(page: Any, kind: str) -> bytes:
    """Press JSON, CSV or PNG; return the file."""
    with page.expect_download() as waiting:
        page.click(f"#save-{kind}")
    return Path(os.fspath(waiting.value.path())).read_bytes()
