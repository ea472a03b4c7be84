"""Videos through the whole flow: sources, times, rows, and what goes wrong."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.patience import PATIENCE_S
from tests.video.clips import image, write_clip

from mien import ConfigError, Reader, SourceError
from mien.imaging.codec import write_image
from mien.testing import FakeClassifier, FakeDetector
from mien.types import FrameReading
from mien.video.decode import read_file
from mien.video.plan import VideoSettings
from mien.video.quality import QualityGate
from mien.video.select import Selection
from mien.video.sinks.rows import CsvLines, columns, rows
from mien.video.sources import list_sources

OPEN = QualityGate(min_side=0, min_sharpness=0, max_yaw=0, min_inside=0)
SETTINGS = VideoSettings(gate=OPEN)


def reader(*boxes: tuple[float, float, float, float]) -> Reader:
    return Reader(FakeClassifier(), detector=FakeDetector(boxes or [(10, 10, 40, 40)]))


def read(source: Any, **more: Any) -> list[FrameReading]:
    return list(reader().stream(source, settings=SETTINGS, **more))


def mien(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mien")), "video", *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, check=False, timeout=PATIENCE_S
    )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 30)


def test_each_frame_has_its_reading(clip: Path) -> None:
    readings = read(clip)
    assert [r.frame for r in readings] == list(range(30))
    assert [r.time_s for r in readings] == pytest.approx([k / 30 for k in range(30)], abs=1e-6)
    assert {(r.width, r.height) for r in readings} == {(96, 64)}
    assert all([f.track for f in r.faces] == [1] for r in readings)
    origins = [r.faces[0].origin for r in readings]
    assert origins[:7] == ["detected", *["between"] * 5, "detected"]
    assert [k for k, r in enumerate(readings) if r.faces[0].raw is not None] == list(
        range(0, 30, 2)
    )
    assert all(r.faces[0].label == "neutral" for r in readings)


def test_timestamps_are_the_containers_to_the_tick(tmp_path: Path) -> None:
    times = [0, 33, 70, 71, 200, 1000, 1003, 2500]
    clip = write_clip(tmp_path / "vfr.mkv", 8, times=times)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.time_base
        exact = [Fraction(f.pts or 0) * stream.time_base for f in container.decode(stream)]
    readings = read(clip)
    assert [r.time_s for r in readings] == [float(t) for t in exact]
    assert [round(1000 * r.time_s) for r in readings] == times
    with av.open(str(clip)) as container:
        base = container.streams.video[0].time_base
        assert base
        assert [r.pts * base for r in readings if r.pts is not None] == exact


def test_file_stdin_and_arrays_give_the_same(tmp_path: Path, examples: Path) -> None:
    """In every column, with the real detector and model, through the command line and Python."""
    clip = portrait_clip(tmp_path / "face.mp4", examples, 26)
    with av.open(str(clip)) as container:
        arrays = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    height, width = arrays[0].shape[:2]
    raw = b"".join(a.tobytes() for a in arrays)
    from_file = mien(clip, "--csv", "--threads", 1)
    piped = mien("-", "--csv", "--size", f"{width}x{height}", "--threads", 1, stdin=raw)
    assert from_file.returncode == piped.returncode == 0, piped.stderr

    def table(text: str) -> list[dict[str, str]]:
        rows = list(csv.DictReader(io.StringIO(text)))
        for row in rows:
            del row["source"], row["pts"]
        return rows

    assert table(from_file.stdout) == table(piped.stdout)
    assert {r["label"] for r in table(piped.stdout)} == {"happy"}
    one = Reader(threads=1)
    of_file, of_arrays = list(one.stream(clip)), list(one.stream(iter(arrays)))
    for a, b in zip(of_file, of_arrays, strict=True):  # to the last bit
        about: dict[str, Any] = {"source": "", "pts": 0, "time_s": 0, "until_s": None}
        assert replace(a, **about) == replace(b, **about)
        assert (a.time_s, a.until_s) == pytest.approx((b.time_s, b.until_s), abs=1e-9)
    labels, lines = one.classifier.info.labels, CsvLines(one.classifier.info.labels)
    text = lines.header + "".join(lines.line(row) for r in of_arrays for row in rows(r, labels))
    assert table(text) == table(from_file.stdout)
    assert set(table(text)[0]) == set(columns(labels)) - {"source", "pts"}
    origins = {row["origin"] for row in table(text)}
    assert origins == {"detected", "between", "predicted"}, "all that there is was compared"


def portrait_clip(path: Path, examples: Path, frames: int) -> Path:
    from mien.imaging.codec import read_image

    portrait = read_image(examples / "astronaut.jpg")[40:184, 150:310]
    return write_clip(path, [np.roll(portrait, 2 * k, axis=1) for k in range(frames)])


def test_parts_of_a_video(clip: Path) -> None:
    whole = read(clip)
    part = read(clip, selection=Selection(start_s=0.5, end_s=0.8))
    assert [(r.frame, r.pts, r.time_s) for r in part] == [
        (r.frame, r.pts, r.time_s) for r in whole if 0.5 <= r.time_s < 0.8
    ]
    assert [r.frame for r in read(clip, selection=Selection(every=7))] == [0, 7, 14, 21, 28]
    assert [r.frame for r in read(clip, selection=Selection(fps=10))] == list(range(0, 30, 3))


def test_seeking_does_not_decode_what_comes_before(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", 300, options={"g": "30"})
    frames = list(read_file(clip, Selection(start_s=9.0)))
    assert frames[0].time_s >= 8.0
    assert frames[-1].index == 299
    assert frames[-1].time_s == pytest.approx(299 / 30, abs=1e-4)


@pytest.mark.parametrize("bad", [{"every": 0}, {"fps": 0.0}, {"start_s": -1.0},
                                 {"start_s": 2.0, "end_s": 1.0}])  # fmt: skip
def test_selections_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Selection(**bad)


def test_folders_globs_and_images(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    write_clip(folder / "b.mp4", 3)
    write_clip(folder / "a.webm", 2, codec="libvpx")
    write_image(folder / "c.png", image(0))
    (folder / "notes.txt").write_text("no video")
    names = [Path(s.name).name for s in list_sources([folder])]
    assert names == ["a.webm", "b.mp4", "c.png"]
    assert [Path(s.name).name for s in list_sources([str(folder / "*.mp4")])] == ["b.mp4"]
    readings = list(reader().stream(folder, settings=SETTINGS))
    assert [(Path(r.source).name, r.frame) for r in readings] == [
        ("a.webm", 0), ("a.webm", 1), ("b.mp4", 0), ("b.mp4", 1), ("b.mp4", 2), ("c.png", 0),
    ]  # fmt: skip
    assert {f.track for r in readings for f in r.faces} == {1}, "numbers start again in each source"
    with pytest.raises(SourceError, match="holds no videos"):
        list(list_sources([str(folder / "*.mov")]))


def test_rotation_is_applied(tmp_path: Path) -> None:
    """The display matrix is written into the file as a phone would."""
    plain = write_clip(tmp_path / "plain.mp4", 4)
    turned = tmp_path / "turned.mp4"
    content = plain.read_bytes()
    # The track header's matrix: identity, to a quarter turn (0, 1, -1, 0) in 16.16.
    identity = b"".join(v.to_bytes(4, "big") for v in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join(
        (v % 2**32).to_bytes(4, "big")
        for v in (0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    )
    at = content.index(b"tkhd")
    at = content.index(identity, at)
    turned.write_bytes(content[:at] + quarter + content[at + 36 :])
    upright = next(read_file(plain, Selection())).pixels
    first = next(read_file(turned, Selection()))
    assert first.size == (64, 96)
    assert np.array_equal(first.pixels, np.rot90(upright, -1)), "a quarter turn clockwise"


def test_ten_bits_and_interlaced(tmp_path: Path) -> None:
    deep = write_clip(tmp_path / "deep.mkv", 6, codec="ffv1", pixels="yuv420p10le")
    shallow = next(read_file(write_clip(tmp_path / "plain.mkv", 6, codec="ffv1"), Selection()))
    pixels = next(read_file(deep, Selection())).pixels
    assert np.abs(pixels.astype(int) - shallow.pixels).mean() < 2
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1:interlaced=1"}
    moving = [np.roll(image(0), 12 * k, axis=1) for k in range(8)]
    woven = [m.copy() for m in moving]
    for k in range(7):
        woven[k][1::2] = moving[k + 1][1::2]  # the other field is half a frame later
    for frames, name in ((woven, "woven.mkv"),):
        clip = write_clip(tmp_path / name, frames, options=options)
        with av.open(str(clip)) as container:
            decoded = list(container.decode(video=0))
        assert decoded[2].interlaced_frame
        read_frames = list(read_file(clip, Selection()))
        assert [f.index for f in read_frames] == list(range(8))
        assert [f.pts for f in read_frames] == [f.pts for f in decoded]
        combed = comb(decoded[2].to_ndarray(format="rgb24"))
        assert comb(read_frames[2].pixels) < 0.6 * combed


def comb(pixels: np.ndarray) -> float:
    """How much neighbouring rows differ beyond every second one."""
    grey = pixels.mean(axis=2)
    return float(np.abs(grey[:-1] - grey[1:]).mean() - np.abs(grey[:-2] - grey[2:]).mean())


def test_a_wrong_suffix_does_not_matter(tmp_path: Path, clip: Path) -> None:
    for name in ("clip.jpg", "clip.txt", "clip.avi"):
        other = tmp_path / name
        other.write_bytes(clip.read_bytes())
        assert len(read(other)) == 30
    (tmp_path / "words.mp4").write_text("these are words " * 50)
    with pytest.raises(SourceError, match="cannot read"):
        read(tmp_path / "words.mp4")


def test_what_holds_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SourceError, match=r"cannot read .*empty\.mp4: the file is empty"):
        read(tmp_path / "empty.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(SourceError, match="has no video in it, only audio"):
        read(tmp_path / "sound.mp4")
    write_clip(tmp_path / "zero.mkv", 1)
    nothing = (tmp_path / "zero.mkv").read_bytes()
    cut = nothing.index(b"\x1f\x43\xb6\x75")  # the cluster, where the frames begin
    (tmp_path / "zero.mkv").write_bytes(nothing[:cut])
    with pytest.raises(SourceError, match="holds no frame|cannot read"):
        read(tmp_path / "zero.mkv")


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_a_cut_video_gives_what_it_holds_and_says_so(tmp_path: Path, container: str) -> None:
    options = {"g": "10"}
    clip = tmp_path / f"cut.{container}"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    write_clip(clip, list(noise), options=options)
    content = clip.read_bytes()
    if container == "mp4":  # with its index in front, as for the web
        faststart(clip)
        content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    readings = []
    with pytest.raises(SourceError, match="cut short|damaged") as caught:
        for reading in reader().stream(clip, settings=SETTINGS):
            readings.append(reading)
    assert 15 < len(readings) < 50
    table = reader().video(clip, settings=SETTINGS)
    assert table.error == caught.value.message
    assert len(table) == len(readings)


def faststart(path: Path) -> None:
    other = path.with_name("fast.mp4")
    with av.open(str(path)) as source, av.open(
        str(other), "w", options={"movflags": "+faststart"}
    ) as out:  # fmt: skip
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    other.replace(path)


def test_blurring_faces_writes_the_video_with_blurred_faces(clip: Path, tmp_path: Path) -> None:
    for more, media in (
        ([], ["clip.annotated.mp4"]),
        (["--no-images"], []),
        (["--timeline"], ["clip.timeline.svg"]),
    ):
        out = tmp_path / "-".join(["out", *more])
        done = mien(clip, "--out", out, "--blur-faces", *more)
        assert done.returncode == 3, done.stderr  # no face in these frames
        tables = {"clip.csv", "clip.summary.json"}
        assert sorted(path.name for path in out.iterdir() if path.name not in tables) == media
    done = mien(clip, "--blur-faces")
    assert done.returncode == 2
    assert "give --out DIR" in done.stderr


def test_settings_keep_the_readers_threshold() -> None:
    reader = Reader(FakeClassifier(), detector=FakeDetector([]), min_confidence=0.7)
    assert reader.session(settings=VideoSettings(smooth="none")).settings.min_confidence == 0.7
    own = VideoSettings(min_confidence=0.2)
    assert reader.session(settings=own).settings.min_confidence == 0.2
