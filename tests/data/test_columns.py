"""Further columns of a source are kept as text, and change neither splits nor fingerprint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from mien.data.columns import column_name, text_values
from mien.data.dataset import Dataset, fingerprint, load_dataset, save_dataset
from mien.data.drawn import SKIN_TONES, SKINS, draw_faces
from mien.data.sources.arrays import read_arrays
from mien.data.sources.tables import read_list
from mien.errors import DataError


def test_a_list_keeps_its_columns(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(np.full((48, 48), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    table = tmp_path / "faces.csv"
    table.write_text(
        "path,label,Age,group,subject,\n"
        "0.png,happy, 20-29 ,a,s0,x\n1.png,sad,,b,s1,x\n"
        "2.png,sad,30-39,a,s2,x\n3.png,happy,7,,s3,x\n"
    )
    data = read_list(table, 48)
    assert {name: values.tolist() for name, values in data.columns.items()} == {
        "age": ["20-29", "", "30-39", "7"],
        "group_": ["a", "b", "a", ""],
    }
    (tmp_path / "1.png").write_bytes(b"no image")
    assert read_list(table, 48).columns["age"].tolist() == ["20-29", "30-39", "7"]


def test_arrays_keep_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    np.savez(
        path,
        images=np.zeros((3, 48, 48), np.uint8), labels=np.array([0, 1, 2]),
        age=np.array([30.5, np.nan, 4]), sex=np.array(["f", "m", ""]), tone=np.array([1, 2, 1]),
        glasses=np.array([b"yes", b"no", b"no"]), embedding=np.zeros((3, 2)), mean=np.zeros(5),
    )  # fmt: skip
    columns = read_arrays(path, 48).columns
    assert {name: values.tolist() for name, values in columns.items()} == {
        "age": ["30.5", "", "4.0"], "sex": ["f", "m", ""], "tone": ["1", "2", "1"],
        "glasses": ["yes", "no", "no"],
    }  # fmt: skip


def test_names_and_values() -> None:
    assert [column_name(n) for n in (" Age Group", "label", "source")] == [
        "age group", "label_", "source_",
    ]  # fmt: skip
    assert text_values(np.array(["nan", " a "])).tolist() == ["nan", "a"]
    assert text_values(np.array(["2026-01-02", "NaT"], "datetime64[D]")).tolist() == [
        "2026-01-02", "",
    ]  # fmt: skip


def test_columns_survive_a_folder(drawn: Dataset, tmp_path: Path) -> None:
    saved = save_dataset(drawn, tmp_path / "new")
    loaded = load_dataset(tmp_path / "new")
    assert list(loaded.columns) == ["skin_tone", "lighting"]
    for name, values_n in drawn.columns.items():
        assert np.array_equal(loaded.columns[name], values_n)
    assert saved.fingerprint == fingerprint(replace(drawn, columns={}))
    held = loaded.split("validation")
    assert np.array_equal(
        held.columns["lighting"], drawn.columns["lighting"][drawn.splits_n == "validation"]
    )


def test_old_and_foreign_manifests_open(drawn: Dataset, tmp_path: Path) -> None:
    save_dataset(replace(drawn, columns={}), tmp_path / "old")
    assert load_dataset(tmp_path / "old").columns == {}
    manifest = tmp_path / "old" / "manifest.parquet"
    numbers = pa.array([None, 1, *[2] * (len(drawn) - 2)])
    parquet.write_table(parquet.read_table(manifest).append_column("rater", numbers), manifest)
    assert load_dataset(tmp_path / "old").columns["rater"].tolist()[:3] == ["", "1", "2"]


def test_drawn_faces_name_skin_tone_and_lighting() -> None:
    data = draw_faces(600, seed=1)
    assert len(SKIN_TONES) == len(SKINS)
    assert set(data.columns["skin_tone"].tolist()) == {"light", "medium", "dark"}
    brightness = [
        np.median(data.images_nhw[data.columns["lighting"] == level])
        for level in ("dim", "normal", "bright")
    ]
    assert brightness == sorted(brightness)
    for subject in np.unique(data.subjects_n):
        assert len(set(data.columns["skin_tone"][data.subjects_n == subject].tolist())) == 1


def test_every_column_has_one_row_per_image(drawn: Dataset) -> None:
    with pytest.raises(DataError, match="column 'sex' has 2 rows, images_nhw has 240"):
        replace(drawn, columns={"sex": np.array(["f", "m"])})
