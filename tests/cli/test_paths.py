"""What `mien predict` accepts as input, and where it writes."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.video.test_video import portrait_clip

from mien.cli.main import run

MIEN = str(Path(sys.executable).with_name("mien"))


def mien(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_an_image_on_standard_input(examples: Path, tmp_path: Path) -> None:
    content = (examples / "astronaut.jpg").read_bytes()
    command = [MIEN, "predict", str(examples / "grace_hopper.jpg"), "-", "--json", "--annotate",
               str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    readings = json.loads(done.stdout)
    assert [r["source"] for r in readings] == [str(examples / "grace_hopper.jpg"), "-"]
    assert [r["faces"][0]["label"] for r in readings] == ["neutral", "happy"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grace_hopper.jpg", "stdin.jpg"]
    for wrong, message in ((b"", "standard input is empty"), (b"words", "is not an image")):
        done = subprocess.run(command, input=wrong, capture_output=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr.decode()


@pytest.mark.parametrize("joint", ["\n", "\r\n", "\0"])
def test_a_list_of_paths(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], joint: str
) -> None:
    names = [str(examples / name) for name in ("grace_hopper.jpg", "astronaut.jpg")]
    listed = tmp_path / "list.txt"
    listed.write_text(joint.join([*names, ""]), newline="")
    code, out, _ = mien(capsys, "predict", "--from-file", listed, "--csv")
    assert code == 0
    assert [row["source"] for row in csv.DictReader(io.StringIO(out))] == names
    done = subprocess.run([MIEN, "predict", "--from-file", "-"], input=listed.read_bytes(),
                          capture_output=True, check=True)  # fmt: skip
    assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()[1:]] == names


def test_globs_are_expanded_where_the_shell_did_not(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep").mkdir()
    shutil.copy(examples / "astronaut.jpg", tmp_path / "deep" / "b.jpg")
    shutil.copy(examples / "astronaut.jpg", tmp_path / "a[1].jpg")
    code, out, _ = mien(capsys, "predict", f"{tmp_path}/**/*.jpg")
    assert code == 0
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == [
        "image", "a[1].jpg", "b.jpg",
    ]  # fmt: skip
    code, out, _ = mien(capsys, "predict", tmp_path / "a[1].jpg")  # a file of that very name
    assert code == 0
    assert "happy" in out


def test_a_long_list_of_missing_files_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{tmp_path}/no/{i}.jpg\n" for i in range(100_000)))
    code, out, err = mien(capsys, "predict", "--from-file", listed)
    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first.startswith("error: none of 100,000 files exists; the first: ")
    assert second.startswith("hint: ")


def test_much_trouble_is_summed_up(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [tmp_path / f"{i}.jpg" for i in range(30)]
    code, out, err = mien(capsys, "predict", examples / "astronaut.jpg", *missing)
    assert code == 1
    assert len(out.splitlines()) == 32
    assert err.splitlines()[3] == "unreadable: and 27 more"


def test_a_missing_file_of_nearly_that_name(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(examples / "astronaut.jpg", tmp_path / "Astronaut.JPG")
    for command in ("predict", "video"):
        code, _, err = mien(capsys, command, tmp_path / "astronaut.jpg")
        assert code == 1
        assert f"did you mean '{tmp_path / 'Astronaut.JPG'}'?" in err


def test_videos_in_folders(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    portrait_clip(folder / "clip.mp4", examples, 6)
    code, out, _ = mien(capsys, "predict", folder, "--threads", 1)
    assert code == 0
    assert out.startswith(f"{folder / 'clip.mp4'}: 6 frames")
    code, _, err = mien(capsys, "predict", folder, "-o", tmp_path / "rows.csv")
    assert code == 2
    assert f"hint: mien video {folder} --out DIR" in err
    shutil.copy(examples / "astronaut.jpg", folder)
    code, out, err = mien(capsys, "predict", folder)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert f"note: 1 video in {folder} skipped; mien video {folder} reads both" in err


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv", "x.tsv", "x.txt", "X.JSON"])
def test_the_suffix_chooses_the_form(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    code, out, _ = mien(capsys, "predict", examples, "-o", path)
    assert (code, out) == (0, "")
    text = path.read_text()
    kind = path.suffix.lower()
    if kind == ".json":
        sources = [r["source"] for r in json.loads(text)]
    elif kind == ".jsonl":
        sources = [json.loads(line)["source"] for line in text.splitlines()]
    elif kind == ".csv":
        sources = [row["source"] for row in csv.DictReader(io.StringIO(text))]
    elif kind == ".tsv":
        sources = [line.split("\t")[0] for line in text.splitlines()[1:]]
    else:
        assert "\t" not in text
        sources = [line.split()[0] for line in text.splitlines()[1:]]
    assert sources == [str(examples / n) for n in ("astronaut.jpg", "grace_hopper.jpg")]


def test_seven_labels_in_a_pipe(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = mien(capsys, "predict", examples, "--labels", "seven")
    assert code == 0
    head, *rows = (line.split("\t") for line in out.splitlines())
    assert head == ["image", "expression", "angry", "disgust", "fear", "happy", "sad", "surprise",
                    "neutral", "box"]  # fmt: skip
    assert [len(row) for row in rows] == [10, 10]
