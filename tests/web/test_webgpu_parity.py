"""Private mode on WebGPU gives what it gives on WebAssembly, in a Chromium that emulates it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.model.classifier import Classifier
from tests.patience import PATIENCE_S
from tests.web.chromium import CHROMIUM, FLAGS
from tests.web.conftest import VENDOR
from tests.web.test_private import PORTRAITS, as_raster

WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
          "--use-vulkan=swiftshader"]  # fmt: skip
"""A graphics processor that Chromium emulates: slow, but WebGPU."""


@pytest.fixture
def gpu_page() -> Iterator[Any]:
    """An empty page in a Chromium that emulates WebGPU."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    if not (VENDOR / "ort.webgpu.min.mjs").exists():
        pytest.skip("web/vendor has no WebGPU: make web")
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, *WEBGPU])
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url.rpartition("/")[2]))
        yield page
        browser.close()


@pytest.fixture
def emulated(gpu_page: Any, address: str) -> Any:
    """The page of the server, in that Chromium."""
    gpu_page.goto(address)
    gpu_page.wait_for_selector("body[data-ready]")
    need_webgpu(gpu_page)
    return gpu_page


def need_webgpu(page: Any) -> None:
    if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
        pytest.skip("this Chromium emulates no WebGPU")


def test_webgpu_gives_what_webassembly_gives(emulated: Any, examples: Path) -> None:
    portrait = Image.open(examples / "astronaut.jpg").convert("RGB")
    head = np.asarray(portrait.crop(PORTRAITS["astronaut"]).resize((96, 96)))
    model = Classifier.load("mien-tiny", threads=1)
    about = {"name": "mien-tiny", "labels": list(model.labels), "input_size": model.input_size}
    results = [
        emulated.evaluate(
            """async ([model, image, provider]) => {
            const { Engine } = await import("/assets/app/private/engine.js");
            const engine = await Engine.load(model, () => {}, { software: true, provider });
            image.data = Uint8Array.from(image.data);
            return [engine.providers, await engine.readImage(image), await engine.readWhole(image)];
        }""",
            [about, as_raster(head), provider],
        )
        for provider in ("wasm", "webgpu")
    ]
    for provider, (providers, *_) in zip(("wasm", "webgpu"), results, strict=True):
        assert providers == {"classifier": provider, "detector": provider}
    assert "ort-wasm-simd-threaded.asyncify.wasm" in emulated.requested
    (_, [ours], [our_whole]), (_, [theirs], [their_whole]) = results
    assert ours["box"] == pytest.approx(theirs["box"], abs=0.01)
    assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
    assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-4)
    assert our_whole["probabilities"] == pytest.approx(their_whole["probabilities"], abs=1e-4)


def test_emulated_webgpu_is_not_fetched(emulated: Any) -> None:
    emulated.check("[name=where][value=private]")
    emulated.wait_for_selector("body[data-private=on]")
    assert "ort-wasm-simd-threaded.wasm" in emulated.requested
    assert "ort-wasm-simd-threaded.asyncify.wasm" not in emulated.requested


def test_without_the_webgpu_build_webassembly_is_taken(emulated: Any) -> None:
    emulated.route(
        "**/ort-wasm-simd-threaded.asyncify.wasm",
        lambda route: route.fulfill(status=404, body="{}"),
    )
    model = Classifier.load("mien-tiny", threads=1)
    about = {"name": "mien-tiny", "labels": list(model.labels), "input_size": model.input_size}
    providers = emulated.evaluate(
        """async (model) => {
        const { Engine } = await import("/assets/app/private/engine.js");
        return (await Engine.load(model, () => {}, { software: true })).providers;
    }""",
        about,
    )
    assert providers == {"classifier": "wasm", "detector": "wasm"}


def test_the_npm_package_gives_the_same_on_webgpu(gpu_page: Any, site: Any) -> None:
    gpu_page.goto(f"{site.address}/blank.html")
    need_webgpu(gpu_page)
    (wasm, expected), (webgpu, faces) = (
        gpu_page.evaluate(
            """async (provider) => {
            const { Reader } = await import("/node_modules/@mien/browser/index.js");
            const reader = await Reader.create({ model: "mien-tiny", provider });
            const answer = await fetch("/node_modules/@mien/browser/example/astronaut.jpg");
            const faces = await reader.read(await answer.blob());
            reader.close();
            return [reader.providers, faces];
        }""",
            provider,
        )
        for provider in ("wasm", "webgpu")
    )
    assert set(wasm.values()) == {"wasm"}
    assert set(webgpu.values()) == {"webgpu"}
    assert len(faces) == len(expected) == 1
    assert faces[0]["label"] == expected[0]["label"]
    assert faces[0]["box"] == pytest.approx(expected[0]["box"], abs=0.1)
    assert faces[0]["probabilities"] == pytest.approx(expected[0]["probabilities"], abs=1e-3)
