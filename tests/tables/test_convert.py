"""Rows in every format hold the same values, by readers that are not ours."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyreadstat
import pytest
from praatio import textgrid
from pympi.Elan import Eaf
from scipy.spatial.transform import Rotation
from tests.conftest import run_mien

from mien.errors import ConfigError, DataError
from mien.imaging.pose import HeadPose, detected_poses
from mien.tables.load import load_rows
from mien.tables.write import WRITERS, write_rows
from mien.types import FrameReading, TrackedFace
from mien.video.sinks.rows import CsvLines, arrow_schema, json_line, rows

LABELS = ("happy", "neutral", "sad")
STEP = 0.04


def reading(number: int, rng: np.random.Generator, tracks: tuple[int, ...]) -> FrameReading:
    faces = []
    for track in tracks:
        marks = tuple((float(x), float(y)) for x, y in rng.uniform(0, 99, (5, 2)))
        p = rng.dirichlet(np.ones(3))
        probabilities = dict(zip(LABELS, map(float, p), strict=True))
        label = max(probabilities, key=lambda name: probabilities[name])
        faces.append(
            TrackedFace(
                track=track, box=tuple(rng.uniform(0, 200, 4)), score=float(rng.random()),
                origin="detected", quality="good",
                landmarks=marks, pose=HeadPose(*detected_poses(np.array([marks]))[0].tolist()),
                raw=probabilities, probabilities=probabilities, confidence=float(p.max()),
                label="unsure" if p.max() < 0.5 else label,
            )
        )  # fmt: skip
    return FrameReading(
        source="clip.mp4", frame=number, pts=number, time_s=number * STEP, faces=tuple(faces),
        width=320, height=240,
    )  # fmt: skip


@pytest.fixture
def row_files(tmp_path: Path, rng: np.random.Generator) -> dict[str, Path]:
    """The same rows as CSV, JSON lines and Parquet: 30 frames, the third without a face."""
    import pyarrow.parquet as pq

    tracks = [() if n == 2 else (1, 2) if 10 <= n < 20 else (1,) for n in range(30)]
    made = [row for n, some in enumerate(tracks) for row in rows(reading(n, rng, some), LABELS)]
    lines = CsvLines(LABELS)
    paths = {kind: tmp_path / f"clip.{kind}" for kind in ("csv", "jsonl", "parquet")}
    paths["csv"].write_text(lines.header + "".join(map(lines.line, made)), encoding="utf-8")
    paths["jsonl"].write_text("".join(map(json_line, made)), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(made, schema=arrow_schema(LABELS)), str(paths["parquet"]))
    return paths


def test_all_forms_of_rows_are_read_alike(row_files: dict[str, Path]) -> None:
    first, *others = [load_rows([path]).to_pylist() for path in row_files.values()]
    assert len(first) == 40
    assert first[2]["track"] is None
    assert len(first[0]["landmarks"]) == 10
    assert -90 <= first[0]["yaw"] <= 90
    assert first[2]["roll"] is None
    assert all(other == first for other in others)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_an_older_mien_get_the_poses_of_their_landmarks(
    kind: str, row_files: dict[str, Path]
) -> None:
    path, new = row_files[kind], load_rows([row_files[kind]])
    if kind == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(pq.read_table(str(path)).drop_columns(["yaw", "pitch", "roll"]), str(path))
    elif kind == "csv":
        pd.read_csv(path, dtype=str).drop(columns=["yaw", "pitch", "roll"]).to_csv(
            path, index=False
        )
    else:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        old = [{k: v for k, v in row.items() if k not in ("yaw", "pitch", "roll")} for row in lines]
        path.write_text("".join(map(json_line, old)), "utf-8")
    again = load_rows([path])
    assert again.column_names == new.column_names
    for ours, theirs in zip(again.to_pylist(), new.to_pylist(), strict=True):
        assert {k: v for k, v in ours.items() if k not in ("yaw", "pitch", "roll")} == {
            k: v for k, v in theirs.items() if k not in ("yaw", "pitch", "roll")
        }
        # From landmarks with one decimal, so not to the last digit.
        for name in ("yaw", "pitch", "roll"):
            assert (ours[name] is None) == (theirs[name] is None)
            if ours[name] is not None and abs(theirs["yaw"]) < 60:
                assert abs((ours[name] - theirs[name] + 180) % 360 - 180) < 3


def read_back(path: Path) -> pd.DataFrame:
    """Read a written table by pandas, or SPSS's by pyreadstat."""
    if path.suffix == ".sav":
        frame: pd.DataFrame = pyreadstat.read_sav(str(path))[0]
        return frame
    readers: dict[str, Any] = {".parquet": pd.read_parquet, ".feather": pd.read_feather}
    if path.suffix in readers:
        table: pd.DataFrame = readers[path.suffix](path)
        return table
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("end", [".csv", ".tsv", ".parquet", ".feather", ".sav"])
def test_tables_agree_to_the_last_digit(
    end: str, row_files: dict[str, Path], tmp_path: Path
) -> None:
    table = load_rows([row_files["parquet"]])
    (written,) = write_rows(table, tmp_path / f"out{end}")
    frame, expected = read_back(written), pd.read_csv(row_files["csv"])
    assert len(frame) == 40
    for name in (
        "time_s",
        "x0",
        "y1",
        "score",
        "p_happy",
        "raw_sad",
        "confidence",
        "track",
        "yaw",
        "pitch",
    ):
        mine = [None if math.isnan(v) else v for v in frame[name].astype(float)]
        assert mine == [None if math.isnan(v) else v for v in expected[name].astype(float)], name
    assert [v or None for v in frame["label"].fillna("")] == [
        v or None for v in expected["label"].fillna("")
    ]


def test_converting_to_csv_gives_mien_csv_again(row_files: dict[str, Path], tmp_path: Path) -> None:
    table = load_rows([row_files["jsonl"]])
    write_rows(table, tmp_path / "again.csv")
    assert load_rows([tmp_path / "again.csv"]).to_pylist() == table.to_pylist()


def test_elan_and_praat_hold_the_same_segments(row_files: dict[str, Path], tmp_path: Path) -> None:
    table = load_rows([row_files["csv"]])
    write_rows(table, tmp_path / "clip.eaf")
    write_rows(table, tmp_path / "clip.TextGrid")
    elan = Eaf(str(tmp_path / "clip.eaf"))
    praat = textgrid.openTextgrid(str(tmp_path / "clip.TextGrid"), includeEmptyIntervals=False)
    assert set(elan.tiers) == {"track 1", "track 2"} == set(praat.tierNames)
    assert elan.get_linked_files()[0]["MEDIA_URL"] == "clip.mp4"
    for name in praat.tierNames:
        from_elan = sorted(elan.get_annotation_data_for_tier(name))
        entries = praat.getTier(name).entries
        assert [(s, e, v) for s, e, v in from_elan] == [
            (round(1000 * one.start), round(1000 * one.end), one.label) for one in entries
        ]
    # By hand: every frame's own label is that of the segment around its middle.
    for row in table.to_pylist():
        if row["track"] == 1:
            at = row["time_s"] + STEP / 2
            (label,) = (e.label for e in praat.getTier("track 1").entries if e.start <= at < e.end)
            assert label == row["label"]


def test_bids(row_files: dict[str, Path], tmp_path: Path) -> None:
    table = load_rows([row_files["csv"]])
    events, sidecar = write_rows(table, tmp_path / "sub-01_task-talk_events.tsv")
    assert sidecar.name == "sub-01_task-talk_events.json"
    with events.open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    # BIDS: onset and duration come first, and lines are sorted by onset.
    assert list(lines[0])[:2] == ["onset", "duration"]
    onsets = [float(line["onset"]) for line in lines]
    assert onsets == sorted(onsets)
    levels = json.loads(sidecar.read_text(encoding="utf-8"))["trial_type"]["Levels"]
    assert {line["trial_type"] for line in lines} <= set(levels)

    one = table.filter(pa.compute.not_equal(pa.compute.fill_null(table["track"], 1), 2))
    recording, about = write_rows(one, tmp_path / "sub-01_task-talk_physio.tsv.gz")
    told = json.loads(about.read_text(encoding="utf-8"))
    assert told["SamplingFrequency"] == pytest.approx(25)
    assert (told["StartTime"], told["Columns"]) == (0, ["p_happy", "p_neutral", "p_sad"])
    # BIDS: no header line, n/a for what is missing.
    values = gzip.decompress(recording.read_bytes()).decode().splitlines()
    assert len(values) == 30
    assert values[2] == "n/a\tn/a\tn/a"
    assert float(values[0].split("\t")[0]) == table["p_happy"][0].as_py()
    with pytest.raises(DataError, match="2 tracks"):
        write_rows(table, tmp_path / "two_physio.tsv.gz")
    # A frame that is left out is a missing value, in its place.
    gap, _ = write_rows(one.take([0, 1, 3, 4]), tmp_path / "gap_physio.tsv.gz")
    with_gap = gzip.decompress(gap.read_bytes()).decode().splitlines()
    assert with_gap == [*values[:2], "n/a\tn/a\tn/a", *values[3:5]]
    uneven = one.take([0, 1, 9, 20])
    with pytest.raises(DataError, match="even steps"):
        write_rows(uneven, tmp_path / "uneven_physio.tsv.gz")
    assert not (tmp_path / "uneven_physio.tsv.gz").exists()


def test_r_script_reads_its_own_file(row_files: dict[str, Path], tmp_path: Path) -> None:
    script, data = write_rows(load_rows([row_files["csv"]]), tmp_path / "clip.R")
    assert data.name == "clip-rows.csv"  # clip.csv is what was converted
    text = script.read_text(encoding="utf-8")
    assert f'read.csv("{data.name}"' in text
    frame = pd.read_csv(data)
    assert {"p_happy", "time_s", "source", "track", "landmark4_y"} <= set(frame.columns)


def test_openface_columns(row_files: dict[str, Path], tmp_path: Path) -> None:
    table = load_rows([row_files["csv"]])
    write_rows(table, tmp_path / "of.csv", columns="openface")
    frame = pd.read_csv(tmp_path / "of.csv")
    assert {"frame", "face_id", "timestamp", "confidence", "success"} <= set(frame.columns)
    assert frame["success"].tolist() == [0 if v else 1 for v in frame["face_id"].isna()]
    rows_of_mien = table.to_pylist()
    assert frame["pose_Ry"].isna().tolist() == [row["yaw"] is None for row in rows_of_mien]
    known = next(row for row in rows_of_mien if row["yaw"] is not None)
    about = Rotation.from_euler(
        "ZYX", [known["roll"], -known["yaw"], -known["pitch"]], degrees=True
    ).as_euler("XYZ")
    assert frame[["pose_Rx", "pose_Ry", "pose_Rz"]].iloc[0].tolist() == pytest.approx(
        about.tolist(), abs=1e-4
    )
    assert not {"yaw", "pitch", "roll"} & set(frame.columns)
    with pytest.raises(ConfigError, match="cannot have OpenFace's columns"):
        write_rows(table, tmp_path / "of.sav", columns="openface")
    with pytest.raises(ConfigError, match="'opensmile' is unknown"):
        write_rows(table, tmp_path / "of.csv", columns="opensmile")


BAD = {
    "none.csv": (None, "no such file"),
    "other.csv": ("a,b\n1,2\n", "has no rows of mien video"),
    "cut.parquet": ("PAR1", "cannot be read"),
    "notes.txt": ("hello", "no table that mien reads"),
    "empty.csv": ("", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_rows([tmp_path / name])
    assert message in caught.value.message
    assert name in caught.value.message


def test_an_edited_value_is_refused(row_files: dict[str, Path]) -> None:
    text = row_files["csv"].read_text(encoding="utf-8").replace("clip.mp4,3,3,", "clip.mp4,x,3,")
    row_files["csv"].write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="clip.csv"):
        load_rows([row_files["csv"]])


def test_the_command(
    row_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows_csv = row_files["csv"]
    for end in WRITERS:
        out = tmp_path / ("out" + {".r": ".R", ".textgrid": ".TextGrid"}.get(end, end))
        code, _, err = run_mien(capsys, monkeypatch, "convert", rows_csv, "-o", out, "--track", "2")
        assert code == 0, err
        assert out.exists()
        assert "10 rows" in err
    for arguments, message in (
        (("-o", tmp_path / "out.xlsx"), "known: .csv"),
        (("-o", rows_csv), "both read and written"),
        (("-o", tmp_path / "o.csv", "--track", "9"), "known tracks are 1, 2"),
    ):
        code, _, err = run_mien(capsys, monkeypatch, "convert", rows_csv, *arguments)
        assert code != 0
        assert message in err
