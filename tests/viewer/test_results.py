"""A folder of results as arrays, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError
from mien.viewer.media import find_video
from mien.viewer.results import Piece, load_results
from tests.viewer.sessions import draw_session, rows_of, track_at, write_rows


def test_rows_are_read_by_track(results: Path) -> None:
    loaded = load_results(results)
    (source,) = loaded.sources
    assert loaded.labels == ("happy", "neutral", "sad")
    assert source.tracks == [1, 2, 3]
    assert source.frames == 700
    assert source.step_s == pytest.approx(0.04)
    assert source.end_s == pytest.approx(28)
    seen = [n / 25 for n in range(700) if track_at(1, n / 25) == 3]
    assert source.time_n[source.rows_of([Piece(3)])] == pytest.approx(seen)
    assert source.span(2) == pytest.approx((0, 13.96))


def test_parts_of_a_track_share_no_row(results: Path) -> None:
    (source,) = load_results(results).sources
    parts = [source.rows_of([Piece(1, None, 4.0)]), source.rows_of([Piece(1, 4.0, None)])]
    assert [len(part) for part in parts] == [100, 600]
    both = source.rows_of([Piece(1, 4.0, None), Piece(1, None, 4.0)])
    assert both.tolist() == source.rows_of([Piece(1)]).tolist()
    assert np.all(np.diff(source.time_n[both]) > 0)


def test_frames_without_a_face_count_as_frames(tmp_path: Path) -> None:
    rows = rows_of("a.mp4", 2)
    for row in rows:
        row.update(dict.fromkeys(row.keys() - {"source", "frame", "pts", "time_s"}))
    write_rows(tmp_path, "a.mp4", rows[::2])
    (source,) = load_results(tmp_path).sources
    assert source.frames == 50
    assert source.tracks == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.rmdir(), "no such folder"),
        (lambda folder: None, "holds no rows of videos"),
        (lambda folder: (folder / "a.csv").write_text("x,y\n1,2\n"), "has no rows of mien video"),
    ],
)
def test_a_folder_without_rows_is_refused(tmp_path: Path, make: object, words: str) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    with pytest.raises(DataError, match=words):
        load_results(folder)


def test_two_files_of_one_source_are_refused(results: Path) -> None:
    shutil.copy(results / "interview.csv", results / "again.csv")
    with pytest.raises(DataError, match=r"again\.csv and .*interview\.csv both hold rows of"):
        load_results(results)


def test_other_tables_are_left_out_with_a_note(results: Path) -> None:
    (results / "participants.csv").write_text("id,age\n1,30\n")
    loaded = load_results(results)
    assert [source.file.name for source in loaded.sources] == ["interview.csv"]
    assert "participants.csv" in loaded.notes[0]


def test_damaged_rows_of_a_video_are_an_error(results: Path) -> None:
    (results / "interview.csv").write_text("source,frame\n1,2\n")
    with pytest.raises(DataError, match=r"interview\.csv"):
        load_results(results)


def test_videos_are_found_where_they_are(tmp_path: Path) -> None:
    draw_session(tmp_path / "here", seconds=1)
    (source,) = load_results(tmp_path / "here" / "results").sources
    assert find_video(source, tmp_path / "here" / "results").note == ""
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "here" / "interview.mp4", tmp_path / "moved" / "interview.mp4")
    lost = find_video(source, tmp_path / "here" / "results")
    assert lost.path is None
    assert "was not found" in lost.note
    found = find_video(source, tmp_path / "here" / "results", tmp_path / "moved")
    assert found.path == tmp_path / "moved" / "interview.mp4"
    copy = tmp_path / "here" / "results" / "interview.annotated.mp4"
    shutil.copy(found.path, copy)
    assert find_video(source, tmp_path / "here" / "results").path == copy
