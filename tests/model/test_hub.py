"""Models from a hub: fetched once, checked before they are opened, and never asked for again."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.fake_hub import TOKEN, FakeHub, patched_hub, set_endpoint

from mien import Reader
from mien.errors import MissingExtraError, ModelFileError
from mien.files import sha256
from mien.model.hub import HubAddress, is_allowed, parse_address
from mien.model.resolve import resolve

TINY = (resources.files("mien.model.shipped") / "mien-tiny.onnx").read_bytes()


def manifest(content: bytes = TINY, name: str = "model.onnx", schema: int = 1) -> bytes:
    entry = {"bytes": len(content), "sha256": sha256(content)}
    return json.dumps({"schema": schema, "model": name, "files": {name: entry}}).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with patched_hub(tmp_path, monkeypatch) as fake:
        yield fake


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("hf://user/name", "user/name", "main"),
        ("hf://a.b/c-d_e@v1.0", "a.b/c-d_e", "v1.0"),
        ("hf://user/name@refs/pr/1", "user/name", "refs/pr/1"),
    ],
)
def test_addresses(text: str, repository: str, revision: str) -> None:
    address = parse_address(text)
    assert address == HubAddress(repository, revision)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://name", "hf://a/b/c", "hf://a/..", "hf://a/b--c", "hf://a/b@", "hf://a/b@../x",
     "hf://a/b@-x", "hf://a/" + "n" * 97],
)  # fmt: skip
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ModelFileError, match="is not a re") as caught:
        resolve(text)
    assert "hf://USER/NAME" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["m.pt", "m.bin", "m.pkl", "x/m.onnx", "../m.onnx", ".onnx", "m.onnx\n", "", 3]
)
def test_files_that_are_never_fetched(name: object) -> None:
    assert not is_allowed(name)
    assert is_allowed("model.onnx")


def test_a_model_is_fetched_once(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.add("user/name", {"model.onnx": TINY, "mien.json": manifest(), "x.bin": b"x"})
    source = resolve(Path("hf://user/name"))
    assert (source.kind, source.name) == ("hub", f"hf://user/name@{commit}")
    assert source.read() == TINY
    fetched = {path.rpartition("/")[2] for _, path in hub.requests if "/api/" not in path}
    assert fetched == {"mien.json", "model.onnx", sha256(TINY)}
    # A later commit changes nothing here, and nothing is asked: not of the hub, nor offline.
    hub.requests.clear()
    hub.add("user/name", {"model.onnx": b"changed"})
    assert resolve("hf://user/name") == source
    assert resolve(f"hf://user/name@{commit}") == source
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Reader("hf://user/name").classifier.info.name == "mien-tiny"
    assert hub.requests == []


def test_the_librarys_own_cache_layout_is_read(hub: FakeHub, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "cache" / "models--user--name"
    snapshot = folder / "snapshots" / commit
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    snapshot.mkdir(parents=True)
    (folder / "refs" / "v1").write_text(commit)
    for name, content in {"model.onnx": TINY, "mien.json": manifest()}.items():
        blob = folder / "blobs" / sha256(content)
        blob.write_bytes(content)
        (snapshot / name).symlink_to(blob)
    assert resolve("hf://user/name@v1").read() == TINY
    assert hub.requests == []


def test_another_content_is_not_opened(hub: FakeHub) -> None:
    hub.add("user/name", {"model.onnx": TINY[:-1] + b"x", "mien.json": manifest()})
    with pytest.raises(ModelFileError, match=f"manifest says {sha256(TINY)}"):
        Reader("hf://user/name")


def test_a_damaged_cache_is_noticed(hub: FakeHub) -> None:
    hub.add("user/name", {"model.onnx": TINY, "mien.json": manifest()})
    source = resolve("hf://user/name")
    assert source.path is not None
    source.path.resolve().write_bytes(TINY[:1000])
    with pytest.raises(ModelFileError, match="SHA-256 of model.onnx") as caught:
        source.read()
    assert "delete" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (manifest(schema=2), "hub manifest schema 2; this mien reads up to 1"),
        (b"{", "is damaged"),
        (b'{"schema": 1, "model": "m.onnx"}', "no key 'files'"),
        (b'{"schema": 1, "model": "m.onnx", "files": {}}', "gives no SHA-256"),
        (manifest(name="model.pt"), "'model.pt', which mien does not fetch"),
        (manifest(name="../model.onnx"), "which mien does not fetch"),
        (manifest(name="model.safetensors"), "gives no SHA-256 of an ONNX file"),
    ],
)
def test_manifests_that_are_refused(hub: FakeHub, content: bytes, message: str) -> None:
    hub.add("user/name", {"model.onnx": TINY, "mien.json": content, "model.pt": b"x"})
    with pytest.raises(ModelFileError, match=message):
        resolve("hf://user/name")
    assert not [path for _, path in hub.requests if path.endswith((".pt", ".onnx"))]


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        (
            "hf://user/none",
            "no such model on http://127.0.0.1:.* or it is private",
            "name",
        ),
        ("hf://user/private", "or it is private", "HF_TOKEN"),
        ("hf://user/gated", "is gated", "accept them"),
        ("hf://user/empty", "has no mien.json", "mien push"),
        ("hf://user/empty@v9", "no such revision", "commit"),
        ("hf://user/half", "lacks a file", "mien push"),
    ],
)
def test_models_that_cannot_be_had(hub: FakeHub, address: str, message: str, hint: str) -> None:
    files = {"model.onnx": TINY, "mien.json": manifest()}
    hub.add("user/private", files, private=True)
    hub.add("user/gated", files, gated=True)
    hub.add("user/empty", {"x.md": b"x"})
    hub.add("user/half", {"mien.json": manifest()})
    with pytest.raises(ModelFileError, match=message) as caught:
        resolve(address)
    assert hint in caught.value.hint


def test_a_token_opens_private_models(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("user/private", {"model.onnx": TINY, "mien.json": manifest()}, private=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert resolve("hf://user/private").read() == TINY


def test_a_hub_that_fails(hub: FakeHub) -> None:
    hub.status = 503
    with pytest.raises(ModelFileError, match=r"failed \(HTTP 503\)"):
        resolve("hf://user/name")


def test_offline_without_a_cache(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFileError, match="HF_HUB_OFFLINE forbids"):
        resolve("hf://user/name")
    assert hub.requests == []


def test_an_unreachable_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = closed.getsockname()[1]
        set_endpoint(f"http://me:secret@127.0.0.1:{port}", monkeypatch)
        start = time.monotonic()
        with pytest.raises(ModelFileError, match="cannot be reached") as caught:
            resolve("hf://user/name")
    assert time.monotonic() - start < 10
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__context__ is None


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError) as caught:
        resolve("hf://user/name")
    assert "[hub]" in caught.value.hint
