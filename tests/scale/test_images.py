"""Images on engines: the same rows everywhere, nothing lost and nothing twice, whatever dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image
from tests.conftest import ROOT, run_mien
from tests.patience import child, until
from tests.scale import drive
from tests.scale.test_engine_contract import CASES, WITH_PROCESSES, make, pytestmark  # noqa: F401

from mien.errors import ConfigError, MienError, SourceError
from mien.scale import images as module
from mien.scale.engines.local import LocalEngine
from mien.types import face_rows

N = 70
BAD = 41


def draw(folder: Path, count: int = N, *, killer: int | None = None) -> Path:
    """Write images that are told apart by the blue of their corner; KILLER has a red one."""
    folder.mkdir()
    for number in range(count):
        pixels = np.full((24, 24, 3), (number * 3) % 200, np.uint8)
        pixels[0, 0] = (255 if number == killer else 7, 0, number)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


def table(out: Path) -> list[dict[str, Any]]:
    found = ds.dataset(out / "rows", partitioning="hive").to_table()
    return sorted(found.to_pylist(), key=lambda row: row["source"])


def reads(counts: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for path in counts.iterdir():
        number = int(path.name.partition("-")[0])
        found[number] = found.get(number, 0) + 1
    return found


@pytest.mark.parametrize("case", CASES)
def test_rows_are_those_of_a_reader_bit_for_bit_on_every_engine(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw(tmp_path / "images")
    (images / "torn.png").write_bytes(b"\x89PNG torn")
    local = drive.read(images, tmp_path / "local", LocalEngine(1))
    manifest = drive.read(images, tmp_path / "out", make(case, tmp_path, monkeypatch))
    # The files themselves: paths, rows and hashes.
    assert manifest["files"] == local["files"]
    assert manifest["run"] == local["run"]
    counts = {"images": 71, "faces": 70, "without_a_face": 0, "unreadable": 1, "crashed": 0}
    assert manifest["counts"] == counts
    assert manifest["failed"][0]["source"].endswith("torn.png")
    found = table(tmp_path / "out")
    expected = [row for one in drive.make_reader().read_many(images) for row in face_rows(one)]
    expected.sort(key=lambda row: row["source"])
    assert [row["source"] for row in found] == [row["source"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        for name, value in other.items():
            exact = np.float32(value) if isinstance(value, float) else value
            assert row[name] == exact, name


@pytest.mark.parametrize("case", WITH_PROCESSES)
def test_an_image_that_kills_its_worker_is_a_listed_row(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw(tmp_path / "images", killer=BAD)
    counts = tmp_path / "counts"
    counts.mkdir()
    engine = make(case, tmp_path, monkeypatch)
    manifest = drive.read(images, tmp_path / "out", engine, str(counts))
    assert (manifest["counts"]["crashed"], manifest["counts"]["faces"]) == (1, N - 1)
    (record,) = manifest["failed"]
    assert record["source"].endswith(f"{BAD:03d}.png")
    assert record["attempts"] == 3
    assert "given up after 3 attempts: its worker died" in record["error"]
    rows = table(tmp_path / "out")
    assert len(rows) == N
    assert [row["source"] for row in rows if row["error"]] == [record["source"]]
    assert reads(counts)[BAD] == 3
    # All others as if nothing had happened.
    whole = drive.read(draw(tmp_path / "whole"), tmp_path / "fine", LocalEngine(1))
    assert whole["counts"]["faces"] == N
    others = [{**row, "source": ""} for row in rows if not row["error"]]
    fine = [row for row in table(tmp_path / "fine") if not row["source"].endswith(f"{BAD:03d}.png")]
    for row, other in zip(others, fine, strict=True):
        assert {**row, "source_hash": ""} == {**other, "source": "", "source_hash": ""}


def test_a_killed_driver_is_resumed_without_reading_anything_twice(tmp_path: Path) -> None:
    images, counts = draw(tmp_path / "images", 200), tmp_path / "counts"
    counts.mkdir()
    out = tmp_path / "out"
    command: list[str | Path] = [sys.executable, "-m", "tests.scale.drive", images, out, counts]
    with child(command, cwd=ROOT, stderr=subprocess.DEVNULL) as driver:
        journal = out / ".unfinished" / "segment-000000.jsonl"
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 32)
        driver.kill()
        driver.wait()
    kept = {json.loads(line)["record"] for line in journal.read_bytes().splitlines()[:-1]}
    # A kill may also cut a line.
    with journal.open("ab") as stream:
        stream.write(b'{"record": 199, "va')
    manifest = drive.read(images, out, counts=str(counts), resume=True)
    assert manifest["counts"]["images"] == 200
    twice = {number for number, count in reads(counts).items() if count > 1}
    assert not twice & kept
    assert set(reads(counts)) == set(range(200))
    # Of each of two workers, the batch that had not been taken in yet.
    assert len(twice) <= 2 * module.BATCH
    assert manifest["files"] == drive.read(images, tmp_path / "whole")["files"]
    assert not (out / ".unfinished").exists()
    # Again: nothing is left to do.
    assert drive.read(images, out, counts=str(counts), resume=True) == manifest
    assert {number for number, count in reads(counts).items() if count > 1} == twice


def test_segments_are_written_while_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT", 16)
    manifest = drive.read(draw(tmp_path / "images"), tmp_path / "out")
    assert {name.rpartition("/")[2] for name in manifest["files"]} == {
        f"part-{number:06d}.parquet" for number in range(5)
    }
    assert len(table(tmp_path / "out")) == N
    assert sum(about["rows"] for about in manifest["files"].values()) == N


def other_settings(images: Path, out: Path) -> dict[str, Any]:
    return drive.read(images, out, resume=True, settings={"faces": "whole"})


def other_model(images: Path, out: Path) -> dict[str, Any]:
    return drive.read(images, out, resume=True, model_sha256="1" * 64)


def changed_image(images: Path, out: Path) -> dict[str, Any]:
    (images / "001.png").write_bytes(b"other")
    return drive.read(images, out, resume=True)


def without_resume(images: Path, out: Path) -> dict[str, Any]:
    return drive.read(images, out)


def foreign(images: Path, out: Path) -> dict[str, Any]:
    (out / "manifest.json").rename(out / "thesis.txt")
    return drive.read(images, out, resume=True)


def a_file(images: Path, out: Path) -> dict[str, Any]:
    return drive.read(images, images / "000.png")


def newer(images: Path, out: Path) -> dict[str, Any]:
    values = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**values, "schema": 99}))
    return drive.read(images, out, resume=True)


@pytest.mark.parametrize(
    ("attempt", "kind", "words"),
    [
        (other_settings, ConfigError, "written by another run: other settings"),
        (other_model, ConfigError, "written by another run: other model"),
        (changed_image, ConfigError, "written by another run: other sources"),
        (without_resume, ConfigError, "holds a dataset already"),
        (foreign, ConfigError, "holds other files already"),
        (a_file, ConfigError, "is a file, not a folder"),
        (newer, SourceError, "schema 99; this mien reads up to 1"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_and_stays_as_it_is(
    attempt: Any, kind: type[MienError], words: str, tmp_path: Path
) -> None:
    images, out = draw(tmp_path / "images", 3), tmp_path / "out"
    drive.read(images, out, LocalEngine(1))
    before = sorted(path for path in out.rglob("*.parquet"))
    with pytest.raises(kind, match=words) as caught:
        attempt(images, out)
    assert caught.value.hint
    assert sorted(path for path in out.rglob("*.parquet")) == before


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    from mien.scale.dataset import RowDataset

    schema = module.image_schema(("a", "b"))
    arguments = (tmp_path / "out", {"a": 1}, [1], schema, lambda *_: None)
    with RowDataset(*arguments):  # type: ignore[arg-type]
        other = RowDataset(*arguments, resume=True)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="another run writes to"):
            other.__enter__()


def test_the_command_reads_the_examples(
    tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    arguments = ("predict", examples, "--engine", "local", "--workers", 1, "--out", out)
    code, printed, err = run_mien(capsys, monkeypatch, *arguments)
    assert (code, printed) == (0, "")
    assert "1 of 1 batches of images" in err
    assert f"2 images, 2 faces, 0 without a face, 0 unreadable; written to {out}" in err
    assert [row["label"] for row in table(out)] == ["happy", "neutral"]
    again, _, err = run_mien(capsys, monkeypatch, *arguments)
    assert (again, "--resume to continue it" in err) == (2, True)
    assert run_mien(capsys, monkeypatch, *arguments, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "local"], "needs its folder"),
        (["--engine", "loca", "--out", "o"], "did you mean 'local'"),
        (["--engine", "local", "--out", "o", "--json"], "--json and --engine exclude each other"),
        (
            ["--engine", "local", "--out", "o", "--address", "auto"],
            "--address: only the engine ray",
        ),
        (["--engine", "slurm", "--out", "o", "--engine-set", "a"], "'a' is not KEY=VALUE"),
        (["--workers", "2"], "--workers is an option of an engine"),
        (["--out", "o"], "--out is an option of an engine"),
        (["--resume"], "--resume is an option of an engine"),
    ],
)
def test_command_lines_that_contradict_themselves_are_refused(
    words: list[str], message: str, examples: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = run_mien(capsys, monkeypatch, "predict", examples, *words)
    assert code == 2
    assert message in err
    assert not (tmp_path / "o").exists()
