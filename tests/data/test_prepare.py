from __future__ import annotations

import csv
import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import load_dataset
from mien.data.drawn import draw_face
from mien.data.prepare import PrepareOptions, prepare
from mien.errors import DataError
from mien.files import WriteError
from mien.imaging.crop import crop_whole
from mien.labels import THREE

RNG = np.random.default_rng(0)
# Everyone is drawn once: two drawings of one person are so alike that they count as duplicates.
FACES = np.stack([crop_whole(draw_face(THREE[i % 3], RNG), 48) for i in range(60)])


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """60 drawn faces, of which the first two come twice, once under another label."""
    root = tmp_path / "faces"
    for i, face in enumerate(FACES):
        path = root / THREE[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(path)
    Image.fromarray(FACES[0]).save(root / "happy" / "again.png")
    Image.fromarray(FACES[1]).save(root / "sad" / "other.png")
    return root


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_import_finds_duplicates_splits_and_writes(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages: set[str] = set()
    made = prepare(folders, out, PrepareOptions(), lambda stage, done, total: stages.add(stage))
    dataset = load_dataset(out)
    assert len(dataset) == 62
    assert dataset.label_names == ("happy", "sad", "neutral")
    assert dataset.fingerprint == made.fingerprint
    assert set(dataset.splits_n.tolist()) == {"train", "validation"}
    by_source = {s: i for i, s in enumerate(dataset.sources_n.tolist())}
    again, first = by_source["happy/again.png"], by_source["happy/00.png"]
    assert dataset.groups_n[again] == dataset.groups_n[first]
    assert dataset.splits_n[again] == dataset.splits_n[first]
    conflicts = read_csv(out / "conflicts.csv")
    assert len(conflicts) == 2
    assert conflicts[1][1:] == ["neutral sad", "neutral/01.png sad/other.png"]
    assert dataset.facts["conflicting_groups"] == 1
    assert len(read_csv(out / "duplicates.csv")) >= 5
    assert read_csv(out / "skipped.csv") == [["source", "reason", "kind"]]
    assert stages == {"reading", "finding duplicates"}


def test_the_same_source_gives_the_same_dataset(folders: Path, tmp_path: Path) -> None:
    first = prepare(folders, tmp_path / "a", PrepareOptions(seed=3))
    second = prepare(folders, tmp_path / "b", PrepareOptions(seed=3))
    other = prepare(folders, tmp_path / "c", PrepareOptions(seed=4))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert np.array_equal(first.splits_n, second.splits_n)


def test_the_manifest_holds_what_the_documentation_says(folders: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    prepare(folders, tmp_path / "out", PrepareOptions())
    table = parquet.read_table(tmp_path / "out" / "manifest.parquet")
    assert table.column_names == [
        "source", "label", "subject", "source_split", "split", "group", "sha256", "phash",
        "source_width", "source_height", "face_box", "face_score", "face_landmarks",
    ]  # fmt: skip
    row = table.slice(0, 1).to_pylist()[0]
    assert (row["label"], len(row["sha256"]), len(row["phash"])) == ("happy", 64, 16)


@pytest.mark.skipif(sys.platform != "linux", reason="file names must be UTF-8 there")
def test_a_name_that_is_not_utf_8(folders: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    Image.fromarray(FACES[5]).save(folders / "happy" / name)
    (folders / "happy" / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    prepare(folders, tmp_path / "out", PrepareOptions())
    assert "happy/\\udcff.png" in load_dataset(tmp_path / "out").sources_n.tolist()
    assert "\\udcfe.png" in (tmp_path / "out" / "skipped.csv").read_text()


def test_one_class_only(tmp_path: Path) -> None:
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(FACES[i]).save(tmp_path / "faces" / "happy" / f"{i}.png")
    with pytest.raises(DataError, match="holds only the class 'happy'"):
        prepare(tmp_path / "faces", tmp_path / "out", PrepareOptions())
    assert not (tmp_path / "out").exists()


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    (tmp_path / "faces" / "happy" / "a.jpg").write_bytes(b"x")
    with pytest.raises(
        DataError,
        match=r"holds no labelled image: 1 image could not be read: happy/a.jpg \(is not",
    ):
        prepare(tmp_path / "faces", tmp_path / "out", PrepareOptions())


def test_an_existing_folder_is_not_overwritten(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folders, out, PrepareOptions())
    before = (out / "dataset.json").read_text()
    with pytest.raises(DataError) as caught:
        prepare(folders, out, PrepareOptions(seed=9))
    assert caught.value.message == f"{out} exists already"
    assert (out / "dataset.json").read_text() == before
    prepare(folders, out, PrepareOptions(seed=9, force=True))
    assert (out / "dataset.json").read_text() != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(DataError, match="is not a dataset of mien"):
        prepare(folders, tmp_path / "mine", PrepareOptions(force=True))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


@pytest.mark.parametrize("files", [0, 1, 2, 4])
def test_no_space_left_leaves_the_old_dataset_whole(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    out = tmp_path / "out"
    made = prepare(folders, out, PrepareOptions())
    written = 0

    def full(*_: object, **__: object) -> None:
        nonlocal written
        written += 1
        if written > files:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=f"cannot write {out}: No space left on device"):
        prepare(folders, out, PrepareOptions(seed=5, force=True))
    assert load_dataset(out).fingerprint == made.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces", "out"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("dataset.json", "{", "is damaged"),
        ("dataset.json", "[]", "was not written by mien"),
        ("dataset.json", '{"schema": 99}', "has dataset schema 99; this mien reads up to 1"),
        ("manifest.parquet", "x", "is damaged"),
        ("images.npy", "x", "is damaged"),
    ],
)
def test_a_damaged_dataset(
    folders: Path, tmp_path: Path, file: str, content: str, message: str
) -> None:
    prepare(folders, tmp_path / "out", PrepareOptions())
    (tmp_path / "out" / file).write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "out")


def test_rows_and_images_must_agree(folders: Path, tmp_path: Path) -> None:
    prepare(folders, tmp_path / "out", PrepareOptions())
    np.save(tmp_path / "out" / "images.npy", FACES)
    with pytest.raises(DataError, match="60 images, 62 rows"):
        load_dataset(tmp_path / "out")


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a dataset of mien"):
        load_dataset(tmp_path)


def test_splits_by_name(folders: Path, tmp_path: Path) -> None:
    dataset = prepare(folders, tmp_path / "out", PrepareOptions())
    assert len(dataset.split("train")) + len(dataset.split("validation")) == 62
    with pytest.raises(DataError) as caught:
        dataset.split("test")
    assert caught.value.message == "faces has no test split"
    assert caught.value.hint == "it has: train, validation"
    about = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert about["facts"]["alignment"] == "square-1"


def test_a_folder_with_the_facts_of_an_older_version(folders: Path, tmp_path: Path) -> None:
    made = prepare(folders, tmp_path / "out", PrepareOptions())
    file = tmp_path / "out" / "dataset.json"
    about = json.loads(file.read_text())
    facts = about["facts"]
    for new, old in (
        ("duplicate_images", "copied_pictures"), ("duplicate_groups", "copy_groups"),
        ("exact_duplicate_groups", "exact_groups"), ("near_duplicate_pairs", "near_pairs"),
        ("excluded_duplicates", "excluded_copies"),
    ):  # fmt: skip
        facts[old] = facts.pop(new)
    file.write_text(json.dumps(about))
    (tmp_path / "out" / "skipped.csv").unlink()
    assert load_dataset(tmp_path / "out").facts == made.facts
