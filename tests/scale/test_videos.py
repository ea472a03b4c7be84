"""Videos on engines: the same rows as in one process, long ones joined from their parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
from tests.conftest import run_mien
from tests.scale.test_engine_contract import CASES, make, pytestmark  # noqa: F401
from tests.video.clips import write_clip
from tests.video.test_video_resume import SETTINGS, Brightness, Squares, frames, same_rows

from mien import Reader
from mien.errors import SourceError
from mien.scale.engines.local import LocalEngine
from mien.scale.split import cut_video, join_parts, read_part
from mien.scale.videos import from_json, read_videos_on, to_json
from mien.types import FrameReading
from mien.video.select import Selection
from mien.video.session import Session
from mien.video.sinks.rows import rows
from mien.video.sources import list_sources

LABELS = ("happy", "neutral", "sad")


def make_session(**selection: Any) -> Session:
    reader = Reader(Brightness(), detector=Squares(), threads=1)
    return reader.session(settings=SETTINGS, selection=Selection(**selection))


def whole(path: Path, session: Session) -> list[FrameReading]:
    source = next(iter(list_sources([path])))
    return [result.reading for result in session.results(source)]


def as_rows(readings: list[FrameReading]) -> list[dict[str, Any]]:
    return [row for reading in readings for row in rows(reading, LABELS)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s; two squares that cross, and one of them leaves and returns, several times."""
    made = [*frames(), *frames()[::-1]] * 3
    options = {"g": "24", "crf": "10"}
    return write_clip(tmp_path_factory.mktemp("clips") / "long.mp4", made[:1200], options=options)


@pytest.mark.parametrize(
    "selection", [{}, {"every": 3}, {"fps": 7}, {"start_s": 3.2, "end_s": 36}], ids=str
)
def test_a_video_in_parts_has_the_rows_of_a_whole_one(
    selection: dict[str, Any], clip: Path
) -> None:
    session = make_session(**selection)
    parts = cut_video(0, str(clip), session, 7)
    assert len(parts) >= 3
    readings = [(part, read_part(session, part)[0]) for part in parts]
    joined = list(join_parts(readings, LABELS))
    expected = whole(clip, session)
    # Fields of the frames that rows do not have, such as `until_s`, too.
    plain = [replace(reading, faces=()) for reading in joined]
    assert plain == [replace(reading, faces=()) for reading in expected]
    texts = [
        [{k: str(v) for k, v in row.items()} for row in as_rows(r)] for r in (joined, expected)
    ]
    same_rows(*texts)
    tracks = {face.track for reading in joined for face in reading.faces}
    assert tracks == {face.track for reading in expected for face in reading.faces}
    # Each part starts before its cut, and no two have the same rows.
    assert all(part.first is not None and part.first.frame < part.cut for part in parts[1:])
    assert [part.end for part in parts[:-1]] == [part.cut for part in parts[1:]]


def test_what_cannot_be_cut_exactly_is_one_part(clip: Path, tmp_path: Path) -> None:
    session = make_session()
    stream = write_clip(tmp_path / "stream.ts", frames(120), options={"g": "24"})
    (tmp_path / "torn.mp4").write_bytes(clip.read_bytes()[:4000])
    for path in (stream, tmp_path / "torn.mp4", tmp_path / "none.mp4"):
        assert len(cut_video(0, str(path), session, 0.5)) == 1
    assert len(cut_video(0, str(clip), session, 0)) == 1
    # Parts would be shorter than what they have to read before their cuts.
    assert len(cut_video(0, str(clip), session, 1)) < 12


def test_parts_with_other_frames_are_not_joined(clip: Path) -> None:
    session = make_session()
    parts = cut_video(0, str(clip), session, 10)[:2]
    readings = [(part, read_part(session, part)[0]) for part in parts]
    del readings[1][1][3]
    with pytest.raises(SourceError, match=f"cannot be joined at frame {parts[1].cut}") as caught:
        list(join_parts(readings, LABELS))
    assert "split_seconds=0" in caught.value.hint


def test_frames_are_the_same_after_json(clip: Path) -> None:
    for reading in whole(clip, make_session(end_s=5)):
        assert from_json(json.loads(json.dumps(to_json(reading)))) == reading


def read(
    videos: list[Path], out: Path, engine: Any = None, split: float = 7.0, **more: Any
) -> dict[str, Any]:
    names = [str(video) for video in videos]
    return read_videos_on(
        engine or LocalEngine(2), make_session(), names, out, split_seconds=split, **more
    )


def table(out: Path) -> list[dict[str, Any]]:
    found = ds.dataset(out / "rows", partitioning="hive").to_table().to_pylist()
    return sorted(found, key=lambda row: (row["source"], row["frame"], row["track"] or 0))


@pytest.mark.parametrize("case", CASES)
def test_every_engine_writes_the_same_files(
    case: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [write_clip(tmp_path / f"{k}.mp4", frames(20 + k)) for k in range(3)]
    videos = [*short, clip, tmp_path / "missing.mp4"]
    manifest = read(videos, tmp_path / "out", make(case, tmp_path, monkeypatch))
    assert manifest["files"] == read(videos, tmp_path / "local")["files"]
    assert manifest["counts"]["videos"] == 5
    assert manifest["counts"]["frames"] == 20 + 21 + 22 + 1200
    (record,) = manifest["failed"]
    assert (record["source"], record["attempts"]) == (str(tmp_path / "missing.mp4"), 1)
    assert "no such file" in record["error"]
    found = [row for row in table(tmp_path / "out") if row["source"] != str(clip)]
    expected = [row for path in short for row in as_rows(whole(path, make_session()))]
    for row, other in zip(found, expected, strict=True):
        for name, value in other.items():
            exact: Any = np.float32(value) if isinstance(value, float) else value
            if name == "time_s":
                exact = value
            assert row[name] == exact, name
    summaries = (tmp_path / "out" / "summaries.jsonl").read_text().splitlines()
    assert [json.loads(line)["frames"] for line in summaries] == [20, 21, 22, 1200]


def test_an_interrupted_run_is_resumed_part_by_part(clip: Path, tmp_path: Path) -> None:
    class Interrupted(LocalEngine):
        left = 2

        def wait(self, timeout_s: float) -> list[Any]:
            reports = super().wait(timeout_s)
            for report in reports:
                # The first answer tells the parts of the video.
                if not isinstance(report.value, list):
                    self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return reports

    class Counted(LocalEngine):
        submitted = 0

        def submit(self, ticket: int, item: Any) -> None:
            self.submitted += 1
            super().submit(ticket, item)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        read([clip], out, Interrupted(1))
    assert json.loads((out / "manifest.json").read_text())["state"] == "running"
    engine = Counted(1)
    manifest = read([clip], out, engine, resume=True)
    fresh = Counted(1)
    assert manifest["files"] == read([clip], tmp_path / "whole", fresh)["files"]
    assert fresh.submitted - engine.submitted == 2


def test_the_command_reads_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_clip(videos / "a.mp4", 12)
    (videos / "b.mp4").write_bytes(b"torn")
    arguments = ("video", videos, "--engine", "local", "--workers", 1)
    code, _, err = run_mien(capsys, monkeypatch, *arguments, "--out", tmp_path / "out")
    assert code == 1
    assert "2 videos, 12 frames, 1 without a face, 1 not read to their end" in err
    assert f"unreadable: cannot read {videos / 'b.mp4'}" in err
    assert len(table(tmp_path / "out")) == 12
    for words, message in (
        (["--annotate", "--out", "o"], "--annotate and --engine exclude each other"),
        (["--csv", "--out", "o"], "--csv and --engine exclude each other"),
        (["--out", "o", "--split-seconds", "-1"], "--split-seconds"),
        ([], "needs its folder"),
    ):
        code, _, err = run_mien(capsys, monkeypatch, *arguments, *words)
        assert (code, message in err) == (2, True), err
    code, _, err = run_mien(
        capsys, monkeypatch, "video", "camera:0", "--engine", "local", "--out", tmp_path / "o"
    )
    assert (code, "camera:0 is a live source or a stream" in err) == (2, True)
