"""Every way in which an import can lose images is reported, with a count and names."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import Dataset, load_dataset
from mien.data.drawn import draw_faces
from mien.data.prepare import PrepareOptions, prepare
from mien.data.sources.registry import read_source
from mien.data.sources.tables import FERPLUS_HEADER, read_votes
from mien.data.split import make_splits
from mien.errors import ConfigError, DataError

RNG = np.random.default_rng(5)
MIEN = str(Path(sys.executable).with_name("mien"))


def noise(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (48, 48)).astype(np.uint8)).save(path)
    return path


def classes(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            noise(root / name / f"{i}.png")
    return root


def notices(dataset: Dataset, kind: str) -> list[dict[str, object]]:
    return [w for w in dataset.facts["warnings"] if w["kind"] == kind]


def test_images_in_subfolders_belong_to_the_class(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", neutral=12)
    for i in range(12):
        noise(root / "happy" / f"S{i % 3}" / f"{i}.png")
    (root / "happy" / "again").symlink_to(root / "happy")  # a circle, which must not be followed
    data = read_source(root, "", None, 48)
    assert np.bincount(data.labels_n).tolist() == [12, 12]
    assert data.label_names == ("happy", "neutral")
    assert "happy/S1/1.png" in data.sources_n.tolist()


def test_splits_within_a_class_folder_are_read(tmp_path: Path) -> None:
    for i in range(4):
        noise(tmp_path / ("happy", "sad")[i % 2] / ("train", "test")[i // 2] / f"{i}.png")
    data = read_source(tmp_path, "", None, 48)
    assert sorted(zip(data.sources_n.tolist(), data.source_splits_n.tolist(), strict=True)) == [
        ("happy/test/2.png", "test"),
        ("happy/train/0.png", "train"),
        ("sad/test/3.png", "test"),
        ("sad/train/1.png", "train"),
    ]


def test_classes_below_folders_of_subjects_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "people"
    for person in ("anna", "ben"):
        classes(root / person, happy=2, sad=2)
    with pytest.raises(DataError, match=r"one level deeper: anna/happy|deeper: ben/happy") as e:
        read_source(root, "", None, 48)
    assert "CLASS/SUBJECT" in e.value.hint
    shutil.rmtree(root / "ben")
    with pytest.raises(DataError, match="one level deeper") as e:
        read_source(root, "", None, 48)
    assert e.value.hint == f"give {root / 'anna'}"


def test_each_kind_of_lost_file_is_counted_and_named(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", happy=12, sad=12)
    for i in range(5):
        (root / "happy" / f"torn{i}.jpg").write_bytes(b"\xff\xd8torn")
    (root / "happy" / "notes.txt").write_text("mine")
    noise(root / "loose.png")
    noise(root / "sad" / ".hidden.png")
    (root / "sad" / "gone.png").symlink_to(root / "nowhere.png")
    dataset = prepare(root, tmp_path / "out", PrepareOptions())
    about = {w["kind"]: w for w in dataset.facts["warnings"]}
    assert {kind: w["count"] for kind, w in about.items()} == {
        "missing": 1, "not-an-image": 1, "unreadable": 5, "outside-class": 1, "hidden": 1,
    }  # fmt: skip
    assert about["unreadable"]["examples"] == [f"happy/torn{i}.jpg" for i in range(3)]
    assert about["unreadable"]["message"].startswith("5 images could not be read: happy/torn0")
    assert about["unreadable"]["message"].endswith(" and 2 more")
    assert about["missing"]["message"] == "1 file was not found: sad/gone.png"
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 9
    assert load_dataset(tmp_path / "out").facts["warnings"] == dataset.facts["warnings"]


def test_animations_pages_and_a_jpeg_without_its_end_are_noted(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", happy=12, sad=12)
    frames = [Image.new("L", (48, 48), level) for level in (10, 200)]
    frames[0].save(root / "happy" / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(root / "happy" / "pages.tif", save_all=True, append_images=frames[1:])
    path = root / "sad" / "cut.jpg"
    Image.fromarray(RNG.integers(0, 255, (48, 48)).astype(np.uint8)).save(path)
    whole = path.read_bytes()
    assert whole.endswith(b"\xff\xd9")
    path.write_bytes(whole[:-2])
    dataset = prepare(root, tmp_path / "out", PrepareOptions())
    assert len(dataset) == 27
    assert notices(dataset, "animation")[0]["examples"] == [
        "happy/moving.gif",
        "happy/pages.tif",
    ]
    assert notices(dataset, "no-end-marker")[0]["examples"] == ["sad/cut.jpg"]


def test_classes_that_are_empty_rare_or_missing_from_a_split(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", neutral=60, happy=2, sad=0)
    dataset = prepare(root, tmp_path / "out", PrepareOptions())
    assert notices(dataset, "empty-class")[0]["message"] == "1 class has no image: sad"
    assert notices(dataset, "rare-class")[0]["examples"] == ["happy"]
    absent = notices(dataset, "split-without-class")
    assert [w["message"] for w in absent] == [
        "the validation split has no image of happy: metrics on it do not cover it"
    ]
    full = prepare(classes(tmp_path / "b", sad=40, happy=40), tmp_path / "c", PrepareOptions())
    assert full.facts["warnings"] == []


def test_a_class_whose_images_are_all_lost_is_named(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", neutral=20, happy=20, sad=0)
    (root / "sad" / "1.jpg").write_bytes(b"torn")
    dataset = prepare(root, tmp_path / "out", PrepareOptions())
    assert notices(dataset, "empty-class")[0]["examples"] == ["sad"]


def test_rows_without_a_label_are_reported(tmp_path: Path) -> None:
    lines = ["path,label"]
    for i in range(20):
        noise(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{('happy', 'sad')[i % 2] if i < 18 else ''}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    dataset = prepare(tmp_path / "list.csv", tmp_path / "out", PrepareOptions())
    assert notices(dataset, "unlabelled")[0]["message"] == (
        "2 images without a label were excluded: 18.png, 19.png"
    )


def test_paths_as_windows_writes_them(tmp_path: Path) -> None:
    lines = ["path,label"]
    for i in range(20):
        noise(tmp_path / "img" / f"{i}.png")
        lines.append(f"img\\{i}.png,{('happy', 'sad')[i % 2]}")
    (tmp_path / "list.csv").write_text("\r\n".join(lines), encoding="utf-16")
    data = read_source(tmp_path / "list.csv", "", None, 48)
    assert len(data) == 20
    assert not data.skipped


def test_a_list_of_files_that_are_not_there(tmp_path: Path) -> None:
    lines = ["path,label", *(f"img/{i}.png,{('happy', 'sad')[i % 2]}" for i in range(1234))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "list.csv", tmp_path / "out", PrepareOptions())
    assert caught.value.message.endswith(
        "1,234 files were not found: img/0.png, img/1.png, img/2.png and 1,231 more"
    )
    assert "relative to the folder of the list" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "columns"),
    [(f'3,"{" ".join(["128"] * 2304)}",Training', "emotion,pixels"), ("a/1.jpg,happy", "path")],
)
def test_a_table_without_its_header(tmp_path: Path, row: str, columns: str) -> None:
    (tmp_path / "a.csv").write_text(f"{row}\n" * 3)
    with pytest.raises(DataError, match="has no header line") as caught:
        read_source(tmp_path / "a.csv", "", None, 48)
    assert len(caught.value.message) - len(str(tmp_path)) < 120
    assert columns in caught.value.hint


def test_blank_lines_at_the_end_of_votes(tmp_path: Path) -> None:
    rows = [f"Training,fer{i}.png,1,9,0,0,0,0,0,0,0,0" for i in range(3)]
    text = "\n".join([",".join(FERPLUS_HEADER), *rows, "", "," * 11, "", ""])
    (tmp_path / "votes.csv").write_text(text)
    assert read_votes(tmp_path / "votes.csv", 3).shape == (3, 10)


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_an_archive_is_refused_with_a_hint(tmp_path: Path, form: str) -> None:
    classes(tmp_path / "faces", happy=2, sad=2)
    archive = Path(shutil.make_archive(str(tmp_path / "faces"), form, tmp_path / "faces"))
    with pytest.raises(DataError, match="is an archive") as caught:
        read_source(archive, "", None, 48)
    assert caught.value.hint.startswith("unpack it")


def test_training_images_that_are_all_graded_elsewhere(tmp_path: Path) -> None:
    classes(tmp_path / "faces" / "train", happy=3, sad=3)
    shutil.copytree(tmp_path / "faces" / "train", tmp_path / "faces" / "validation")
    with pytest.raises(
        DataError, match=r"all 6 training images are duplicates of images in validation: nothing"
    ):
        prepare(tmp_path / "faces", tmp_path / "out", PrepareOptions())


def test_folders_without_an_image(tmp_path: Path) -> None:
    classes(tmp_path / "faces", happy=0, sad=0)
    with pytest.raises(DataError, match="the class folders hold no images: happy, sad"):
        read_source(tmp_path / "faces", "", None, 48)
    noise(tmp_path / "loose" / "1.png")
    with pytest.raises(DataError, match="but 1 image outside of any"):
        read_source(tmp_path / "loose", "", None, 48)


# Two subjects, whose images are all alike: two groups that no split may divide.


def two_subjects(labels: list[int]) -> tuple[np.ndarray, ...]:
    groups = np.repeat([0, 1], 20)
    none = np.full(40, "")
    return np.array(labels), groups, none, none


def test_of_two_subjects_one_is_held_out_where_both_have_every_class() -> None:
    splits = make_splits(*two_subjects([0, 1] * 20))
    assert np.bincount(splits.splits_n == "validation").tolist() == [20, 20]
    assert [n.kind for n in splits.notices] == ["large-validation"]
    assert "15% of training requested, 50% held out" in splits.rule


def test_two_subjects_with_an_expression_each_get_a_hint() -> None:
    with pytest.raises(DataError, match="too few to hold 15% out") as caught:
        make_splits(*two_subjects([0] * 20 + [1] * 20))
    assert "validation to 0" in caught.value.hint
    splits = make_splits(*two_subjects([0] * 20 + [1] * 20), fraction=0)
    assert set(splits.splits_n.tolist()) == {"train"}
    assert [n.kind for n in splits.notices] == ["no-validation"]


def near_duplicates(root: Path) -> Path:
    """Two drawn faces, 20 images of each that differ in a few grey levels."""
    faces = draw_faces(12).images_nhw[[0, 8]]
    for i in range(40):
        name = ("happy", "sad")[i // 20]
        (root / name).mkdir(parents=True, exist_ok=True)
        noisy = faces[i // 20].astype(int) + RNG.integers(-3, 4, faces[0].shape)
        person = ("anna", "ben")[i // 20]
        image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        image.save(root / name / f"{person}_{i}.png")
    return root


def test_a_set_of_near_duplicates_can_be_imported_at_a_named_risk(tmp_path: Path) -> None:
    root = near_duplicates(tmp_path / "faces")
    with pytest.raises(DataError, match="40 images in 2 independent groups"):
        prepare(root, tmp_path / "a", PrepareOptions())
    assert "set duplicates to 'exact'" in hint_of(root, tmp_path, PrepareOptions())
    exact = prepare(root, tmp_path / "b", PrepareOptions(duplicates="exact"))
    assert len(exact.split("validation")) == 6
    assert "metrics on this dataset are too optimistic" in str(
        notices(exact, "near-duplicates-split")
    )
    assert len(set(exact.groups_n.tolist())) == 2  # they are still listed as duplicates
    none = prepare(root, tmp_path / "c", PrepareOptions(validation=0))
    assert "validation 0" in none.facts["split_rule"]
    with pytest.raises(DataError) as caught:
        none.split("validation")
    assert "validation above 0" in caught.value.hint
    with pytest.raises(ConfigError, match="duplicates: unknown value 'all'"):
        prepare(root, tmp_path / "d", PrepareOptions(duplicates="all"))


def hint_of(root: Path, folder: Path, options: PrepareOptions) -> str:
    with pytest.raises(DataError, match="too few to hold 15% out") as caught:
        prepare(root, folder / "refused", options)
    return caught.value.hint


def test_the_hint_names_no_way_that_was_taken_or_cannot_help(tmp_path: Path) -> None:
    root = near_duplicates(tmp_path / "faces")
    for duplicates in ("near", "exact"):
        options = PrepareOptions(subjects="filename", duplicates=duplicates)
        hint = hint_of(root, tmp_path, options)
        assert "leave subjects out, which lets one subject into both splits" in hint
        assert "'exact'" not in hint
    same = classes(tmp_path / "same", happy=0, sad=0)
    for name in ("happy", "sad"):
        for i in range(4):
            noise(same / name / f"{i}.png")
            (same / name / f"{i}.png").write_bytes((same / name / "0.png").read_bytes())
    hint = hint_of(same, tmp_path, PrepareOptions(duplicates="exact"))
    assert "'exact'" not in hint
    assert "set validation to 0" in hint


def test_subjects_by_file_and_folder(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    for i in range(24):
        person = f"p{i % 6}"
        noise(root / ("happy", "sad")[i % 2] / person / f"{person}_{i}.png")
    for way in ("filename", "folder"):
        out = prepare(root, tmp_path / way, PrepareOptions(subjects=way, validation=0.2))
        assert sorted(set(out.subjects_n.tolist())) == [f"p{i}" for i in range(6)]
        held = set(out.split("validation").subjects_n.tolist())
        assert held
        assert not held & set(out.split("train").subjects_n.tolist())
        assert notices(out, "subjects-by-name")[0]["count"] == 6
    with pytest.raises(ConfigError, match="subjects: unknown value 'file'"):
        prepare(root, tmp_path / "no", PrepareOptions(subjects="file"))
    flat = classes(tmp_path / "flat", happy=4, sad=4)
    with pytest.raises(ConfigError, match="subjects: found 0 by folder"):
        prepare(flat, tmp_path / "no", PrepareOptions(subjects="folder"))


def test_the_command_line_warns_in_words_and_in_json(tmp_path: Path) -> None:
    root = classes(tmp_path / "faces", neutral=30, happy=2, sad=0)
    noise(root / "loose.png")
    done = subprocess.run(
        [MIEN, "data", "import", str(root), str(tmp_path / "out"), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    warnings = json.loads(done.stdout)["warnings"]
    assert {w["kind"] for w in warnings} == {
        "outside-class", "empty-class", "rare-class", "split-without-class",
    }  # fmt: skip
    assert [f"warning: {w['message']}" for w in warnings] == done.stderr.splitlines()


def test_training_without_validation_is_refused_before_anything_is_computed(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    root = near_duplicates(tmp_path / "faces")
    prepare(root, tmp_path / "data", PrepareOptions(validation=0))
    done = subprocess.run(
        [MIEN, "train", "poster", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"),
         "--set", "optimizer.lr=auto"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: faces has no validation split\nhint: it has: train; ")
    assert "validation above 0, such as 0.15" in done.stderr
    assert not (tmp_path / "run").exists()
