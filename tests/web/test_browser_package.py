"""The npm package @mien/browser, packed and served as files: its parts, and what Python gives."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import Reader, __version__
from mien.errors import ConfigError, ModelFileError
from mien.files import sha256_file
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.classifier import Classifier
from mien.model.resolve import DEFAULT_MODEL
from mien.predict.detectors import yunet
from mien.serve.assets import WEB, web_assets
from tests.web.conftest import EXAMPLE, MODULE, browser_package
from tests.web.test_private import write_images


def generated(package: Path) -> dict[str, Any]:
    """The values in the package's models.js."""
    text = (package / "models.js").read_text(encoding="utf-8")
    found = re.findall(r"^export const (\w+) = (.*?);$", text, re.MULTILINE | re.DOTALL)
    return {name: json.loads(value) for name, value in found}


def test_models_are_described_as_in_python(package: Path) -> None:
    values = generated(package)
    assert values["MIEN_VERSION"] == __version__
    assert values["DEFAULT_MODEL"] == DEFAULT_MODEL
    assert list(values["MODELS"]) == ["mien-small", "mien-tiny"]
    for name, model in values["MODELS"].items():
        info = Classifier.load(name, threads=1).info
        assert model["labels"] == list(info.labels)
        assert model["inputSize"] == info.input_size
        assert model["alignment"] == info.alignment == ALIGNMENT_ID
        assert model["colour"] == info.colour == "grey"
        assert model["temperature"] == info.temperature
        assert model["unsureBelow"] == info.unsure_below
        assert model["trainingPrior"] == info.training_prior
        assert model["prior"] == info.prior
        assert model["licence"] == info.licence
        assert model["coverage"] == info.coverage
        assert model["metrics"] == info.metrics


def test_networks_are_those_of_python(package: Path) -> None:
    values, served = generated(package), web_assets()
    names = {f"models/{path.name}" for path in (package / "models").iterdir()}
    assert set(values["FILES"]) == names
    assert sha256_file(package / "models" / "yunet.onnx") == sha256_file(yunet.WEIGHTS)
    for name, file in values["FILES"].items():
        assert (
            file["sha256"] == sha256_file(package / name) == sha256_file(served[f"/assets/{name}"])
        )
        assert file["bytes"] == (package / name).stat().st_size
    for name, model in values["MODELS"].items():
        assert model["sha256"] == values["FILES"][f"models/{name}.onnx"]["sha256"]


def test_the_page_and_the_package_share_their_modules(package: Path) -> None:
    app, served = WEB / "app", web_assets()
    for path in (package / "app").rglob("*.js"):
        name = path.relative_to(package / "app").as_posix()
        assert path.read_bytes() == served[f"/assets/app/{name}"].read_bytes()
    # The page's client is left out, and whatever it alone imports.
    private = {path.name for path in (app / "private").glob("*.js")}
    assert {p.name for p in (package / "app" / "private").iterdir()} == private - {"client.js"}


def test_every_import_is_in_the_package(package: Path) -> None:
    checked = 0
    for path in package.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r'^(?:import|export) .*?from "(.+?)";', text, re.M | re.S):
            assert (path.parent / name).is_file(), f"{path}: {name}"
            checked += 1
    assert checked > 20


def test_its_manifest_takes_versions_from_where_they_stand(package: Path) -> None:
    manifest = json.loads((package / "package.json").read_text(encoding="utf-8"))
    page = json.loads((browser_package.ROOT / "web" / "package.json").read_text(encoding="utf-8"))
    assert manifest["version"] == __version__
    runtime = page["dependencies"]["onnxruntime-web"]
    assert manifest["dependencies"] == {"onnxruntime-web": runtime}
    for target in manifest["exports"]["."].values():
        assert (package / target).is_file()


def test_other_models_can_be_packed(tmp_path: Path) -> None:
    browser_package.assemble(tmp_path / "p", ["mien-tiny"])
    assert generated(tmp_path / "p")["DEFAULT_MODEL"] == "mien-tiny"
    with pytest.raises(ModelFileError, match="no model none"):
        browser_package.assemble(tmp_path / "p", ["none"])
    with pytest.raises(ConfigError, match="two models are named 'mien-tiny'"):
        browser_package.assemble(tmp_path / "p", ["mien-tiny", "mien-tiny"])


def test_npm_packs_every_file(package: Path, tarball: Path) -> None:
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    with tarfile.open(tarball) as archive:
        assert {name.removeprefix("package/") for name in archive.getnames()} == files


def test_types_fit_a_program_and_refuse_mistakes(package: Path) -> None:
    if not (browser_package.ROOT / "web/node_modules/typescript").exists():
        pytest.skip("typescript is not installed: make web")
    browser_package.check_types(package)
    types = package / "index.d.ts"
    text = types.read_text(encoding="utf-8")
    try:
        types.write_text(text.replace("track(options", "follow(options"), encoding="utf-8")
        with pytest.raises(ConfigError, match="Property 'track' does not exist"):
            browser_package.check_types(package)
    finally:
        types.write_text(text, encoding="utf-8")


def test_the_types_declare_what_the_module_exports(load: Callable[..., Any], package: Path) -> None:
    text = (package / "index.d.ts").read_text(encoding="utf-8")
    declared = set(re.findall(r"^export (?:class|const) (\w+)", text, re.MULTILINE))
    exported = load().evaluate(f'async () => Object.keys(await import("{MODULE}"))')
    assert set(exported) == declared


READ = """async ([module, options, urls, more]) => {
  const { Reader } = await import(module);
  const reader = await Reader.create(options);
  const answers = [];
  for (const url of urls) {
    const blob = await (await fetch(url)).blob();
    answers.push(await reader.read(blob, more));
  }
  const { labels, minConfidence } = reader, about = { labels, minConfidence };
  reader.close();
  return [about, answers];
}"""


def test_faces_are_those_of_pythons_reader(
    load: Callable[..., Any], site: Any, examples: Path, rng: np.random.Generator
) -> None:
    images = site.folder.parents[2] / "images"
    images.mkdir(exist_ok=True)
    names = write_images(images, examples, rng)
    reader = Reader()
    urls = [f"/images/{name}.png" for name in names]
    about, answers = load().evaluate(READ, [MODULE, {}, urls, {}])
    info = Classifier.load(DEFAULT_MODEL, threads=1).info
    assert about["labels"] == list(info.labels)
    assert about["minConfidence"] == info.unsure_below
    for name, faces in zip(names, answers, strict=True):
        expected = reader.read(images / f"{name}.png").faces
        assert len(faces) == len(expected), name
        for ours, theirs in zip(faces, expected, strict=True):
            assert ours["label"] == theirs.label
            assert ours["box"] == pytest.approx(theirs.box, abs=0.06)
            assert ours["score"] == pytest.approx(theirs.score, abs=2e-3)
            assert ours["confidence"] == pytest.approx(theirs.confidence, abs=1e-3)
            assert ours["probabilities"] == pytest.approx(theirs.probabilities, abs=1e-3)
    assert sum(map(len, answers)) == 33


def test_every_kind_of_source_is_read(load: Callable[..., Any], clip: Path, site: Any) -> None:
    shutil.copyfile(clip, site.folder.parents[2] / "clip.mp4")
    counts = load().evaluate(
        """async ([module, url]) => {
        const { Reader } = await import(module);
        const reader = await Reader.create({ model: "mien-tiny" });
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = document.createElement("canvas");
        Object.assign(canvas, { width: image.width, height: image.height });
        const pen = canvas.getContext("2d");
        pen.drawImage(image, 0, 0);
        const other = new OffscreenCanvas(image.width, image.height);
        other.getContext("2d").drawImage(image, 0, 0);
        const video = document.createElement("video");
        video.src = "/clip.mp4";
        await new Promise((resolve) => (video.onloadeddata = resolve));
        const pixels = pen.getImageData(0, 0, image.width, image.height);
        const sources = { image, canvas, other, video, pixels,
          bitmap: await createImageBitmap(image), frame: new VideoFrame(image, { timestamp: 0 }),
          blob: await (await fetch(url)).blob() };
        const found = {};
        for (const [name, source] of Object.entries(sources)) {
          found[name] = (await reader.read(source)).map(({ box }) => box.length);
        }
        found.whole = (await reader.read(image, { whole: true })).map(({ box }) => box);
        return found;
    }""",
        [MODULE, f"{EXAMPLE}astronaut.jpg"],
    )
    assert counts.pop("whole") == [[0, 0, 512, 512]]
    assert len(counts) == 8
    assert all(found == [4] for found in counts.values()), counts


def test_trackers_follow_independently(load: Callable[..., Any]) -> None:
    tracks = load().evaluate(
        """async ([module, url]) => {
        const { Reader } = await import(module);
        const reader = await Reader.create({ model: "mien-tiny" });
        const image = new Image();
        image.src = url;
        await image.decode();
        const large = new OffscreenCanvas(1024, 1024), empty = new OffscreenCanvas(64, 64);
        large.getContext("2d").drawImage(image, 0, 0, 1024, 1024);
        empty.getContext("2d").fillRect(0, 0, 64, 64);
        const start = () => reader.track({ live: false });
        const one = await start(), other = await start();
        const found = [];
        for (const time of [0, 0.2, 0.4]) {
          await other.read(empty, time);
          found.push(await one.read(large, time));
        }
        const [still] = await reader.read(large);
        await one.close();
        const closed = await one.read(large, 1).catch(({ name, message }) => [name, message]);
        return [found, await other.read(empty, 1), still, closed];
    }""",
        [MODULE, f"{EXAMPLE}astronaut.jpg"],
    )
    found, none, still, closed = tracks
    assert none == []
    assert [[face["track"] for face in faces] for faces in found] == [[1], [1], [1]]
    (last,) = found[-1]
    # Frames are reduced to 640 pixels, boxes are those of the source (a face of 200 pixels).
    assert last["box"] == pytest.approx(still["box"], abs=20)
    assert last["label"] == still["label"] == "happy"
    assert last["quality"] == "good"
    # Every frame is searched for faces here. The astronaut faces the camera.
    assert all(abs(face["yaw"]) < 20 and abs(face["roll"]) < 20 for (face,) in found)
    assert all(abs(face["pitch"]) < 35 for (face,) in found)
    assert closed == ["MienError", "the tracker was closed"]


def test_after_create_nothing_is_requested(load: Callable[..., Any], site: Any) -> None:
    page = load()
    urls: list[str] = []
    page.on("request", lambda r: urls.append(r.url))
    page.evaluate(
        """async ([module, url]) => {
        const { Reader } = await import(module);
        window.image = new Image();
        image.src = url;
        await image.decode();
        window.reader = await Reader.create();
    }""",
        [MODULE, f"{EXAMPLE}astronaut.jpg"],
    )
    page.context.set_offline(True)
    before = len(site.requested)
    faces = page.evaluate(
        "async () => [await reader.read(image), await (await reader.track()).read(image)]"
    )
    assert [len(found) for found in faces] == [1, 1]
    assert len(site.requested) == before
    assert urls
    assert all(url.startswith((f"{site.address}/", "blob:")) for url in urls)


MISTAKES = {
    "Reader.create({ model: 'large' })": ("no model large", "mien-small, mien-tiny"),
    "Reader.create({ minConfidence: 60 })": ("60 is out of range 0 to 1", "0.6"),
    "Reader.create({ threshold: 0.5 })": ("no option threshold", "minConfidence"),
    "Reader.create({ provider: 'cuda' })": ("provider: there is no cuda", "wasm, webgpu"),
    "Reader.create({ provider: 'webgpu' })": ("WebGPU cannot be used", "leave provider out"),
    "Reader.create({ runtime: '/nowhere' })": ("ort.wasm.min.mjs|simd-threaded.wasm", "`runtime`"),
    "Reader.create({ onProgress: 1 })": ("onProgress: not a function", "fraction"),
    "reader.read('photo.jpg')": ("cannot read String", "image, video or canvas"),
    "reader.read(new Image())": ("no pixels yet", "image.decode"),
    "reader.read(document.createElement('video'))": ("no pixels yet", "loadeddata"),
    "reader.read(new Blob(['text']))": ("cannot open the file", "JPEG, PNG or WebP"),
    "reader.read(new OffscreenCanvas(8000, 7000))": ("8000 x 7000 pixels", "scale it down"),
    "reader.read(foreign)": ("another origin", "crossorigin"),
    "tracker.read(canvas, -1)": ("timeS: -1 is not a time", "video.currentTime"),
    "tracker.read(new Blob(), 9)": ("cannot read Blob", "canvas"),
    "closed.read(canvas)": ("reader was closed", "Reader.create"),
}


def test_mistakes_give_a_message_and_a_hint(load: Callable[..., Any], site: Any) -> None:
    page = load()
    # The same server by another name is another origin, which shares nothing.
    foreign = site.address.replace("127.0.0.1", "localhost") + f"{EXAMPLE}astronaut.jpg"
    given = page.evaluate(
        """async ([module, foreignUrl, mistakes]) => {
        const { Reader, MienError } = await import(module);
        const reader = await Reader.create({ model: "mien-tiny" }), tracker = await reader.track();
        const closed = await Reader.create({ model: "mien-tiny" });
        closed.close();
        const canvas = new OffscreenCanvas(64, 64), foreign = new Image();
        canvas.getContext("2d").fillRect(0, 0, 64, 64);
        await tracker.read(canvas, 5);
        foreign.src = foreignUrl;
        await foreign.decode();
        const names = ["Reader", "reader", "tracker", "closed", "canvas", "foreign"];
        const values = [Reader, reader, tracker, closed, canvas, foreign];
        const given = [];
        for (const mistake of mistakes) {
          const run = new Function(...names, `return ${mistake}`);
          given.push(await run(...values).then(() => ["no error", ""], (error) =>
            [error instanceof MienError ? error.message : `not ours: ${error}`, error.hint]));
        }
        return [given, await reader.read(canvas)];
    }""",
        [MODULE, foreign, list(MISTAKES)],
    )
    errors, after = given
    for mistake, (message, hint), (found, advice) in zip(
        MISTAKES, MISTAKES.values(), errors, strict=True
    ):
        assert re.search(message, found), f"{mistake}: {found}"
        assert hint in str(advice), f"{mistake}: {advice}"
    assert after == []  # mistakes leave the reader usable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
            "SHA-256 of models/mien-tiny",
        ),
        (lambda path: path.unlink(), "files of the package are missing: models/mien-tiny.onnx"),
    ],
    ids=["damaged", "missing"],
)
def test_damaged_and_missing_files_are_refused(
    load: Callable[..., Any], site: Any, change: Callable[[Path], Any], message: str
) -> None:
    path = site.folder / "models" / "mien-tiny.onnx"
    content = path.read_bytes()
    try:
        change(path)
        found = load().evaluate(
            """async (module) => {
            const { Reader } = await import(module);
            return Reader.create({ model: "mien-tiny" })
              .then(() => "", (error) => `${error.name}: ${error.message}`);
        }""",
            MODULE,
        )
    finally:
        path.write_bytes(content)
    assert found.startswith("MienError: ")
    assert message in found
