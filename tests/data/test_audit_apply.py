from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.audit.apply import apply_table
from mien.data.dataset import Dataset, load_dataset
from mien.data.drawn import draw_faces
from mien.data.duplicates import pixel_hashes
from mien.errors import DataError

HEADER = "source,sha256,label,check,severity,detail,action,new_label"


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return draw_faces(24, seed=5)


def table(tmp_path: Path, faces: Dataset, *edits: tuple[int, str, str]) -> Path:
    hashes = pixel_hashes(faces.images_nhw)
    lines = [
        f"{faces.sources_n[row]},{hashes[row]},,conflict,note,why,{action},{new}"
        for row, action, new in edits
    ]
    path = tmp_path / "audit.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def test_rows_are_dropped_relabelled_and_kept(tmp_path: Path, faces: Dataset) -> None:
    path = table(
        tmp_path, faces, (0, "drop", ""), (1, "relabel", "Happiness"), (2, "keep", "sad"),
        (3, "Relabel ", "sad"), (3, "drop", ""),
    )  # fmt: skip
    edited, counts = apply_table(faces, path)
    assert counts == {"audit_dropped": 2, "audit_relabelled": 1}
    assert edited.sources_n.tolist() == [
        s for i, s in enumerate(faces.sources_n) if i not in (0, 3)
    ]
    assert edited.label_names[edited.labels_n[0]] == "happy"
    assert edited.labels_n[1] == faces.labels_n[2]
    again, same = apply_table(faces, path)
    assert same == counts
    assert np.array_equal(again.labels_n, edited.labels_n)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_as_spreadsheets_write_it(tmp_path: Path, faces: Dataset, mark: str) -> None:
    path = table(tmp_path, faces, (0, "drop", ""), (1, "relabel", "sad"))
    path.write_text("\ufeff" + path.read_text(encoding="utf-8").replace(",", mark), "utf-8")
    _, counts = apply_table(faces, path)
    assert counts == {"audit_dropped": 1, "audit_relabelled": int(faces.labels_n[1] != 2)}


def test_a_table_that_changes_nothing(tmp_path: Path, faces: Dataset) -> None:
    edited, counts = apply_table(faces, table(tmp_path, faces, (0, "keep", "")))
    assert counts == {"audit_dropped": 0, "audit_relabelled": 0}
    assert len(edited) == len(faces)


@pytest.mark.parametrize(
    ("edit", "words", "hint"),
    [
        ((0, "delete", ""), "line 2: unknown action 'delete'", "keep, drop, relabel"),
        ((0, "relable", "sad"), "unknown action 'relable'", "did you mean 'relabel'?"),
        (
            (0, "relabel", "hapy"),
            "new_label 'hapy' is not a label of drawn",
            "did you mean 'happy'?",
        ),
        (
            (0, "relabel", ""),
            "new_label '' is not a label of drawn",
            "allowed: happy, neutral, sad",
        ),
    ],
)
def test_mistakes_in_a_table(
    tmp_path: Path, faces: Dataset, edit: tuple[int, str, str], words: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        apply_table(faces, table(tmp_path, faces, edit))
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_two_new_labels_for_one_image(tmp_path: Path, faces: Dataset) -> None:
    path = table(tmp_path, faces, (0, "relabel", "sad"), (0, "relabel", "neutral"))
    with pytest.raises(DataError, match="relabelled sad in line 2 and neutral in line 3"):
        apply_table(faces, path)


def test_images_that_are_gone_or_changed_are_listed(tmp_path: Path, faces: Dataset) -> None:
    path = table(tmp_path, faces, (0, "drop", ""), (1, "drop", ""))
    text = path.read_text(encoding="utf-8").replace("drawn#5/0,", "elsewhere,")
    changed = pixel_hashes(faces.images_nhw)[1]
    path.write_text(text.replace(changed, "0" * 64), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        apply_table(faces, path)
    assert "elsewhere (not in the source)" in caught.value.message
    assert "drawn#5/1 (its pixels differ)" in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"source,sha256,acton,new_label\n", "no column 'action'"),
        (b"", "no column 'source'"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_files_that_are_no_table(
    tmp_path: Path, faces: Dataset, content: bytes, words: str
) -> None:
    path = tmp_path / "audit.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        apply_table(faces, path)
    with pytest.raises(DataError, match="cannot read"):
        apply_table(faces, tmp_path / "none.csv")


def mien(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("mien")), "data", *arguments],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path, faces: Dataset) -> Path:
    """Class folders of drawn faces, a black image, a text file, a duplicate under two names."""
    for row, image in enumerate(faces.images_nhw):
        folder = tmp_path / "faces" / faces.label_names[faces.labels_n[row]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02}.png")
    happy, sad = tmp_path / "faces" / "happy", tmp_path / "faces" / "sad"
    Image.new("L", (48, 48)).save(happy / "black.png")
    (happy / "notes.txt").write_text("not an image")
    (sad / "duplicate.png").write_bytes((happy / "00.png").read_bytes())
    return tmp_path


def test_audit_edit_apply(folders: Path) -> None:
    done = mien(folders, "audit", "faces", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["counts"]["blank"] == about["counts"]["unreadable"] == 1
    assert about["counts"]["exact-duplicate"] == 1
    assert about["counts"]["conflict"] >= 2
    assert json.loads((folders / "faces-audit/audit.json").read_text()) == about
    assert "<title>Audit of faces" in (folders / "faces-audit/audit.html").read_text()
    assert not (folders / "faces" / "audit").exists(), "nothing is written into the user's source"

    edited = folders / "faces-audit" / "audit.csv"
    with edited.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["source"] == "sad/duplicate.png" and row["check"] == "conflict":
            row["action"], row["new_label"] = "relabel", "happy"
    with edited.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert mien(folders, "import", "faces", "plain").returncode == 0
    for out in ("edited", "again"):
        done = mien(folders, "import", "faces", out, "--apply", str(edited))
        assert done.returncode == 0, done.stderr
        assert "audit applied: 1 images dropped, 1 relabelled" in done.stdout
    plain, applied, again = (load_dataset(folders / d) for d in ("plain", "edited", "again"))
    assert len(plain) - len(applied) == 1
    position = applied.sources_n.tolist().index("sad/duplicate.png")
    assert applied.label_names[applied.labels_n[position]] == "happy"
    assert applied.fingerprint == again.fingerprint != plain.fingerprint

    done = mien(folders, "audit", "edited")
    assert done.returncode == 0, done.stderr
    assert "this dataset, 0.0% of validation" in done.stdout
    assert (folders / "edited" / "audit" / "audit.csv").exists()


def test_folders_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("happy", "sad"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "a.jpg").write_text("no image")
    (tmp_path / "one.txt").write_text("no collection")
    for source, words in (
        ("empty", "holds no class folders"),
        ("texts", "none of the 2 files in texts is an image"),
        ("missing", "missing does not exist"),
        ("one.txt", "one.txt"),
    ):
        done = mien(tmp_path, "audit", source)
        assert done.returncode == 1, source
        assert "Traceback" not in done.stderr
        assert words in done.stderr
        assert "hint: " in done.stderr
        assert done.stdout == ""
        assert not list(tmp_path.glob("*-audit"))
