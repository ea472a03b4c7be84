"""What a model's name stands for."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mien.errors import ModelFileError
from mien.model.resolve import model_content, resolve, shipped_models


def test_every_shipped_model_goes_by_its_name() -> None:
    for name in shipped_models():
        source = resolve(name)
        assert (source.kind, source.path) == ("shipped", None)
        assert source.read()[:1] == b"\x08"  # a protobuf whose first field is the IR version
        assert resolve(Path(name)) == source
    assert resolve() == resolve("mien-small")


def test_files_and_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mien-tiny").write_bytes(b"x")
    Path("mien-base").mkdir()
    assert resolve("mien-tiny").read() == b"x"
    assert resolve("mien-tiny").kind == "file"
    assert resolve("mien-base").is_run
    assert resolve("mien-small").kind == "shipped"


def test_a_run_folder_has_no_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder, not an ONNX file") as caught:
        model_content(tmp_path)
    assert "mien export" in caught.value.hint


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("https://example.org/m.onnx", "https://example.org/m.onnx"),
        (Path("https://example.org/m.onnx"), "https://example.org/m.onnx"),
        ("s3://bucket/m.onnx", "s3://bucket/m.onnx"),
    ],
)
def test_addresses_are_known_and_refused(spec: str | Path, shown: str) -> None:
    with pytest.raises(ModelFileError, match=f"^{shown} is an address") as caught:
        resolve(spec)
    assert "download the file first" in caught.value.hint


@pytest.mark.parametrize("spec", ["none.onnx", "mien-smal", "x" * 400, "a\0b", ""])
def test_what_is_not_there(spec: str) -> None:
    with pytest.raises(ModelFileError, match="there is no model") as caught:
        resolve(spec)
    assert "mien-small" in caught.value.hint


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    with pytest.raises(ModelFileError, match="is empty"):
        resolve(path).read()


def test_sources_can_be_sent_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(resolve())) == resolve()  # noqa: S301
