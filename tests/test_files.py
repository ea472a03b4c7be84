from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from mien.errors import DataError, SourceError
from mien.files import (
    JsonKind,
    WriteError,
    atomic_write,
    near_file,
    read_json,
    read_schema_json,
    sha256,
    sha256_file,
    write_json,
    write_text,
)
from tests.conftest import not_root


def test_a_name_is_not_meant_for_itself(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    assert near_file(tmp_path / "rows") == ""
    assert "'" + str(tmp_path / "rows") + "'" in near_file(tmp_path / "row")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_left_is_a_clear_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError) as caught:
        write_json(path, {"n": 2})
    assert caught.value.message == f"cannot write {path}: No space left on device"
    assert "free some space" in caught.value.hint
    assert read_json(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "words")
        assert os.read(reader, 100) == b"words"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_keeps_leading_where_it_led(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    write_text(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match="Too many levels of symbolic links"):
        write_text(tmp_path / "a", "x")


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with not_root(), pytest.raises(WriteError, match="Permission denied") as caught:
        write_text(tmp_path / "a.txt", "x")
    assert caught.value.hint == "choose a folder that you may write to"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_limit_on_the_size_of_files_leaves_the_old_one(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "a.txt"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(WriteError, match="File too large") as caught:
            write_text(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "ulimit -f" in caught.value.hint
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_any_text_can_be_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "\udcff \U0001f642"})
    assert read_json(tmp_path / "a.json") == {"name": "\udcff \U0001f642"}


def test_new_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "ours.json", {})
    (tmp_path / "theirs.json").write_text("{}")
    assert (tmp_path / "ours.json").stat().st_mode == (tmp_path / "theirs.json").stat().st_mode


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SourceError, match="is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(SourceError, match="No such file"):
        read_json(tmp_path / "b.json")


def test_hashes_agree(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc") == sha256_file(tmp_path / "a") == known


SHELF = JsonKind(
    noun="shelf",
    newest=2,
    required=("books",),
    error=DataError,
    if_missing="buy one",
    if_damaged="restore it",
)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (None, "PLACE is not a shelf of mien: it has no a.json", "buy one"),
        ("{", "PLACE/a.json is damaged: ", "restore it"),
        ("\xff", "PLACE/a.json is damaged: ", "restore it"),
        ("[]", "PLACE/a.json was not written by mien: no schema version", "check the path"),
        ('{"schema": "1"}', "was not written by mien: no schema version", "check the path"),
        ('{"schema": 1}', "was not written by mien: no key 'books'", "check the path"),
        ('{"schema": 3}', "PLACE has shelf schema 3; this mien reads up to 2", "upgrade mien: "),
    ],
)
def test_json_with_a_schema_is_refused(
    tmp_path: Path, text: str | None, message: str, hint: str
) -> None:
    if text is not None:
        (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_schema_json(tmp_path / "a.json", SHELF, shown=tmp_path)
    assert message.replace("PLACE", str(tmp_path)) in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_json_with_a_schema_is_read(tmp_path: Path) -> None:
    for schema in (1, 2):
        write_json(tmp_path / "a.json", {"schema": schema, "books": []})
        values = read_schema_json(tmp_path / "a.json", SHELF)
        assert values == {"schema": schema, "books": []}
