"""Files at addresses: a real S3 server on this machine, memory://, https://, zip://."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, run_mien
from tests.patience import PATIENCE_S
from tests.video.clips import write_clip

fsspec = pytest.importorskip("fsspec", reason="needs mien[cloud]")
moto_server = pytest.importorskip("moto.server", reason="needs moto[server]")

from mien import ConfigError, Reader, SourceError, storage  # noqa: E402
from mien.data.dataset import load_dataset  # noqa: E402
from mien.data.drawn import draw_faces  # noqa: E402
from mien.files import WriteError  # noqa: E402
from mien.imaging.codec import write_image  # noqa: E402

# What the storages' own libraries leave open at the end.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
HOPPER = ROOT / "examples" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server on a free port of this machine."""
    made = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket with the examples in photos/; credentials in the environment."""
    # A busy machine may take longer than a network should.
    monkeypatch.setattr(storage, "REACH_S", PATIENCE_S)
    monkeypatch.setattr(storage, "CONNECT_S", PATIENCE_S)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    forget()
    fs, _ = fsspec.core.url_to_fs("s3://bucket")
    if not fs.exists("bucket"):
        fs.mkdir("bucket")
        fs.put_file(str(ASTRONAUT), "bucket/photos/astronaut.jpg")
        fs.put_file(str(HOPPER), "bucket/photos/more/grace_hopper.jpg")
        fs.pipe_file("bucket/photos/notes.txt", b"notes")
        fs.pipe_file("bucket/photos/.hidden.jpg", b"hidden")
    return "s3://bucket"


def forget() -> None:
    """Drop what is known of storages: the next use connects again, with what is set now."""
    storage._reached.clear()
    for protocol in ("s3", "http", "https", "memory", "zip"):
        fsspec.get_filesystem_class(protocol).clear_instance_cache()


@pytest.fixture
def memory() -> str:
    """The address of a folder in memory, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return "memory://faces"


def test_a_folder_in_a_bucket_is_read_like_one_on_disk(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_mien(capsys, monkeypatch, "predict", f"{bucket}/photos", "--json")
    assert code == 0, err
    found = json.loads(out)
    names = [reading["source"] for reading in found]
    assert names == [f"{bucket}/photos/astronaut.jpg", f"{bucket}/photos/more/grace_hopper.jpg"]
    local = [reading.to_dict() for reading in Reader().read_many([ASTRONAUT, HOPPER])]
    assert [{**r, "source": ""} for r in found] == [{**r, "source": ""} for r in local]
    code, out, _ = run_mien(capsys, monkeypatch, "predict", f"{bucket}/photos/*.jpg", "--csv")
    assert (code, out.count("\n")) == (0, 2)


def test_a_reader_takes_addresses(bucket: str) -> None:
    reader = Reader()
    one = reader.read(f"{bucket}/photos/astronaut.jpg")
    assert one.faces == reader.read(ASTRONAUT).faces
    assert one.annotate().shape == (512, 512, 3)
    assert [r.source for r in reader.read_many(bucket)] == [
        f"{bucket}/photos/astronaut.jpg", f"{bucket}/photos/more/grace_hopper.jpg",
    ]  # fmt: skip
    missing, good = reader.read_many([f"{bucket}/none.jpg", f"{bucket}/photos/astronaut.jpg"])
    assert "there is no such file" in (missing.error or "")
    assert good.error is None


def test_rows_and_annotated_copies_are_uploaded(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ("-o", f"{bucket}/out/rows.csv", "--annotate", f"{bucket}/out/annotated")
    code, _, err = run_mien(capsys, monkeypatch, "predict", ASTRONAUT, *arguments)
    assert code == 0, err
    assert f"uploaded to {bucket}/out/rows.csv" in err
    assert storage.read_content(f"{bucket}/out/rows.csv").count(b"\n") == 2
    assert storage.list_files(f"{bucket}/out/annotated") == [
        f"{bucket}/out/annotated/astronaut.jpg"
    ]
    assert not list((tmp_path / "cache").rglob("*.csv"))


def test_an_engine_writes_its_dataset_to_a_bucket_and_resumes_it(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = f"{bucket}/rows-{os.getpid()}"
    arguments = ("predict", f"{bucket}/photos", "--engine", "local", "--workers", 1, "--out", out)
    code, _, err = run_mien(capsys, monkeypatch, *arguments)
    assert code == 0, err
    manifest = json.loads(storage.read_content(f"{out}/manifest.json"))
    assert manifest["state"] == "complete"
    assert {f"{out}/{name}" for name in manifest["files"]} < set(storage.list_files(out))
    code, _, err = run_mien(capsys, monkeypatch, *arguments)
    assert (code, "is there already" in err) == (2, True)
    assert run_mien(capsys, monkeypatch, *arguments, "--resume")[0] == 0
    assert json.loads(storage.read_content(f"{out}/manifest.json")) == manifest


def test_videos_are_read_in_parts_not_downloaded(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(300)]
    clip = write_clip(tmp_path / "clip.mp4", noise, options={"g": "15", "crf": "1"})
    storage.upload(clip, f"{bucket}/videos/clip.mp4")
    code, out, err = run_mien(capsys, monkeypatch, "video", f"{bucket}/videos", "--csv")
    assert code == 3, err
    assert run_mien(capsys, monkeypatch, "video", clip, "--csv")[1].replace(
        str(clip), f"{bucket}/videos/clip.mp4"
    ) == out  # fmt: skip
    # Only the end of it: most of the file is never transferred.
    fs, _ = fsspec.core.url_to_fs(bucket)
    ranges: list[int] = []
    fetch = type(fs)._cat_file

    async def counted(self: Any, path: str, *args: Any, **more: Any) -> bytes:
        content: bytes = await fetch(self, path, *args, **more)
        ranges.append(len(content))
        return content

    monkeypatch.setattr(type(fs), "_cat_file", counted)
    monkeypatch.setattr(storage, "BLOCK_BYTES", 100_000)
    file = storage.open_file(f"{bucket}/videos/clip.mp4")
    total = file.seek(0, 2)
    file.close()
    from mien.video.select import Selection
    from mien.video.sources import list_sources

    source = next(iter(list_sources([f"{bucket}/videos/clip.mp4"])))
    last = list(source.frames(Selection(start_s=9.5)))
    assert len(last) == 15
    assert sum(ranges) < total / 2
    code, _, err = run_mien(
        capsys, monkeypatch, "video", f"{bucket}/videos/clip.mp4", "--out", f"{bucket}/rows"
    )
    assert code == 3, err
    assert f"{bucket}/rows/clip.csv" in storage.list_files(f"{bucket}/rows")


def test_datasets_are_imported_from_and_to_and_evaluated_in_memory(
    memory: str, tmp_path: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    faces = draw_faces(120)
    for row, image in enumerate(faces.images_nhw):
        label = faces.label_names[faces.labels_n[row]]
        write_image(tmp_path / "faces" / label / f"{row}.png", np.repeat(image[..., None], 3, 2))
    storage.upload(tmp_path / "faces", f"{memory}/faces")
    code, _, err = run_mien(
        capsys, monkeypatch, "data", "import", f"{memory}/faces", f"{memory}/set",
        "--validation", 0.4,
    )  # fmt: skip
    assert code == 0, err
    assert f"uploaded to {memory}/set" in err
    fetched = storage.fetch(f"{memory}/set", tmp_path / "back")
    assert len(load_dataset(fetched)) == 120
    assert load_dataset(fetched).name == "faces"
    code, _, err = run_mien(
        capsys, monkeypatch, "data", "import", f"{memory}/faces", f"{memory}/set"
    )
    assert (code, "is there already" in err) == (2, True)
    storage.upload(tiny_path, f"{memory}/tiny.onnx")
    arguments = ("evaluate", f"{memory}/tiny.onnx", "--data", f"{memory}/set", "--json")
    code, out, err = run_mien(capsys, monkeypatch, *arguments, "--image", f"{memory}/plots.png")
    assert code == 0, err
    assert json.loads(out)["n"] > 0
    assert storage.read_content(f"{memory}/plots.png").startswith(b"\x89PNG")


@pytest.mark.parametrize("chained", [True, False])
def test_archives_are_read_without_unpacking(chained: bool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(ASTRONAUT, "a/astronaut.jpg")
        archive.writestr("a/notes.txt", "notes")
    path = tmp_path / "photos.zip"
    address = f"zip://a/astronaut.jpg::{path}" if chained else f"zip://{path}"
    (reading,) = Reader().read_many(address)
    assert reading.source == f"zip://a/astronaut.jpg::{path}"
    assert [face.label for face in reading.faces] == ["happy"]
    path.write_bytes(path.read_bytes()[:5000])
    forget()
    with pytest.raises(SourceError, match="damaged"):
        list(Reader().read_many(f"zip://{path}"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    handler = partial(Quiet, directory=str(ROOT / "examples"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_images_on_a_web_server_are_read(
    web: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_mien(capsys, monkeypatch, "predict", f"{web}/astronaut.jpg", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["source"] == f"{web}/astronaut.jpg"
    code, _, err = run_mien(capsys, monkeypatch, "predict", f"{web}/none.jpg?token=secret")
    assert code == 1
    assert "there is no such file" in err
    with pytest.raises(WriteError, match="http:// can only be read"):
        storage.write_content(f"{web}/new.csv", b"")


def test_refused_access_names_the_variables(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.exceptions

    forget()

    async def refuse(*_: object, **__: object) -> None:
        answer: Any = {"Error": {"Code": "403", "Message": "Forbidden"}}
        raise botocore.exceptions.ClientError(answer, "HeadObject")

    fs, _ = fsspec.core.url_to_fs(bucket)
    monkeypatch.setattr(type(fs), "_call_s3", refuse)
    with pytest.raises(SourceError, match="access is refused") as caught:
        storage.read_content(f"{bucket}/photos/astronaut.jpg")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in caught.value.hint


def test_without_credentials_nothing_asks_the_machine_for_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in storage.AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert storage._options("s3")["anon"] is True
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert storage._options("s3")["anon"] is False


def test_an_unreachable_storage_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    forget()
    with pytest.raises(SourceError, match="the storage cannot be reached"):
        storage.read_content("s3://bucket/photo.jpg")
    with pytest.raises(WriteError, match="the storage cannot be reached"):
        storage.check_writable("s3://bucket/out")
    with pytest.raises(SourceError, match="the storage cannot be reached"):
        storage.read_content("http://127.0.0.1:1/photo.jpg")


def test_a_storage_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(storage, "REACH_S", 0.1)
    monkeypatch.setattr(storage, "_open", lambda address: (Silent(released), "x"))
    forget()
    try:
        with pytest.raises(SourceError, match="cannot be reached"):
            storage.list_files("s3://silent/x")
    finally:
        released.set()


class Silent:
    """A file system that answers when it is released."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def exists(self, path: str) -> bool:
        return self.released.wait()


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:secret@bucket/x.jpg",
        "https://me:secret@host/x.jpg",
        "zip://a::s3://k:secret@b/c.zip",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="must not hold a user name and a password") as caught:
        storage.storage_address(address)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://b/x.jpg", "s3://b/x.jpg"),
        (Path("s3://b/x.jpg"), "s3://b/x.jpg"),
        (Path("zip://a.jpg::s3://b/c.zip"), "zip://a.jpg::s3://b/c.zip"),
        ("zip://photos.zip", "zip://::photos.zip"),
        ("rtsp://camera/stream", None),
        ("photo.jpg", None),
        ("C:/photo.jpg", None),
        (None, None),
    ],
)
def test_addresses_are_told_from_paths(text: str | Path | None, address: str | None) -> None:
    assert storage.storage_address(text) == address


def test_without_the_packages_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    from mien import MissingExtraError

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match="reading s3:// addresses needs packages") as caught:
        storage.read_content("s3://bucket/x")
    assert "[cloud]" in caught.value.hint
