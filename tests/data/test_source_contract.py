"""What every registered data source must do; a new source needs an example here to pass."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.data.build import split_dataset, write_dataset
from mien.data.dataset import Dataset, load_dataset
from mien.data.drawn import draw_faces
from mien.data.duplicates import Duplicates
from mien.data.notices import KINDS
from mien.data.sources.registry import SOURCES, ImageSource, detect_format, read_source
from mien.data.split import make_splits
from mien.errors import MienError
from mien.labels import SEVEN

FACES = draw_faces(12).images_nhw
LABELS = ("happy", "sad", "neutral")


@dataclass(frozen=True)
class Example:
    """A source of twelve faces; `skipped` are names of further files that cannot be used."""

    path: Path
    skipped: tuple[str, ...] = ()


def save(path: Path, row: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(FACES[row]).save(path)


def folders(place: Path) -> Example:
    for row in range(12):
        save(place / "faces" / LABELS[row % 3] / f"{row:02d}.png", row)
    (place / "faces" / "sad" / "torn.jpg").write_bytes(b"\xff\xd8torn")
    (place / "faces" / "sad" / "notes.txt").write_text("mine")
    save(place / "faces" / "loose.png", 0)
    return Example(place / "faces", ("sad/torn.jpg", "sad/notes.txt", "loose.png"))


def listing(place: Path) -> Example:
    lines = ["path,label", "gone.png,sad"]
    for row in range(12):
        save(place / f"{row:02d}.png", row)
        lines.append(f"{row:02d}.png,{LABELS[row % 3]}")
    (place / "list.csv").write_text("\n".join(lines))
    return Example(place / "list.csv", ("gone.png",))


def fer2013(place: Path) -> Example:
    lines = ["emotion,pixels,Usage"]
    for row, face in enumerate(FACES):
        label = SEVEN.index(LABELS[row % 3])
        lines.append(f"{label},{' '.join(map(str, face.ravel()))},Training")
    (place / "fer2013.csv").write_text("\n".join(lines))
    return Example(place / "fer2013.csv")


def arrays(place: Path) -> Example:
    labels = np.array([SEVEN.index(LABELS[row % 3]) for row in range(12)])
    np.savez(place / "faces.npz", images=FACES, labels=labels)
    return Example(place / "faces.npz")


def encoded(row: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(FACES[row]).save(out, "PNG")
    return out.getvalue()


def webdataset(place: Path) -> Example:
    shards = place / "faces"
    shards.mkdir()
    for shard in range(2):
        with tarfile.open(shards / f"faces-{shard}.tar", "w") as archive:
            for row in range(6 * shard, 6 * shard + 6):
                label = LABELS[row % 3]
                own = {
                    0: {"cls": label.encode()},
                    1: {"json": json.dumps({"label": label}).encode()},
                    2: {"txt": str(SEVEN.index(label)).encode()},
                }[row % 3]
                for suffix, content in {"png": encoded(row), **own}.items():
                    add(archive, f"{row:02d}.{suffix}", content)
            if shard:
                add(archive, "torn.jpg", b"\xff\xd8torn")
                add(archive, "torn.cls", b"sad")
                add(archive, "lonely.cls", b"sad")
    return Example(shards, ("faces-1/torn.jpg", "faces-1/lonely"))


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def parquet(place: Path) -> Example:
    images: list[dict[str, object]] = [
        {"bytes": encoded(row), "path": f"{row}.png"} for row in range(12)
    ]
    images += [{"bytes": b"\xff\xd8torn", "path": "torn.jpg"}, {"bytes": None, "path": "gone.jpg"}]
    names = ["sad", "happy", "neutral"]
    labels = [names.index(LABELS[row % 3]) for row in range(12)] + [0, 0]
    table = pa.table({"image": images, "label": labels})
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), place / "faces.parquet")
    return Example(place / "faces.parquet", ("faces/000012-torn.jpg", "faces/000013-gone.jpg"))


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "folders": folders,
    "list": listing,
    "fer2013": fer2013,
    "arrays": arrays,
    "webdataset": webdataset,
    "parquet": parquet,
}


@pytest.fixture(params=sorted(SOURCES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def example(name: str, tmp_path: Path) -> Example:
    assert name in EXAMPLES, f"add an example of the source {name!r} to EXAMPLES"
    return EXAMPLES[name](tmp_path)


def test_the_format_is_detected_and_described(name: str, example: Example) -> None:
    assert detect_format(example.path) == name
    assert SOURCES[name].description
    forced = read_source(example.path, name)
    assert np.array_equal(forced.images_nhw, read_source(example.path).images_nhw)


def test_arrays_have_the_documented_shapes_types_and_ranges(example: Example) -> None:
    data = read_source(example.path, size=32)
    n = len(data)
    assert n == 12
    assert data.images_nhw.shape == (n, 32, 32)
    assert data.images_nhw.dtype == np.uint8
    assert data.labels_n.dtype == data.groups_n.dtype == np.int64
    for texts in (data.sources_n, data.source_splits_n, data.subjects_n, data.splits_n):
        assert texts.shape == (n,)
        assert texts.dtype.kind == "U"
    assert data.labels_n.shape == (n,)
    assert -1 <= data.labels_n.min() <= data.labels_n.max() < len(data.label_names)
    assert len(set(data.label_names)) == len(data.label_names)
    assert set(data.source_splits_n.tolist()) <= {"", "train", "validation", "test"}
    assert len(set(data.sources_n.tolist())) == n
    assert data.votes_nk is None or data.votes_nk.shape == (n, len(data.vote_names))


def test_labels_belong_to_their_images(example: Example) -> None:
    data = read_source(example.path)
    labels = {face.tobytes(): LABELS[row % 3] for row, face in enumerate(FACES)}
    for image, label in zip(data.images_nhw, data.labels_n, strict=True):
        assert data.label_names[label] == labels[image.tobytes()]


def test_a_source_is_not_split_and_cannot_be_changed(example: Example) -> None:
    data = read_source(example.path)
    assert not data.is_split
    assert data.fingerprint == ""
    assert data.groups_n.tolist() == list(range(12))
    with pytest.raises(FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]


def test_skipped_files_are_listed_with_reasons(name: str, example: Example) -> None:
    data = read_source(example.path)
    assert {record.source for record in data.skipped} == set(example.skipped)
    assert bool(example.skipped) == isinstance(SOURCES[name], ImageSource)
    for record in data.skipped:
        assert record.reason
        assert record.kind in KINDS


def test_a_missing_path_is_a_clear_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(MienError) as caught:
        read_source(tmp_path / "nowhere", name)
    assert str(tmp_path / "nowhere") in caught.value.message
    assert caught.value.hint


def test_progress_reaches_its_total(example: Example) -> None:
    calls: list[tuple[int, int]] = []
    read_source(example.path, progress=lambda done, total: calls.append((done, total)))
    done, total = calls[-1]
    assert done == total >= 12
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert {total for _, total in calls} <= {0, done}, "0 while the total is unknown"


def test_a_dataset_is_the_same_after_saving_and_loading(example: Example, tmp_path: Path) -> None:
    data = read_source(example.path)
    splits = make_splits(
        data.labels_n, data.groups_n, data.subjects_n, data.source_splits_n, fraction=0.25
    )
    made = split_dataset(data, Duplicates.none(len(data)), splits)
    write_dataset(made, tmp_path / "out")
    loaded = load_dataset(tmp_path / "out")
    assert loaded.fingerprint == made.fingerprint
    for field in (
        "images_nhw", "labels_n", "sources_n", "source_splits_n", "subjects_n", "splits_n",
        "groups_n",
    ):  # fmt: skip
        assert np.array_equal(getattr(loaded, field), getattr(made, field)), field
    assert (loaded.name, loaded.label_names) == (made.name, made.label_names)
    assert (loaded.facts, loaded.skipped) == (made.facts, made.skipped)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(MienError, match="labels_n has 3 rows, images_nhw has 12"):
        Dataset.unsplit(
            name="x", images_nhw=FACES, label_names=LABELS, labels_n=np.zeros(3, np.int64),
            sources_n=np.array(["a"] * 12),
        )  # fmt: skip
