"""`mien video --people` and `mien people` from the command line, on portraits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.conftest import ROOT, run_mien
from tests.video.clips import write_clip

from mien.model import descriptor, dlib_weights
from mien.video.people.file import People

SIZE = (240, 240)
BOXES = {"astronaut": (135, 30, 315, 210), "grace_hopper": (104, 68, 424, 388)}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def heads() -> dict[str, NDArray[np.uint8]]:
    found = {}
    for name, box in BOXES.items():
        image = Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB")
        found[name] = np.asarray(image.crop(box).resize(SIZE))
    return found


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, heads: dict[str, Any]) -> Path:
    """Both people side by side; then one alone, after a cut the other in the same place."""
    folder = tmp_path_factory.mktemp("clips")
    one, other = heads["astronaut"], heads["grace_hopper"]
    write_clip(folder / "both.mp4", [np.concatenate([one, other], axis=1)] * 12, rate=10)
    write_clip(folder / "cut.mp4", [one] * 10 + [other] * 10, rate=10)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(descriptor, "is_installed", lambda: False)

    def command(*arguments: object) -> tuple[int, str, str]:
        return run_mien(capsys, monkeypatch, *arguments)

    monkeypatch.chdir(tmp_path)
    return command


@pytest.fixture(scope="module")
def made(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("made") / "out"}


@pytest.fixture
def results(run: Run, clips: Path, made: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of rows with people.json and people.npz; each test gets a copy."""
    if not made["folder"].exists():
        code, _, err = run("video", clips / "both.mp4", clips / "cut.mp4", "--out", made["folder"],
                           "--people", "--keep-embeddings")  # fmt: skip
        assert code == 0, err
        # A notice of what the law says, what is compared, and the result.
        assert "biometric" in err and "pip install 'mien[people]'" in err
        assert "2 people" in err
    shutil.copytree(made["folder"], tmp_path / "out")
    return tmp_path / "out"


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "people.json").read_text("utf-8"))


def test_the_same_two_people_are_found_in_two_videos(results: Path, clips: Path) -> None:
    found = content(results)
    assert found["embedding"]["name"] == "mien-small-colours"
    by_person = [{Path(t["source"]).name for t in p["tracks"]} for p in found["people"]]
    assert by_person == [{"both.mp4", "cut.mp4"}] * 2
    # One track at one place is divided at the cut, which was at 1 s.
    ends = [t["end_s"] for p in found["people"] for t in p["tracks"] if "end_s" in t]
    assert len(ends) == 1 and 0.8 <= ends[0] <= 1.2


def test_people_are_found_again_without_the_videos(run: Run, results: Path) -> None:
    before = content(results)
    code, _, err = run("people", "find", results, "--again")
    assert code == 0, err
    after = content(results)
    assert [p["tracks"] for p in after["people"]] == [p["tracks"] for p in before["people"]]
    # Ids are never used again.
    assert [p["id"] for p in after["people"]] == ["P3", "P4"]


def test_the_way_out_of_a_damaged_file_works(run: Run, results: Path) -> None:
    (results / "people.json").write_text('{"schema": 1, "people": [', "utf-8")
    for command in (("list",), ("find",), ("find", "--again")):
        code, _, err = run("people", command[0], results, *command[1:])
        assert code != 0 and "is damaged" in err
        assert "delete it and run: mien people find DIR" in err
    (results / "people.json").unlink()
    code, _, err = run("people", "find", results)
    assert code == 0, err
    assert len(content(results)["people"]) == 2


def test_people_are_found_again_from_the_videos(run: Run, results: Path) -> None:
    before = content(results)
    (results / "people.npz").unlink()
    code, _, err = run("people", "find", results, "--again")
    assert code == 0, err
    assert not (results / "people.npz").exists()
    after = content(results)
    assert len(after["people"]) == len(before["people"]) == 2
    assert after["unknown"] == []


def test_people_of_a_missing_video_are_found_when_it_is_there(
    run: Run, results: Path, clips: Path
) -> None:
    (results / "people.npz").unlink()
    rows = results / "both.csv"
    before = rows.read_text("utf-8")
    rows.write_text(before.replace(str(clips / "both.mp4"), "gone.mp4"), "utf-8")
    code, _, err = run("people", "find", results, "--again")
    assert code == 0
    assert "gone.mp4 was not found: 2 tracks not compared; find people again where" in err
    assert "2 tracks: video not read, left for the next time" in err
    # Not stored as unknown, which would keep them so.
    assert content(results)["unknown"] == []
    shutil.copy(clips / "both.mp4", results / "gone.mp4")
    code, _, err = run("people", "find", results)
    assert code == 0, err
    tracks = [track for person in content(results)["people"] for track in person["tracks"]]
    assert sum(track["source"] == "gone.mp4" for track in tracks) == 2


def test_people_are_named_listed_and_forgotten(run: Run, results: Path) -> None:
    assert run("people", "name", "P1", "Anna", "--dir", results)[0] == 0
    code, out, _ = run("people", "list", results)
    assert code == 0 and "Anna" in out and "P2" in out
    code, _, err = run("people", "name", "P2", "Anna", "--dir", results)
    assert code in (1, 2) and "P1 has the name 'Anna' already" in err
    code, _, err = run("people", "forget", "Anna", "--dir", results)
    assert code == 0 and "embeddings; the rows stay" in err
    assert "Anna" not in (results / "people.json").read_text("utf-8")
    assert [p["id"] for p in content(results)["people"]] == ["P2"]
    with np.load(results / "people.npz") as kept:
        assert 0 < len(kept["track"]) < 4
    code, _, err = run("people", "forget", "P2", "--dir", results)
    assert code == 0 and not (results / "people.npz").exists()
    code, _, err = run("people", "forget", "P2", "--dir", results)
    assert code in (1, 2) and "no person has the id or name 'P2'" in err


def test_a_merge_of_people_in_one_frame_is_refused_with_the_frame(run: Run, results: Path) -> None:
    before = content(results)
    code, _, err = run("people", "merge", "P1", "P2", "--dir", results)
    assert code in (1, 2) and "frame 0 of" in err and "both.mp4" in err
    assert content(results) == before


def test_tracks_are_split_marked_and_merged(run: Run, results: Path, clips: Path) -> None:
    source = clips / "both.mp4"
    code, _, err = run("people", "split", source, 1, "--at", 9, "--dir", results)
    assert code in (1, 2) and "9 s is not within track 1" in err
    assert run("people", "split", source, 1, "--at", 0.5, "--dir", results)[0] == 0
    assert [p["id"] for p in content(results)["people"]] == ["P1", "P2", "P3"]
    owner = next(p["id"] for p in content(results)["people"]
                 if {"source": str(source), "track": 1, "end_s": 0.5} in p["tracks"])  # fmt: skip
    assert run("people", "merge", owner, "P3", "--dir", results)[0] == 0
    code, _, err = run("people", "mark", source, 2, "not-a-face", "--dir", results)
    assert code == 0, err
    assert content(results)["not_a_face"] == [{"source": str(source), "track": 2}]
    code, _, err = run("people", "mark", source, 9, "unknown", "--dir", results)
    assert code in (1, 2) and "the rows have no track 9" in err


def test_converted_rows_have_people(run: Run, results: Path, clips: Path) -> None:
    assert run("people", "name", "P1", "Anna", "--dir", results)[0] == 0
    assert run("people", "mark", clips / "both.mp4", 2, "not-a-face", "--dir", results)[0] == 0
    for end in ("csv", "parquet", "sav"):
        code, _, err = run("convert", results, "--out", f"rows.{end}")
        assert code == 0, err
        assert "12 rows left out: marked as no face" in err
    rows = pd.read_csv("rows.csv")
    assert list(rows.columns[4:6]) == ["track", "person"]
    assert set(rows["person"]) == {"Anna", "P2"}
    people = People.load(results)
    labels = people.labels()
    for source, track, time_s, person in zip(
        rows["source"], rows["track"], rows["time_s"], rows["person"], strict=True
    ):
        assert labels[people.place_of(source, track, time_s)] == person
    for other in (pd.read_parquet("rows.parquet"), pyreadstat.read_sav("rows.sav")[0]):
        assert other["person"].tolist() == rows["person"].tolist()


def test_a_file_that_does_not_fit_the_rows_is_refused(run: Run, results: Path) -> None:
    (results / "both.csv").unlink()
    code, _, err = run("people", "name", "P1", "Anna", "--dir", results)
    assert code in (1, 2) and "which the rows beside it do not have" in err


def test_reading_again_into_a_folder_with_people_is_refused(
    run: Run, results: Path, clips: Path
) -> None:
    code, _, err = run("video", clips / "both.mp4", "--out", results)
    assert code in (1, 2) and "would number the tracks again" in err and "--resume" in err
    code, _, err = run("video", clips / "both.mp4", "--out", results, "--resume", "--people")
    assert code == 0, err
    assert len(content(results)["people"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--people"], "--people needs a folder"),
        (["--out", "new", "--keep-embeddings"], "--keep-embeddings is an option of --people"),
        (["--out", "new", "--people", "--engine", "local"], "does not work with --engine"),
    ],
)
def test_options_that_contradict_each_other(
    run: Run, clips: Path, arguments: list[str], message: str
) -> None:
    code, _, err = run("video", clips / "both.mp4", *arguments)
    assert code in (1, 2) and message in err


def test_changed_weights_are_refused_before_the_videos_are_read(
    run: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / dlib_weights.PACKAGE / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(descriptor, "is_installed", lambda: True)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = run("video", clips / "both.mp4", "--out", "new", "--people")
    assert code in (1, 2) and "has no models/dlib_face_recognition" in err
    (tmp_path / dlib_weights.PACKAGE / dlib_weights.FILE).write_bytes(b"changed")
    code, _, err = run("video", clips / "both.mp4", "--out", "new", "--people")
    assert code in (1, 2) and "dlib's published weights have" in err
    assert not Path("new").exists()


def test_a_damaged_file_of_people_is_refused_before_the_videos_are_read(
    run: Run, clips: Path
) -> None:
    Path("new").mkdir()
    Path("new/people.json").write_text("{", encoding="utf-8")
    code, _, err = run("video", clips / "both.mp4", "--out", "new", "--people", "--resume")
    assert code in (1, 2) and "people.json is damaged" in err
    assert [p.name for p in Path("new").iterdir()] == ["people.json"]
