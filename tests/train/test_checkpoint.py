from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from mien.errors import ModelFileError
from mien.files import WriteError
from mien.train.run.checkpoint import load_checkpoint, save_checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


def test_round_trip_and_replacement(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "last", TENSORS, {"epoch": 1})
    save_checkpoint(tmp_path, "last", {"a": TENSORS["a"] + 1}, {"epoch": 2, "note": "x"})
    tensors, state = load_checkpoint(tmp_path, "last")
    assert torch.equal(tensors["a"], TENSORS["a"] + 1)
    assert (state["epoch"], state["note"]) == (2, "x")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["last-0002.safetensors", "last.json"]


@pytest.mark.parametrize("written", ["safetensors", "json"])
def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    save_checkpoint(tmp_path, "last", TENSORS, {"epoch": 1})
    calls = 0

    def full(_: int) -> None:
        nonlocal calls
        calls += 1
        if written == "safetensors" or calls > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        save_checkpoint(tmp_path, "last", {"a": TENSORS["a"] + 1}, {"epoch": 2})
    monkeypatch.undo()
    tensors, state = load_checkpoint(tmp_path, "last")
    assert state["epoch"] == 1
    assert torch.equal(tensors["a"], TENSORS["a"])


def test_a_checkpoint_cut_short(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "last", TENSORS, {"epoch": 1})
    path = tmp_path / "last-0001.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="is damaged: .* do not match its SHA-256"):
        load_checkpoint(tmp_path, "last")
    path.unlink()
    with pytest.raises(ModelFileError, match="which cannot be read: No such file"):
        load_checkpoint(tmp_path, "last")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged"),
        ("{}", "was not written by mien"),
        (
            json.dumps({"schema": 9, "tensors": "", "sha256": "", "epoch": 1}),
            "has checkpoint schema 9",
        ),
    ],
)
def test_a_damaged_description(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "last.json").write_text(text)
    with pytest.raises(ModelFileError, match=message):
        load_checkpoint(tmp_path, "last")


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="last.json: no such file"):
        load_checkpoint(tmp_path, "last")
