"""What is written of a video, the live view, streams that break, and threads that must end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.patience import PATIENCE_S, child
from tests.video.clips import image, write_clip
from tests.video.test_video import SETTINGS, mien, reader

from mien import ConfigError, Reader, SourceError
from mien.imaging.anonymize import blur_faces
from mien.testing import FakeClassifier, FakeDetector
from mien.types import UNSURE
from mien.video.plan import VideoSettings
from mien.video.quality import QualityGate
from mien.video.sinks.outputs import OutputFolder, OutputOptions
from mien.video.sources import array_source, list_sources

LABELS = ("happy", "neutral", "sad")


def write(
    clip: Path, folder: Path, wanted: OutputOptions, one: Reader | None = None
) -> dict[str, Any]:
    outputs = OutputFolder(folder, wanted)
    source = next(list_sources([clip]))
    session = (one or reader()).session(settings=SETTINGS)
    sinks = outputs.sinks(source, outputs.name(source), session.labels)
    return session.run(source, sinks).to_dict()


def test_rows_in_three_forms_say_the_same(tmp_path: Path) -> None:
    import pandas as pd

    clip = write_clip(tmp_path / "clip.mp4", 14)
    for kind in ("csv", "json", "parquet"):
        write(clip, tmp_path / "out", OutputOptions(rows=kind))
    tables = [
        pd.read_csv(tmp_path / "out/clip.csv"),
        pd.read_json(tmp_path / "out/clip.jsonl", lines=True),
        pd.read_parquet(tmp_path / "out/clip.parquet"),
        reader().video(clip, settings=SETTINGS).to_pandas(),
        reader().video(clip, settings=SETTINGS).to_polars().to_pandas(),
    ]
    for table in tables:
        assert list(table.columns) == list(tables[0].columns)
        for column in ("frame", "pts", "time_s", "track", "x0", "p_happy", "confidence"):
            assert table[column].tolist() == pytest.approx(tables[0][column].tolist(), abs=1e-6)
        assert table["label"].tolist() == ["neutral"] * 14
    assert not list((tmp_path / "out").glob("*.part"))


def test_summary_counts_time_not_frames(tmp_path: Path) -> None:
    times = [0, 100, 200, 300, 1000, 1100]
    clip = write_clip(tmp_path / "vfr.mkv", 6, times=times)
    one = Reader(
        FakeClassifier(["happy"] * 4 + ["sad"] * 2), detector=FakeDetector([(9, 9, 49, 49)])
    )
    settings = VideoSettings(detect_every=1, smooth="none", gate=SETTINGS.gate)
    table = one.video(clip, settings=settings)
    [track] = table.summary["tracks"]
    # 0.1 + 0.1 + 0.1 s happy, and of the gap of 0.7 s half a second; then twice 0.1 s sad.
    assert track["seen_s"] == pytest.approx(1.0)
    assert track["fraction_of_time"] == pytest.approx({"happy": 0.8, "sad": 0.2}, abs=1e-3)
    assert track["mean_valence"] == pytest.approx((0.8 - 0.2) * 0.85, abs=1e-3)
    assert [e["label"] for e in track["timeline"]] == ["happy", "sad"]


def test_faces_of_low_quality_are_not_classified(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 8)
    for box, gate, why in (
        ((10, 10, 22, 22), QualityGate(min_sharpness=0), "small"),
        ((-40, 10, 20, 60), QualityGate(min_sharpness=0), "cut"),
        ((10, 2, 50, 42), QualityGate(min_sharpness=9.0), "blurred"),
    ):
        one = reader(box)
        faces = [f for r in one.stream(clip, settings=VideoSettings(gate=gate)) for f in r.faces]
        assert {f.quality for f in faces} == {why}
        assert all(f.label is None and f.raw is None and f.unsure for f in faces)
    covered = reader((10, 10, 50, 50), (18, 10, 58, 50))
    gate = QualityGate(min_sharpness=0, min_side=0)
    readings = list(covered.stream(clip, settings=VideoSettings(gate=gate)))
    assert "covered" in {f.quality for r in readings for f in r.faces}


def test_below_the_threshold_a_face_is_unsure(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 4)
    settings = VideoSettings(gate=SETTINGS.gate, min_confidence=0.95)
    faces = [f for r in reader().stream(clip, settings=settings) for f in r.faces]
    assert {f.label for f in faces} == {UNSURE}
    assert all(f.confidence == pytest.approx(0.9, abs=1e-3) for f in faces)


def test_annotated_video_keeps_sound_and_times(tmp_path: Path) -> None:
    for name, audio in (("clip.mp4", True), ("mute.mp4", False)):
        clip = write_clip(tmp_path / name, 30, audio=audio)
        write(clip, tmp_path / "out", OutputOptions(annotate=True, report=True, timeline=True))
        made = tmp_path / "out" / f"{clip.stem}.annotated.mp4"
        with av.open(str(clip)) as before, av.open(str(made)) as after:
            assert len(after.streams.audio) == int(audio)
            if audio:
                lengths = [
                    sum(f.samples for f in c.decode(audio=0)) / 16_000 for c in (before, after)
                ]
                assert lengths[1] == pytest.approx(lengths[0], abs=0.15)
        with av.open(str(made)) as after:
            frames = list(after.decode(video=0))
            assert [f.time for f in frames] == pytest.approx([k / 30 for k in range(30)], abs=1e-3)
            drawn = frames[12].to_ndarray(format="rgb24").astype(int)
        assert np.abs(drawn - image(12)).max() > 60
    page = (tmp_path / "out" / "clip.html").read_text()
    assert 'src="clip.annotated.mp4"' in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "data:image/jpeg" in (tmp_path / "out" / "clip.timeline.svg").read_text()


def test_no_images_keeps_no_pixels(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 14)
    write(clip, tmp_path / "out", OutputOptions(report=True, timeline=True, images=False))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip.csv", "clip.html", "clip.summary.json", "clip.timeline.svg",
    ]  # fmt: skip
    for name in ("clip.html", "clip.timeline.svg"):
        text = (tmp_path / "out" / name).read_text()
        assert "data:image/jpeg" not in text
        assert "data:image/png" not in text
    assert 'src="../clip.mp4"' in (tmp_path / "out" / "clip.html").read_text()
    with pytest.raises(ConfigError, match="images=False forbids"):
        OutputOptions(annotate=True, images=False)


def test_blurred_media_show_no_face(tmp_path: Path, examples: Path) -> None:
    """The real detector finds the face in the clip, and none in what is written of it."""
    from tests.video.test_video import portrait_clip

    clip = portrait_clip(tmp_path / "face.mp4", examples, 8)
    one = Reader(threads=1)
    outputs = OutputFolder(tmp_path / "out", OutputOptions(annotate=True, blur=True))
    source = next(list_sources([clip]))
    session = one.session(settings=VideoSettings(detect_every=1))
    summary = session.run(source, outputs.sinks(source, outputs.name(source), session.labels))
    assert len(summary.to_dict()["tracks"]) == 1
    with av.open(str(tmp_path / "out" / "face.annotated.mp4")) as made:
        assert not made.streams.audio
        for frame in made.decode(video=0):
            assert len(one.detector.detect(frame.to_ndarray(format="rgb24"))) == 0
    with av.open(str(clip)) as original:
        first = next(original.decode(video=0)).to_ndarray(format="rgb24")
    assert len(one.detector.detect(first)) == 1


def test_a_blur_cannot_be_undone() -> None:
    """Two faces with the same few cells give the same pixels: what differs is gone."""
    rng = np.random.default_rng(0)
    one = np.full((100, 100, 3), 90, np.uint8)
    other = one.copy()
    one[30:70, 30:70] = rng.integers(0, 255, (1, 1, 3))
    other[:] = one
    other[34, 34], other[35, 35] = one[34, 34] + 3, one[35, 35] - 3
    box = np.array([30, 30, 70, 70], np.float32)
    a, b = blur_faces(one, [box]), blur_faces(other, [box])
    assert np.array_equal(a[34:66, 34:66], b[34:66, 34:66])
    assert np.array_equal(a[:10], one[:10])


def test_resume_skips_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name, 6)
    (folder / "c.mp4").write_text("no video")
    out = tmp_path / "out"
    first = mien(folder / "a.mp4", folder, "--out", out, "--detector", "mtcnn", "--threads", 1)
    assert first.returncode == 1, first.stderr
    assert "unreadable: cannot read" in first.stderr
    (out / "b.summary.json").unlink()
    before = (out / "a.csv").stat().st_mtime_ns
    again = mien(folder / "a.mp4", folder, "--out", out, "--resume", "--threads", 1)
    assert again.stderr.count("done already") == 2
    assert (out / "a.csv").stat().st_mtime_ns == before
    assert json.loads((out / "b.summary.json").read_text())["frames"] == 6


def test_what_broke_off_is_not_done(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    clip = write_clip(tmp_path / "cut.mkv", list(noise), options={"g": "10"})
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    for more in ([], ["--resume"], ["--resume"]):
        done = mien(clip, "--out", out, "--threads", 1, *more)
        assert done.returncode == 1, done.stderr
        assert "done already" not in done.stderr
        assert ("read again from the start" in done.stderr) == bool(more)
    clip.write_bytes(whole)
    done = mien(clip, "--out", out, "--threads", 1, "--resume")
    assert done.returncode == 3, done.stderr  # read whole; noise has no face
    assert json.loads((out / "cut.summary.json").read_text())["frames"] == 60
    assert "done already" in mien(clip, "--out", out, "--threads", 1, "--resume").stderr


def test_the_summary_names_all_labels_in_the_models_order(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.video.test_video import portrait_clip

    clip = portrait_clip(tmp_path / "face.mp4", examples, 8)
    heads = set()
    for seed in ("0", "1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        words, head, track = mien(clip, "--threads", 1).stdout.splitlines()
        assert words == f"{clip}: 8 frames, 0.3 s, 1 track"
        assert track.split() == ["1", "0.0", "s", "0.3", "s", "100%", *["0%"] * 4, "+1.00"]
        heads.add(tuple(head.split()))
    assert heads == {("track", "from", "seen", *LABELS, "unsure", "unread", "valence")}


def test_a_photo_given_as_a_video_is_read_as_one_frame(tmp_path: Path, examples: Path) -> None:
    photo = examples / "astronaut.jpg"
    done = mien(photo, "--out", tmp_path, "--threads", 1)
    assert done.returncode == 0
    assert done.stderr.startswith(f"{photo}: 1 frame, 1 track; written to")
    found = json.loads((tmp_path / "astronaut.summary.json").read_text())
    assert found["tracks"][0]["fraction_of_time"] == {"happy": 1.0}
    words, _, track = mien(photo, "--threads", 1).stdout.splitlines()
    assert words == f"{photo}: 1 frame, 1 track"
    assert track.split() == ["1", "100%", *["0%"] * 4, "+1.00"]


def test_a_kill_loses_at_most_the_last_second(tmp_path: Path) -> None:
    code = f"""
import sys, time, numpy as np
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from mien.video.sinks.outputs import OutputFolder, OutputOptions
from mien.video.sources import array_source
from tests.video.test_video import SETTINGS, reader
def frames():
    for k in range(10_000):
        time.sleep(0.01)
        print(k, flush=True)
        yield np.zeros((64, 96, 3), np.uint8)
out = OutputFolder(Path({str(tmp_path)!r}), OutputOptions())
source = array_source(frames(), rate=100, name="slow")
session = reader().session(settings=SETTINGS)
session.run(source, out.sinks(source, out.name(source), session.labels))
"""
    with child([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) == 300:
                break
        process.kill()
        process.wait()
    lines = (tmp_path / "slow.csv.part").read_text().splitlines()
    # Frames wait for the next detection, 0.2 s of video, and rows half a second in memory.
    assert len(lines) > 300 - 100


def test_a_full_disk_is_reported_and_leaves_no_half_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 128, 160, 3), dtype=np.uint8)
    clip = write_clip(tmp_path / "clip.mp4", list(noise))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    # Without coverage, whose own file would be too large as well.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    for more in (["--annotate"], []):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mien")), "video", str(clip), "--out",
             str(tmp_path / "out"), "--threads", "1", *more],
            env=env, preexec_fn=limit if more else None, capture_output=True, text=True,
            check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        if more:
            assert done.returncode == 1
            assert "error: cannot write" in done.stderr
            assert "File too large" in done.stderr
            assert "Traceback" not in done.stderr
            assert not list((tmp_path / "out").glob("*.mp4*"))
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mien")), "video", str(clip), "--csv"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:][0].startswith("error: cannot write the output: No space")


def test_an_exception_in_the_loop_ends_the_process(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 200)
    code = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.video.test_video import SETTINGS, reader
try:
    for k, reading in enumerate(reader().stream({str(clip)!r}, settings=SETTINGS)):
        if k == 3:
            raise RuntimeError("mine")
except RuntimeError as error:
    del error
print([t.name for t in threading.enumerate() if "mien" in t.name])
raise RuntimeError("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.strip() == "[]", "no thread is left behind"
    assert done.stderr.strip().endswith("RuntimeError: end")


def test_arrays_with_times_and_bad_arrays() -> None:
    items = [(0.0, image(0)), (0.25, image(1))]
    readings = list(reader().stream(items, settings=SETTINGS))  # type: ignore[arg-type]
    assert [r.time_s for r in readings] == [0.0, 0.25]
    with pytest.raises(SourceError, match=r"frame 1 must be uint8"):
        list(reader().stream([image(0), image(0)[:, :, 0]], settings=SETTINGS))
    assert array_source([]).kind == "arrays"
