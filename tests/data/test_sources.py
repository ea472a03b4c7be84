from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import not_root

from mien.data.drawn import draw_faces
from mien.data.sources.registry import SOURCES, detect_format, read_source
from mien.data.sources.tables import FERPLUS_HEADER
from mien.errors import ConfigError, DataError

FACES = draw_faces(24).images_nhw


def save(path: Path, index: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(FACES[index]).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for i in range(12):
        save(tmp_path / "faces" / ("Happy", "sadness")[i % 2] / f"{i}.png", i)
    return tmp_path / "faces"


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    lines = ["path,label,split,subject"]
    for i in range(6):
        save(tmp_path / "images" / f"{i}.png", i)
        split = ("train", "train", "test")[i % 3]
        lines.append(f"images/{i}.png,{'happy' if i < 3 else 'sad'},{split},person {i % 2}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv"


@pytest.fixture
def fer(tmp_path: Path) -> Path:
    lines = ["emotion,pixels,Usage"]
    for i, usage in enumerate(["Training", "Training", "PublicTest", "PrivateTest"]):
        lines.append(f"{(3, 4, 6, 3)[i]},{' '.join(map(str, FACES[i].ravel()))},{usage}")
    (tmp_path / "fer2013.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "fer2013.csv"


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    lines = [",".join(FERPLUS_HEADER)]
    lines += [f"Training,fer{i}.png,{i},{10 - i},0,0,0,0,0,0,0,0" for i in range(4)]
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "votes.csv"


def arrays(tmp_path: Path, **changes: object) -> Path:
    values: dict[str, object] = {"images": FACES[:4], "labels": np.array([3, 4, 6, 3], np.int8)}
    values = {k: v for k, v in {**values, **changes}.items() if v is not None}
    np.savez(tmp_path / "faces.npz", **values)  # type: ignore[arg-type]
    return tmp_path / "faces.npz"


def test_class_folders(folders: Path) -> None:
    data = read_source(folders, "", None, 48)
    assert data.label_names == ("happy", "sad")
    assert np.bincount(data.labels_n).tolist() == [6, 6]
    assert data.sources_n[0] == "Happy/0.png"
    assert np.array_equal(data.images_nhw[0], FACES[0])
    assert set(data.source_splits_n.tolist()) == {""}


def test_kaggle_folders_keep_their_splits(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / ("train", "test")[i % 2] / ("happy", "neutral")[i // 4] / f"{i}.png", i)
    data = read_source(tmp_path, "", None, 48)
    assert data.label_names == ("happy", "neutral")
    assert sorted(set(data.source_splits_n.tolist())) == ["test", "train"]
    assert data.sources_n[0] == "test/happy/1.png"


def test_an_unreadable_image_is_listed_and_the_rest_is_read(folders: Path) -> None:
    (folders / "Happy" / "broken.jpg").write_bytes(b"no image")
    (folders / "Happy" / ".hidden").write_bytes(b"")
    data = read_source(folders, "", None, 48)
    assert len(data) == 12
    assert [s.source for s in data.skipped] == ["Happy/broken.jpg"]
    assert "is not an image" in data.skipped[0].reason


def test_list(listing: Path) -> None:
    data = read_source(listing, "", None, 48)
    assert data.labels_n.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.source_splits_n.tolist() == ["train", "train", "test"] * 2
    assert data.subjects_n.tolist() == ["person 0", "person 1"] * 3
    assert np.array_equal(data.images_nhw[5], FACES[5])


def test_list_without_targets_for_the_test_set(listing: Path) -> None:
    text = listing.read_text().replace("2.png,happy", "2.png,")
    listing.write_text(text)
    assert read_source(listing, "", None, 48).labels_n.tolist() == [0, 0, -1, 1, 1, 1]


def test_fer2013(fer: Path) -> None:
    data = read_source(fer, "", None, 48)
    assert data.label_names == ("happy", "sad", "neutral")
    assert data.labels_n.tolist() == [0, 1, 2, 0]
    assert data.source_splits_n.tolist() == ["train", "train", "validation", "test"]
    assert np.array_equal(data.images_nhw, FACES[:4])
    assert data.sources_n[1] == "fer2013.csv#1"


def test_ferplus_votes_are_joined_by_row(fer: Path, votes: Path) -> None:
    data = read_source(fer, "", votes, 48)
    assert data.votes_nk is not None
    assert data.vote_names[:2] == ("neutral", "happy")
    assert data.votes_nk[:, :2].tolist() == [[0, 10], [1, 9], [2, 8], [3, 7]]


def test_arrays(tmp_path: Path) -> None:
    path = arrays(tmp_path, usage=np.array([0, 0, 1, 2]), votes=np.ones((4, 10), np.int8))
    data = read_source(path, "", None, 48)
    assert data.labels_n.tolist() == [3, 4, 6, 3]
    assert data.label_names[3] == "happy"
    assert data.source_splits_n.tolist() == ["train", "train", "validation", "test"]
    assert data.vote_names[1] == "happy"
    assert data.sources_n[2] == "faces.npz#2"


def test_arrays_with_names_of_their_own(tmp_path: Path) -> None:
    path = arrays(
        tmp_path,
        labels=np.array([0, 1, 0, -1]),
        label_names=np.array(["Sadness", "smirk"]),
        usage=np.array(["train", "val", "train", "test"]),
        subjects=np.array(["a", "b", "a", "c"]),
        names=np.array(["1", "2", "3", "4"]),
    )
    data = read_source(path, "arrays", None, 32)
    assert data.label_names == ("sad", "smirk")
    assert data.source_splits_n.tolist() == ["train", "validation", "train", "test"]
    assert data.subjects_n.tolist() == ["a", "b", "a", "c"]
    assert data.images_nhw.shape == (4, 32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "has no array 'labels'; it has: images"),
        ({"images": FACES[:4, :, :40]}, r"images must be uint8 \[n, size, size\]"),
        ({"images": FACES[:4].astype(float)}, "got float64"),
        ({"labels": np.array([3, 4, 6])}, "labels has 3 rows, images has 4"),
        ({"labels": np.array([3, 4, 7, 3])}, "row 2 has label 7, outside 0 to 6"),
        ({"labels": np.array([3.0, 4, 6, 3])}, "labels must be integers"),
        (
            {"votes": np.ones((4, 9))},
            r"votes must be finite numbers \[n, 10\], .* got float64 \[4, 9\]",
        ),
        ({"votes": -np.ones((4, 10))}, "at least 0, got float64"),
        ({"votes": np.full((4, 10), np.nan)}, "votes must be finite numbers"),
        ({"votes": np.full((4, 10), "a")}, "votes must be finite numbers"),
        ({"images": np.array(3)}, r"images must be uint8 \[n, size, size\], got int64 \[\]"),
        ({"labels": np.array(3)}, r"labels must have 1 axes, got shape \[\]"),
        ({"label_names": np.array("happy")}, "label_names must have 1 axes"),
        ({"usage": np.zeros((4, 2), str)}, r"usage must have 1 axes, got shape \[4, 2\]"),
        ({"subjects": np.zeros((4, 2))}, "subjects must have 1 axes"),
        ({"usage": np.array([0, 0, 1, 5])}, "row 3 has usage 5, outside 0 to 2"),
        ({"usage": np.array(["a"] * 4)}, "unknown split 'a'"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(arrays(tmp_path, **changes), "", None, 48)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FACES)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npy").read_bytes())
    with pytest.raises(
        DataError, match="as a NumPy .npz file: not a zip archive, or truncated"
    ) as caught:
        read_source(tmp_path / "a.npz", "", None, 48)
    assert "unsafely" not in caught.value.message  # NumPy's advice to unpickle is not passed on
    np.savez_compressed(tmp_path / "b.npz", images=FACES, labels=np.zeros(24, int))
    content = bytearray((tmp_path / "b.npz").read_bytes())
    content[3000:3100] = bytes(100)
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot read .* as a NumPy .npz file"):
        read_source(tmp_path / "b.npz", "", None, 48)


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([object()]), labels=np.array([0]))
    with pytest.raises(DataError, match="cannot read .* as a NumPy .npz file") as caught:
        read_source(tmp_path / "a.npz", "", None, 48)
    assert "unsafely" not in caught.value.message  # NumPy's advice is not passed on


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("emotion,pixels,Usage", "emotion,pixel,Usage", "no column 'path'|no column 'pixels'"),
        ("emotion,pixels", "emotoin,pixels", "has an unknown column 'emotoin'"),
        ("pixels,Usage", "pixels,useage", "has an unknown column 'useage'"),
        ("PublicTest", "Publictset", "line 4: unknown split 'Publictset'"),
        ("\n4,", "\n9,", "line 3: unknown label '9'"),
        ("\n4,", "\nsad,", "line 3: unknown label 'sad'"),
        ("\n4,", "\n²,", "line 3: unknown label '²'"),
        ("emotion,pixels,Usage", "emotion,pixels,pixels", "has two columns 'pixels'"),
        ("\n4,", "\n4,7 ", "line 3: 2305 pixels, expected 2304"),
        ("\n4,", "\n4,999 ", "line 3: the pixels are not grey levels"),
        ("\n4,", "\n4,x ", "line 3: the pixels are not grey levels"),
        ("\n4,", "\n4,1,", "line 3: 4 cells under 3 columns"),
    ],
)
def test_fer2013_mistakes_name_the_line(fer: Path, old: str, new: str, message: str) -> None:
    fer.write_text(fer.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_source(fer, "", None, 48)


def test_a_cut_first_row_is_the_one_that_is_blamed(fer: Path) -> None:
    lines = fer.read_text().splitlines()
    emotion, pixels, usage = lines[1].split(",")
    lines[1] = f"{emotion},{' '.join(pixels.split()[:2000])},{usage}"
    fer.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"line 2: 2000 pixels, expected 2304 \(48 x 48\)"):
        read_source(fer, "", None, 48)


def test_a_wrong_column_is_answered(fer: Path) -> None:
    fer.write_text(fer.read_text().replace("pixels", "pixel"))
    with pytest.raises(DataError) as caught:
        read_source(fer, "fer2013", None, 48)
    assert "did you mean 'pixel'?" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("happiness", "joy", "is not FERPlus's vote file"),
        ("fer3.png,3,7", "fer3.png,3,-7", "line 5: expected 10 counts"),
        ("fer3.png,3,7", "fer3.png,3,²", "line 5: expected 10 counts"),
        ("fer3.png,3,7,0", "fer3.png,3,7", "line 5: expected 10 counts"),
        ("Training,fer3.png,3,7,0,0,0,0,0,0,0,0\n", "", "votes on 3 images, the source has 4"),
    ],
)
def test_votes_that_do_not_fit(fer: Path, votes: Path, old: str, new: str, message: str) -> None:
    votes.write_text(votes.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_source(fer, "", votes, 48)


def test_votes_need_rows_in_an_order(folders: Path, votes: Path) -> None:
    with pytest.raises(ConfigError, match="joined by row"):
        read_source(folders, "", votes, 48)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path,label", "file,label", "has no column 'path'"),
        (",subject", ",subjects", "has an unknown column 'subjects'"),
        (",split,", ",slpit,", "has an unknown column 'slpit'"),
        ("images/1.png,", ",", "line 3: the path is empty"),
        (",test,", ",tset,", "line 4: unknown split 'tset'"),
        ("1.png,happy", "1.png,hapy", "line 3: unknown label 'hapy'"),
        ("path,label,split,subject", "path,label,split,label", "has two columns 'label'"),
    ],
)
def test_list_mistakes(listing: Path, old: str, new: str, message: str) -> None:
    listing.write_text(listing.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_source(listing, "", None, 48)


def test_a_folder_that_may_not_be_read(folders: Path) -> None:
    (folders / "Happy").chmod(0)
    with not_root(), pytest.raises(DataError, match="cannot read .*: Permission denied"):
        read_source(folders, "", None, 48)


def test_misspelt_classes_are_answered_and_others_are_kept(folders: Path) -> None:
    (folders / "sadness").rename(folders / "daydreaming")
    assert read_source(folders, "", None, 48).label_names == ("happy", "daydreaming")
    (folders / "daydreaming").rename(folders / "neutrall")
    with pytest.raises(DataError, match="neutrall: unknown label 'neutrall'") as caught:
        read_source(folders, "", None, 48)
    assert caught.value.hint.startswith("did you mean 'neutral'?")


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_as_spreadsheets_write_them(listing: Path, mark: str, end: str) -> None:
    expected = read_source(listing, "", None, 48)
    text = "\ufeff" + listing.read_text().replace(",", mark).replace("\n", end)
    listing.write_bytes(text.encode())
    data = read_source(listing, "", None, 48)
    assert np.array_equal(data.images_nhw, expected.images_nhw)
    assert data.labels_n.tolist() == expected.labels_n.tolist()
    assert data.subjects_n.tolist() == expected.subjects_n.tolist()


def test_odd_names_in_a_table_are_listed(listing: Path) -> None:
    rows = ["a\0b.png,happy,train,x", f"{'a' * 300}.png,sad,train,x", "images,sad,train,x"]
    listing.write_text("\n".join([listing.read_text(), *rows]))
    data = read_source(listing, "", None, 48)
    assert len(data) == 6
    reasons = [s.reason for s in data.skipped]
    for reason, words in zip(reasons, ["null byte", "name too long", "directory"], strict=True):
        assert words in reason


def test_list_with_a_missing_image_lists_it(listing: Path) -> None:
    listing.write_text(listing.read_text().replace("images/1.png", "images/none.png"))
    data = read_source(listing, "", None, 48)
    assert len(data) == 5
    assert "No such file" in data.skipped[0].reason


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_source(tmp_path / "none", "", None, 48)
    with pytest.raises(DataError, match="holds no class folders with images"):
        read_source(tmp_path, "", None, 48)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match=r"a.csv is empty"):
        read_source(tmp_path / "a.csv", "", None, 48)
    (tmp_path / "b.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="has no rows"):
        read_source(tmp_path / "b.csv", "", None, 48)
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not a CSV file in UTF-8"):
        read_source(tmp_path / "c.csv", "", None, 48)
    (tmp_path / "d.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot read"):
        read_source(tmp_path / "d.npz", "", None, 48)
    (tmp_path / "e.zip").write_bytes(b"")
    with pytest.raises(DataError, match="is an archive, which cannot be read"):
        detect_format(tmp_path / "e.zip")


def test_unknown_form_and_size(folders: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_source(folders, "folder", None, 48)
    assert "did you mean 'folders'?" in caught.value.hint
    assert set(SOURCES) == {"folders", "list", "fer2013", "arrays", "webdataset", "parquet"}
    with pytest.raises(ConfigError, match="size: 4 is out of range 8 to 1024"):
        read_source(folders, "", None, 4)
    with pytest.raises(ConfigError, match="size: 4 is out of range 8 to 1024"):
        draw_faces(24, size=4)
