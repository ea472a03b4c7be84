"""WebDataset's shards and Parquet with image bytes: labels, splits, and what is damaged."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import run_mien
from tests.data.test_source_contract import LABELS, add, encoded, webdataset

from mien.data.sources.registry import detect_format, read_source
from mien.errors import DataError


def shard(path: Path, labels: list[bytes], suffix: str = "cls") -> Path:
    with tarfile.open(path, "w") as archive:
        for row, label in enumerate(labels):
            add(archive, f"{row:02d}.png", encoded(row))
            add(archive, f"{row:02d}.{suffix}", label)
    return path


def test_splits_come_from_the_names_of_shards(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    shard(folder / "train-000000.tar", [b"happy", b"sad", b"happy"])
    shard(folder / "val-000000.tar", [b"sad"])
    data = read_source(folder)
    assert data.source_splits_n.tolist() == ["train"] * 3 + ["validation"]
    assert data.sources_n.tolist() == [
        "train-000000/00.png", "train-000000/01.png", "train-000000/02.png", "val-000000/00.png",
    ]  # fmt: skip
    assert data.name == "faces"


def test_numbers_are_named_by_classes_txt_or_fer2013s_seven(tmp_path: Path) -> None:
    path = shard(tmp_path / "faces.tar", [b"0", b"1", b"1"])
    assert read_source(path).label_names == ("angry", "disgust")
    (tmp_path / "classes.txt").write_text("glad\nblue\n")
    data = read_source(path)
    assert [data.label_names[i] for i in data.labels_n] == ["glad", "blue", "blue"]
    with pytest.raises(DataError, match="class 7 has no name") as caught:
        read_source(shard(path, [b"7"]))
    assert "classes.txt" in caught.value.hint


@pytest.mark.parametrize("end", [0.05, 0.3, 0.62, 0.9])
def test_a_tar_cut_short_anywhere_is_a_clear_error(end: float, tmp_path: Path) -> None:
    path = shard(tmp_path / "faces.tar", [LABELS[k % 3].encode() for k in range(8)])
    whole = path.read_bytes()
    # Of what is in it: tar pads the end with zeros.
    content = whole.rstrip(b"\0")
    path.write_bytes(whole[: int(len(content) * end)])
    with pytest.raises(DataError, match=r"faces.tar is cut short or damaged after \d+ files"):
        read_source(path)


def test_a_tar_cut_between_two_files_is_cut_short_too(tmp_path: Path) -> None:
    path = shard(tmp_path / "faces.tar", [b"happy", b"sad"])
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    for end in (last.offset, last.offset_data + 512):
        cut = tmp_path / f"cut-{end}.tar"
        cut.write_bytes(path.read_bytes()[:end])
        with pytest.raises(DataError, match="cut short"):
            read_source(cut)


def test_names_are_spelt_as_in_every_source(tmp_path: Path) -> None:
    data = read_source(shard(tmp_path / "faces.tar", [b"Happiness", b"sadness", b""], "txt"))
    assert data.label_names == ("happy", "sad")
    assert data.labels_n.tolist() == [0, 1, -1]


def test_the_hubs_layout_is_detected(tmp_path: Path) -> None:
    place = tmp_path / "hub" / "data"
    place.mkdir(parents=True)
    (tmp_path / "hub" / "README.md").write_text("a card")
    for split in ("train", "test"):
        table = pa.table({"image": [encoded(0), encoded(1)], "label": ["happy", "sad"]})
        pq.write_table(table, place / f"{split}-00000-of-00001.parquet")
    assert detect_format(tmp_path / "hub") == "parquet"
    data = read_source(tmp_path / "hub")
    assert sorted(data.source_splits_n.tolist()) == ["test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"picture": [b"x"], "label": [1]}, "has no column 'image'; its columns are"),
        ({"image": [b"x"], "label": [9]}, "row 0: class 9 has no name"),
        (b"PAR1 no", "is not a Parquet file, or it is damaged"),
    ],
)
def test_parquet_that_cannot_be_used_is_a_clear_error(
    content: dict[str, list[object]] | bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "faces.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    with pytest.raises(DataError, match=words) as caught:
        read_source(path)
    assert caught.value.hint


def test_a_shard_that_is_cut_short_leaves_no_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = webdataset(tmp_path).path
    last = folder / "faces-1.tar"
    last.write_bytes(last.read_bytes()[:3000])
    out = tmp_path / "out"
    code, _, err = run_mien(capsys, monkeypatch, "data", "import", folder, out)
    assert (code, out.exists()) == (1, False)
    assert f"error: {last} is cut short or damaged" in err
