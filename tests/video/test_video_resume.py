"""A run that is killed, and what `--resume` makes of it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.patience import PATIENCE_S, child
from tests.video.clips import write_clip
from tests.video.test_video import OPEN, mien

from mien import Reader
from mien.imaging.codec import read_image
from mien.imaging.crop import WHOLE
from mien.testing import FakeClassifier
from mien.types import Faces
from mien.video.plan import VideoSettings
from mien.video.select import Selection
from mien.video.sinks.outputs import OutputFolder, OutputOptions
from mien.video.sinks.resume import about
from mien.video.sources import list_sources

LABELS = ("happy", "neutral", "sad")
SETTINGS = VideoSettings(gate=OPEN, lost_s=0.3, smooth_s=0.05)
RUN = {"settings": "these"}


class Squares:
    """Finds bright squares: red ones and green ones."""

    name, framing = "squares", WHOLE

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        boxes = []
        for channel in (0, 1):
            rest = image_hwc[:, :, 2].astype(int)
            rows, columns = np.nonzero(image_hwc[:, :, channel].astype(int) - rest > 60)
            if len(rows) > 20:
                boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


class Brightness(FakeClassifier):
    """Answers by the crop's mean, so that each frame has its own answer."""

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean = crops_nhw.mean(axis=(1, 2)) / 40
        return np.stack([mean, 3 - mean, np.ones_like(mean)], axis=1).astype(np.float32)


def frames(count: int = 210) -> list[NDArray[np.uint8]]:
    """Two squares that cross; the green one leaves for a while and returns."""
    made = []
    for k in range(count):
        pixels = np.full((64, 128, 3), 30, np.uint8)
        x = round(56 + 50 * np.sin(k / 25))
        pixels[8:24, x : x + 16] = (200 + k % 7, 60, 60)
        if not 60 <= k < 100:
            pixels[30:46, 112 - x : 128 - x] = (60, 150 + 3 * (k % 11), 60)
        made.append(pixels)
    return made


def run(
    clip: Path, out: Path, *, wanted: OutputOptions | None = None, resume: bool = False, **more: Any
) -> tuple[dict[str, Any], int]:
    """Return the summary, and from which frame on was read."""
    outputs = OutputFolder(out, wanted or OutputOptions(), RUN)
    source = next(list_sources([clip]))
    path = outputs.name(source)
    point = outputs.resume_point(source, path, SETTINGS, LABELS) if resume else None
    first = 0 if point is None else point.first.frame
    session = Reader(Brightness(), detector=Squares()).session(settings=SETTINGS, **more)
    summary = session.run(source, outputs.sinks(source, path, LABELS, point), point)
    return summary.to_dict(), first


def leave_part(clip: Path, out: Path, content: bytes, suffix: str = ".csv") -> None:
    """Leave what a kill would have."""
    out.mkdir(exist_ok=True)
    (out / f"clip{suffix}.part").write_bytes(content)
    source = next(list_sources([clip]))
    (out / f".clip{suffix}.part.json").write_text(json.dumps(about(source, RUN)))


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def same_rows(one: list[dict[str, str]], other: list[dict[str, str]]) -> None:
    """Alike in every column; only boxes predicted by the filter may differ by half a pixel."""
    assert [(r["frame"], r["track"]) for r in one] == [(r["frame"], r["track"]) for r in other]
    for a, b in zip(one, other, strict=True):
        boxes = ("x0", "y0", "x1", "y1") if a["origin"] == "predicted" else ()
        assert {k: v for k, v in a.items() if k not in boxes} == {
            k: v for k, v in b.items() if k not in boxes
        }
        for name in boxes:
            assert float(a[name]) == pytest.approx(float(b[name]), abs=0.5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"g": "24", "crf": "10"}
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames(), options=options)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.43, 0.5, 0.777, 0.9, 0.99, 1.0])
def test_cut_anywhere_the_rows_become_those_of_a_whole_run(
    clip: Path, tmp_path: Path, share: float
) -> None:
    whole, _ = run(clip, tmp_path / "whole")
    rows = (tmp_path / "whole" / "clip.csv").read_bytes()
    leave_part(clip, tmp_path / "out", rows[: int(len(rows) * share)])
    summary, begin = run(clip, tmp_path / "out", resume=True)
    same_rows(table(tmp_path / "out" / "clip.csv"), table(tmp_path / "whole" / "clip.csv"))
    assert (begin > 0) == (share > 0.4), "it resumes where the past is long enough"
    values = [s.pop("mean_valence") for s in (summary, whole)]
    for one, other in zip(summary["tracks"], whole["tracks"], strict=True):
        values += [one.pop("mean_valence"), other.pop("mean_valence")]
    assert summary == whole
    assert values[::2] == pytest.approx(values[1::2], abs=2e-4)  # of rows, which are rounded
    assert not list((tmp_path / "out").glob("*.part")) + list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize(
    "part",
    [Selection(every=3), Selection(fps=11), Selection(start_s=1.0, end_s=6.3)],
    ids=["every", "fps", "start and end"],
)
@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_selections_and_other_formats_are_resumed_too(
    tmp_path: Path, part: Selection, kind: str
) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(20, 46, 210)).tolist()
    clip = write_clip(tmp_path / "clip.mkv", frames(), times=times, options={"g": "24"})
    wanted = OutputOptions(rows=kind)
    run(clip, tmp_path / "lines", wanted=OutputOptions(rows="json"), selection=part)
    rows = (tmp_path / "lines" / "clip.jsonl").read_bytes()
    leave_part(clip, tmp_path / "out", rows[: int(len(rows) * 0.8)], ".jsonl")
    _, begin = run(clip, tmp_path / "out", wanted=wanted, resume=True, selection=part)
    assert begin > 0
    if kind == "json":
        assert (tmp_path / "out" / "clip.jsonl").read_bytes() == rows
    else:
        import pyarrow.parquet as pq

        made = pq.read_table(tmp_path / "out" / "clip.parquet").to_pylist()
        lines = [json.loads(line) for line in rows.splitlines()]
        assert [(r["frame"], r["track"], r["label"]) for r in made] == [
            (r["frame"], r["track"], r["label"]) for r in lines
        ]


def test_a_video_with_images_is_read_from_its_start(clip: Path, tmp_path: Path) -> None:
    run(clip, tmp_path / "whole")
    rows = (tmp_path / "whole" / "clip.csv").read_bytes()
    leave_part(clip, tmp_path / "out", rows[: len(rows) * 3 // 4])
    summary, begin = run(clip, tmp_path / "out", wanted=OutputOptions(report=True), resume=True)
    assert begin == 0
    assert summary["frames"] == 210
    assert (tmp_path / "out" / "clip.csv").read_bytes() == rows


def test_a_timeline_without_images_is_resumed(clip: Path, tmp_path: Path) -> None:
    wanted = OutputOptions(timeline=True, images=False)
    run(clip, tmp_path / "whole", wanted=wanted)
    rows = (tmp_path / "whole" / "clip.csv").read_bytes()
    leave_part(clip, tmp_path / "out", rows[: len(rows) * 3 // 4])
    _, begin = run(clip, tmp_path / "out", wanted=wanted, resume=True)
    assert begin > 0
    lanes = [
        (tmp_path / n / "clip.timeline.svg").read_text().count("track ") for n in ("whole", "out")
    ]
    assert lanes[0] == lanes[1] > 0


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_rows_with_the_columns_of_an_older_mien_are_not_resumed(
    clip: Path, tmp_path: Path, kind: str
) -> None:
    wanted, suffix = OutputOptions(rows=kind), ".csv" if kind == "csv" else ".jsonl"
    run(clip, tmp_path / "whole", wanted=wanted)
    rows = (tmp_path / "whole" / f"clip{suffix}").read_text("utf-8")
    old = rows.replace(",yaw,pitch,roll", "").replace(
        '"yaw": null, "pitch": null, "roll": null, ', ""
    )
    assert "yaw" not in old
    old = old.replace(",,,,", ",") if kind == "csv" else old
    leave_part(clip, tmp_path / "out", old.encode("utf-8")[: len(old) * 3 // 4], suffix)
    _, begin = run(clip, tmp_path / "out", wanted=wanted, resume=True)
    assert begin == 0
    assert (tmp_path / "out" / f"clip{suffix}").read_text("utf-8") == rows


@pytest.mark.parametrize("change", ["settings", "file", "note", "words"])
def test_rows_of_another_run_are_not_resumed(clip: Path, tmp_path: Path, change: str) -> None:
    run(clip, tmp_path / "whole")
    rows = (tmp_path / "whole" / "clip.csv").read_bytes()
    out = tmp_path / "out"
    leave_part(clip, out, rows[: len(rows) * 3 // 4])
    note = out / ".clip.csv.part.json"
    if change == "note":
        note.unlink()
    elif change == "words":
        (out / "clip.csv.part").write_text("these are no rows\n" * 90)
    else:
        content = json.loads(note.read_text())
        content[change] = "another"
        note.write_text(json.dumps(content))
    _, begin = run(clip, out, resume=True)
    assert begin == 0
    assert (out / "clip.csv").read_bytes() == rows


def test_killed_three_times_nothing_is_lost_or_doubled(tmp_path: Path, examples: Path) -> None:
    """`kill -9` to the command itself, with the real detector and model."""
    happy = read_image(examples / "astronaut.jpg")[40:184, 150:310]
    neutral = read_image(examples / "grace_hopper.jpg")[90:378:2, 140:460:2]
    images = [
        np.concatenate([np.roll(happy, k // 8 % 20, axis=1), neutral], axis=1) for k in range(900)
    ]
    clip = write_clip(tmp_path / "two.mp4", images, options={"preset": "ultrafast"})
    whole = mien(clip, "--out", tmp_path / "whole", "--threads", 1)
    assert whole.returncode == 0, whole.stderr
    command = [
        str(Path(sys.executable).with_name("mien")), "video", str(clip), "--threads", "1",
        "--out", str(tmp_path / "out"), "--resume",
    ]  # fmt: skip
    part = tmp_path / "out" / "two.csv.part"
    kept = 0
    for goal in (30_000, 60_000, 90_000):
        with child(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and (not part.exists() or part.stat().st_size < goal):
                time.sleep(0.002)
            process.kill()
            stderr = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL, stderr
        assert ("resuming" in stderr) == (kept > 0), stderr
        kept, before = part.stat().st_size, kept
        assert kept > before, "what was there is kept"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    rows = table(tmp_path / "out" / "two.csv")
    same_rows(rows, table(tmp_path / "whole" / "two.csv"))
    assert len(rows) == len({(r["frame"], r["track"]) for r in rows}) == 1800
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert again.stderr == f"done already: {clip}\n"
