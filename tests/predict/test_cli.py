from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.video.test_video import portrait_clip

from mien.imaging.codec import read_image, write_image


def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mien")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    write_image(tmp_path / "blank.png", np.full((60, 60, 3), 128, np.uint8))
    return tmp_path / "blank.png"


def test_json_has_the_documented_form(examples: Path, blank: Path, tmp_path: Path) -> None:
    done = mien("predict", examples / "astronaut.jpg", blank, tmp_path / "none.jpg", "--json")
    assert done.returncode == 1
    readings = json.loads(done.stdout)
    assert [r["source"] for r in readings] == [
        str(examples / "astronaut.jpg"), str(blank), str(tmp_path / "none.jpg"),
    ]  # fmt: skip
    for reading in readings:
        assert list(reading) == [
            "source", "width", "height", "detector", "model", "faces", "error", "turn", "notes",
        ]  # fmt: skip
    assert (readings[0]["width"], readings[0]["height"]) == (512, 512)
    assert (readings[0]["detector"], readings[0]["model"]) == ("yunet", "mien-small")
    face = readings[0]["faces"][0]
    assert list(face) == ["box", "box_inside", "score", "label", "confidence", "probabilities"]
    assert list(face["probabilities"]) == ["happy", "neutral", "sad"]
    assert readings[1]["faces"] == []
    assert readings[1]["error"] is None
    assert "No such file" in readings[2]["error"]
    assert f"no face: {blank}" in done.stderr
    assert "unreadable: cannot read" in done.stderr
    assert "3 images, 1 face, 1 without a face, 1 unreadable" in done.stderr


def test_exit_codes(examples: Path, blank: Path) -> None:
    assert mien("predict", examples).returncode == 0
    assert mien("predict", examples, blank).returncode == 3
    assert mien("predict", examples, "--json", "--csv").returncode == 2
    assert mien("predict").returncode == 2


def test_csv_has_a_row_for_every_image(examples: Path, blank: Path) -> None:
    done = mien("predict", examples, blank, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [Path(r["source"]).name for r in rows] == [
        "astronaut.jpg", "grace_hopper.jpg", "blank.png",
    ]  # fmt: skip
    assert [r["label"] for r in rows] == ["happy", "neutral", ""]
    assert float(rows[0]["p_happy"]) == float(rows[0]["confidence"]) > 0.8


def test_output_file_and_annotated_images(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(examples / "astronaut.jpg", tmp_path / "other")
    out = tmp_path / "annotated"
    done = mien(
        "predict", examples, tmp_path / "other", "--json", "-o", tmp_path / "a.json",
        "--annotate", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(json.loads((tmp_path / "a.json").read_text())) == 3
    assert sorted(p.name for p in out.iterdir()) == [
        "astronaut-2.jpg", "astronaut.jpg", "grace_hopper.jpg",
    ]  # fmt: skip
    original = read_image(examples / "astronaut.jpg").astype(int)
    drawn = read_image(out / "astronaut.jpg").astype(int)
    changed = np.abs(drawn - original).max(axis=2) > 60
    assert 0.002 < changed.mean() < 0.1


def test_an_image_is_never_written_over_itself(examples: Path, tmp_path: Path) -> None:
    path = tmp_path / "me.jpg"
    shutil.copy(examples / "astronaut.jpg", path)
    before = path.read_bytes()
    assert mien("predict", path, "--annotate", tmp_path).returncode == 0
    assert path.read_bytes() == before
    assert (tmp_path / "me-2.jpg").exists()


@pytest.fixture
def clip(tmp_path: Path, examples: Path) -> Path:
    return portrait_clip(tmp_path / "clip.mp4", examples, 14)


def test_an_empty_folder_is_one_error(tmp_path: Path) -> None:
    """No header, no row and no count: there is nothing to count."""
    done = mien("predict", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == f"error: {tmp_path} holds no images"
    assert done.stderr.splitlines()[1].startswith("hint: images have suffixes such as .jpg")
    assert len(done.stderr.splitlines()) == 2


def test_an_empty_folder_beside_an_image_counts_as_no_image(tmp_path: Path, examples: Path) -> None:
    done = mien("predict", tmp_path, examples / "astronaut.jpg")
    assert done.returncode == 1
    rows = [line.split("\t")[:2] for line in done.stdout.splitlines()[1:]]
    assert rows == [[str(tmp_path), "no images"], [str(examples / "astronaut.jpg"), "happy"]]
    assert f"empty: {tmp_path} holds no images" in done.stderr
    assert "1 image, 1 face, 0 without a face, 0 unreadable" in done.stderr


def test_a_video_is_read_too(clip: Path, tmp_path: Path) -> None:
    """As `mien video` does, in its three forms on standard output."""
    summary = mien("predict", clip, "--threads", 1)
    assert summary.returncode == 0, summary.stderr
    assert summary.stdout.startswith(f"{clip}: 14 frames, 0.5 s, 1 track\n")
    assert "happy" in summary.stdout
    from_csv = mien("predict", clip, "--csv", "--threads", 1)
    rows = list(csv.DictReader(io.StringIO(from_csv.stdout)))
    assert [row["frame"] for row in rows] == [str(k) for k in range(14)]
    assert {(row["track"], row["label"]) for row in rows} == {("1", "happy")}
    from_json = mien("predict", clip, "--json", "--threads", 1)
    lines = [json.loads(line) for line in from_json.stdout.splitlines()]
    assert [(line["frame"], line["label"]) for line in lines] == [(k, "happy") for k in range(14)]
    assert not list(tmp_path.glob("*.csv")), "nothing is stored unless asked"


def test_a_video_is_annotated_into_a_folder(clip: Path, tmp_path: Path) -> None:
    done = mien("predict", clip, "--annotate", tmp_path / "out", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert f"written to {tmp_path / 'out' / 'clip'}.*" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip.annotated.mp4", "clip.csv", "clip.summary.json",
    ]  # fmt: skip


def test_videos_that_predict_cannot_read_so(clip: Path, examples: Path, tmp_path: Path) -> None:
    mixed = mien("predict", clip, examples / "astronaut.jpg")
    assert mixed.returncode == 2
    assert mixed.stderr == (
        f"error: {clip} is a video; images and videos cannot be mixed\n"
        "hint: give the videos alone, or use mien video, which reads both\n"
    )
    for more in (["--output", tmp_path / "rows.csv"], ["--faces", "whole"]):
        other = mien("predict", clip, *more)
        assert other.returncode == 2
        assert "hint: mien video" in other.stderr
    missing = mien("predict", tmp_path / "none.mp4")
    assert missing.returncode == 1
    assert "unreadable: cannot read" in missing.stderr
    assert "no such file" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_errors_are_two_lines_and_no_traceback(examples: Path, tmp_path: Path) -> None:
    done = mien("predict", examples, "--model", tmp_path / "none.onnx")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"error: there is no model {tmp_path / 'none.onnx'}: no such file or run folder, and no "
        "shipped model of that name\n"
        "hint: give an ONNX file, a run folder, or the name of a shipped model: mien-small, "
        "mien-base, mien-small-int8, mien-tiny, mien-tiny-int8\n"
    )
    done = mien("predict", examples, "--detector", "mtcn")
    assert done.returncode == 2
    assert "hint: did you mean 'mtcnn'?" in done.stderr


def test_no_space_left_while_annotating(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.files import WriteError
    from mien.predict.sinks.annotated import AnnotatedFolder
    from mien.reader import Reader

    folder = AnnotatedFolder(tmp_path / "out")
    first, second = Reader().read_many([examples])
    folder.append(first)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        folder.append(second)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["astronaut.jpg"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("form", [["--json"], ["--csv"], []])
def test_no_space_left_for_the_output(examples: Path, form: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [Path(sys.executable).with_name("mien"), "predict", examples / "astronaut.jpg", *form],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: cannot write the output: No space left on device",
        "hint: free some space or write to another disk; nothing already written was lost",
    ]
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_every_unreadable_image_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "words.png").write_text("hello")
    done = mien("predict", tmp_path / "empty.jpg", tmp_path / "words.png", tmp_path / "none.gif")
    assert done.returncode == 1
    assert "empty.jpg is empty (0 bytes); the file was not written fully" in done.stderr
    assert "words.png is not an image that can be read; use JPEG, PNG" in done.stderr
    assert "none.gif: No such file or directory; check the path" in done.stderr
    assert "3 images, 0 faces, 0 without a face, 3 unreadable" in done.stderr


NAME = b"\xff \xf0\x9f\x99\x82.jpg"  # a byte that is not UTF-8, and a smiley


@pytest.mark.skipif(sys.platform != "linux", reason="file names must be UTF-8 there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_file_name_on_any_terminal(examples: Path, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / os.fsdecode(NAME)
    shutil.copy(examples / "astronaut.jpg", path)
    command = [str(Path(sys.executable).with_name("mien")), "predict", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for form in ("--json", "--csv", None):
        done = subprocess.run(
            [*command, form] if form else command, capture_output=True, env=environment, check=True
        )
        if form == "--json":
            [reading] = json.loads(done.stdout.decode(encoding))
            assert os.fsencode(reading["source"]) == os.fsencode(path)
        else:
            assert b"happy" in done.stdout
    if encoding == "utf-8":
        written = tmp_path / "a.json"
        subprocess.run([*command, "--json", "-o", str(written)], capture_output=True, check=True)
        assert json.loads(written.read_text())[0]["source"] == str(path)


def test_odd_paths_are_listed_and_the_rest_is_read(examples: Path, tmp_path: Path) -> None:
    shutil.copy(examples / "astronaut.jpg", tmp_path / "good.jpg")
    (tmp_path / "holiday.jpg").mkdir()  # a folder, whatever its name
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    long = "x" * 300
    done = mien("predict", tmp_path, long, "--json")
    assert done.returncode == 1
    names = [Path(r["source"]).name for r in json.loads(done.stdout) if not r["error"]]
    assert names == ["good.jpg"]
    assert "Too many levels of symbolic links" in done.stderr
    assert f"cannot read {long}: File name too long" in done.stderr
    assert "4 images, 1 face, 0 without a face, 3 unreadable" in done.stderr


def test_a_folder_for_the_output_is_refused_before_the_work(examples: Path, tmp_path: Path) -> None:
    done = mien("predict", examples, "-o", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --output {tmp_path} is a folder\nhint: give a file name\n"


def test_a_reader_of_our_output_may_leave(examples: Path) -> None:
    command = f"{Path(sys.executable).with_name('mien')} predict {examples} --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "["
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["video"], "mien video needs SOURCES", "See mien video --help"),
        (["predcit", "me.jpg"], "mien has no command 'predcit'",
         "did you mean 'predict'? see mien --help"),
        (["predict", "me.jpg", "--modle", "x"], "mien predict has no option --modle",
         "did you mean --model? see mien predict --help"),
        (["predict", "me.jpg", "--threads", "x"], "--threads must be an integer, got 'x'",
         "see mien predict --help"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_two_lines_too(arguments: list[str], error: str, hint: str) -> None:
    done = mien(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first == f"error: {error}"
    assert second.startswith("hint: ")
    assert second.endswith(hint)


def test_mien_alone_lists_its_commands_and_is_a_module_too() -> None:
    alone = mien()
    assert alone.returncode == 2
    assert alone.stderr.startswith("Usage: mien")
    assert "..." not in alone.stderr.split("Commands:")[1]  # no line is cut
    module = [sys.executable, "-m", "mien", "--version"]
    done = subprocess.run(module, capture_output=True, text=True, check=True)
    assert done.stdout == mien("--version").stdout


def test_version_and_help() -> None:
    assert mien("--version").stdout == "mien 0.1.0\n"
    text = mien("--help").stdout
    for command in ("predict", "data", "train", "evaluate", "export", "networks"):
        assert command in text
