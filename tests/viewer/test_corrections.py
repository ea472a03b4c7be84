"""Corrections as a data set with votes, read back by the reader of `mien data import`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import run
from mien.data.ground_truth import consensus_targets
from mien.data.sources.arrays import read_arrays
from mien.errors import DataError
from mien.imaging.crop import crop_faces
from mien.labels import THREE
from mien.predict.detectors.yunet import YuNet
from mien.sessions.study_file import Correction, Study, save_study
from mien.video.select import Selection
from mien.video.sources import Source
from mien.viewer.corrections import chosen_rows, export_corrections, held_out, stretches
from mien.viewer.media import crops_at, frame_at
from mien.viewer.people import load_people, seen_of
from mien.viewer.results import Piece, Results, load_results
from tests.viewer.sessions import LEFTS
from tests.web.chromium import ROOT


@pytest.fixture
def loaded(results: Path) -> Results:
    return load_results(results)


def people(loaded: Results) -> dict[str, Any]:
    return load_people(loaded.folder / "people.json", seen_of(loaded))[0].to_dict()


def corrections(loaded: Results) -> list[Correction]:
    name = loaded.sources[0].name
    return [
        Correction(name, 1, 9.0, 11.0, "neutral", "mk"),
        Correction(name, 1, 10.0, 11.0, "happy", "ab"),
        Correction(name, 1, 10.5, 11.0, "neutral", "ab"),
        Correction(name, 2, 2.0, 3.0, "sad", "mk"),
    ]


def test_votes_are_of_those_who_corrected(loaded: Results, drawn: Path) -> None:
    path = loaded.folder / "faces.npz"
    written = export_corrections(
        loaded, people(loaded), corrections(loaded), [drawn / "interview.mp4"], path
    )
    data = read_arrays(path, 48)
    assert len(data) == written.images
    assert data.votes_nk is not None
    names = [str(name) for name in data.sources_n]
    votes = dict(zip(names, data.votes_nk.tolist(), strict=True))
    name = loaded.sources[0].name
    times = {n: int(n.split(" frame ")[1].split()[0]) / 25 for n in names}
    first = [votes[n] for n in names if n.endswith("track 1") and times[n] < 10]
    tied = [votes[n] for n in names if n.endswith("track 1") and 10 <= times[n] < 10.5]
    both = [votes[n] for n in names if n.endswith("track 1") and times[n] >= 10.5]
    assert first
    assert all(one == [0, 1, 0] for one in first)
    assert tied
    assert all(one == [1, 1, 0] for one in tied)  # one vote each, for different labels
    assert both
    assert all(one == [0, 2, 0] for one in both)  # the last correction of a person counts
    assert {votes[n][2] for n in names if n.endswith("track 2")} == {1}
    assert set(data.subjects_n) == {"P1", "P2"}
    targets = consensus_targets(data.votes_nk, THREE, THREE)
    assert {targets[names.index(n)] for n in names if n.startswith(name)} == {-1, 1, 2}


def test_faces_are_those_of_their_frames(loaded: Results, drawn: Path) -> None:
    path = loaded.folder / "faces.npz"
    export_corrections(
        loaded, people(loaded), corrections(loaded)[3:], [drawn / "interview.mp4"], path
    )
    faces = read_arrays(path, 48).images_nhw
    pixels = frame_at(drawn / "interview.mp4", 2.5).mean(axis=2)
    wanted = pixels[75:285, LEFTS[1] + 35 : LEFTS[1] + 245].astype(np.uint8)
    small = np.asarray(Image.fromarray(wanted).resize((48, 48), Image.Resampling.BOX))
    assert np.corrcoef(small.ravel(), faces[0].ravel())[0, 1] > 0.8  # of another face: 0.3


def test_crops_are_decoded_together_and_are_those_of_single_frames(
    loaded: Results, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, video = loaded.sources[0], drawn / "interview.mp4"
    chosen = [int(row) for row in rows.rows_of([Piece(1)])[[300, 10, 60, 11, 400]]]
    started: list[float] = []
    frames = Source.frames

    def counted(self: Source, selection: Selection) -> Any:
        started.append(selection.start_s)
        return frames(self, selection)

    monkeypatch.setattr(Source, "frames", counted)
    crops = dict(crops_at(video, rows, chosen, YuNet.framing, 48))
    assert len(started) == 3  # 0.4 to 2.4 s in one pass, then 12 s, then 16 s
    assert set(crops) == set(chosen)
    for row in chosen:
        frame = frame_at(video, float(rows.time_n[row]))
        alone = crop_faces(frame, rows.box_n4[row][None], YuNet.framing, 48)[0]
        assert (crops[row] == alone).all()


def test_frames_that_another_video_lacks_are_skipped_and_told(
    loaded: Results, drawn: Path, tmp_path: Path
) -> None:
    rows = loaded.sources[0]
    other = replace(rows, time_n=np.where(rows.time_n < 10, rows.time_n, rows.time_n + 0.013))
    changed = replace(loaded, sources=(other,))
    path = tmp_path / "faces.npz"
    written = export_corrections(
        changed, people(loaded), corrections(loaded), [drawn / "interview.mp4"], path
    )
    assert written.images == 4  # those before 10 s
    assert "no frame at 3 of the 7 times" in written.skipped[0]


def test_neighbouring_frames_are_not_taken(loaded: Results) -> None:
    rows = loaded.sources[0]
    chosen = chosen_rows(rows, Correction(rows.name, 1, 3.0, 8.0, "happy", "mk"))
    assert len(chosen) == 10
    assert np.diff(rows.time_n[chosen]).min() > 0.4
    assert chosen_rows(rows, Correction(rows.name, 2, 15.0, 16.0, "happy", "mk")) == []


def test_nothing_to_export_is_an_error(loaded: Results) -> None:
    path = loaded.folder / "faces.npz"
    with pytest.raises(DataError, match="no corrections"):
        export_corrections(loaded, people(loaded), [], [None], path)
    with pytest.raises(DataError, match="video was not found"):
        export_corrections(loaded, people(loaded), corrections(loaded), [None], path)
    assert not path.exists()


SAID = [(1, 0, 2, "neutral"), (1, 2, 6, "happy"), (1, 8, 11, "sad"), (1, 13, 19, "happy"),
        (2, 2, 7, "neutral"), (2, 7, 12, "happy"), (3, 23, 26, "happy"),
        (3, 26, 28, "neutral")]  # fmt: skip
"""Track, start, end and label of corrections of the drawn session."""


def said(loaded: Results) -> list[Correction]:
    name = loaded.sources[0].name
    return [Correction(name, track, float(a), float(b), label, "mk") for track, a, b, label in SAID]


def test_whole_stretches_are_held_out_where_people_are_few(loaded: Results, drawn: Path) -> None:
    path = loaded.folder / "faces.npz"
    videos = [drawn / "interview.mp4"]
    written = export_corrections(loaded, people(loaded), said(loaded), videos, path)
    data = read_arrays(path, 48)
    held = {
        str(n)
        for n, s in zip(data.sources_n, data.source_splits_n, strict=True)
        if s == "validation"
    }
    assert len(held) == written.held_out > 0
    times = sorted({(int(n.split()[-1]), int(int(n.split(" frame ")[1].split()[0]) / 25))
                    for n in held})  # fmt: skip
    # Of happy the second stretch, 2: 7 to 12 s; of neutral 2: 2 to 7 s; of sad there is one.
    assert times == [(2, second) for second in range(2, 12)]
    assert "not about others" in written.split_words
    alone = [said(loaded)[0]]
    written = export_corrections(loaded, people(loaded), alone, videos, path)
    assert written.held_out == 0
    assert "none of them are for validation" in written.split_words


def test_joined_corrections_are_one_stretch(loaded: Results) -> None:
    name = loaded.sources[0].name
    made = [Correction(name, 1, a, b, label, "mk") for a, b, label in
            ((4, 6, "sad"), (1, 3, "sad"), (2, 4, "happy"), (8, 9, "sad"))]  # fmt: skip
    assert [(one.start_s, one.end_s, one.label) for one in stretches(made)] == [
        (1, 4, "sad"), (4, 6, "sad"), (8, 9, "sad")
    ]  # fmt: skip
    assert held_out(made) == [made[0]]


def test_people_enough_to_hold_out_some_have_no_splits(loaded: Results, drawn: Path) -> None:
    path = loaded.folder / "faces.npz"
    many: dict[str, Any] = {
        "people": [],
        "unknown": [],
        "not_a_face": [],
    }  # each track is its own subject
    rows = loaded.sources[0]
    tracks = np.where(rows.time_n < 20, rows.track_n, rows.time_n.astype(int))
    order = np.lexsort((rows.time_n, tracks))
    fields = ("frame_n", "time_n", "box_n4", "score_n", "probs_nk", "code_n")
    sorted_ = {name: getattr(rows, name)[order] for name in fields}
    other = replace(rows, track_n=tracks[order].astype(np.int32), **sorted_)
    corrected = [
        Correction(rows.name, track, float(track), track + 1.0, ("sad", "happy")[track % 2], "mk")
        for track in range(20, 28)
    ]
    changed = replace(loaded, sources=(other,))
    written = export_corrections(changed, many, corrected, [drawn / "interview.mp4"], path)
    assert written.held_out == 0
    assert "holds out some people" in written.split_words
    assert set(read_arrays(path, 48).source_splits_n) == {""}


def test_the_commands_of_the_docs_train_on_corrections(
    loaded: Results, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    save_study(Study(corrections=tuple(said(loaded))), loaded.folder / "study.toml")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "view.md").read_text(encoding="utf-8")
    block = text.split("writes the corrected faces as a data set:")[1]
    commands = [line.split()[1:] for line in block.splitlines() if line.startswith("    mien ")]
    assert [words[:2] for words in commands[:3]] == [
        ["view", "results"], ["data", "import"], ["train", "finetune"]
    ]  # fmt: skip
    commands[2] += ["--set", "fit.epochs=1", "--quiet"]
    for words in commands[:3]:
        with pytest.raises(SystemExit) as ended:
            run(words)
        assert ended.value.code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"]["labels"] == "three"
    metrics = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["validation_n"] for line in metrics] == [20]
