"""Video: speed against a plain loop, flat memory, and following on scenes of known truth.

    python bench/video.py [--frames 100000] [--skip-soak] [--threads 2]

Speeds are of one run on one machine: the ratio is what counts where others use it too.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mien import Reader
from mien.predict.sinks.rowfile import RowFile
from mien.predict.sources import array_source
from mien.predict.video.decode import read_file
from mien.predict.video.select import Selection
from mien.types import FrameReading
from scenes import RATE, Actor, Truth, render, scenes


def write_scene(path: Path, actors: list[Actor], seconds: float, seed: int = 0) -> list[Truth]:
    truths = []
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": "20"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for pixels, truth in render(actors, seconds, seed):
            truths.append(truth)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return truths


def plain_rate(reader: Reader, clip: Path) -> float:
    """Frames a second of decoding, detecting and classifying every frame, one after another."""
    started, frames = time.perf_counter(), 0
    for frame in read_file(clip, Selection()):
        reader.read(frame.pixels)
        frames += 1
    return frames / (time.perf_counter() - started)


def video_rate(reader: Reader, clip: Path, folder: Path) -> float:
    """Frames a second of the whole flow, to CSV."""
    started, frames = time.perf_counter(), 0
    with RowFile(folder / "rows", "csv", reader.classifier.info.labels) as rows:
        for reading in reader.stream(clip):
            rows.append(reading)
            frames += 1
    return frames / (time.perf_counter() - started)


def match(reading: FrameReading, truth: Truth) -> list[tuple[int, int]]:
    """Pairs (true person, track) whose boxes overlap by half at least."""
    if not reading.faces or not truth.faces:
        return []
    overlap = np.array([[_iou(b, np.array(f.box)) for f in reading.faces] for _, b in truth.faces])
    rows, columns = linear_sum_assignment(-overlap)
    return [
        (truth.faces[r][0], reading.faces[c].track)
        for r, c in zip(rows, columns, strict=True)
        if overlap[r, c] >= 0.5
    ]


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def scores(readings: list[FrameReading], truths: list[Truth]) -> tuple[int, int, float]:
    """Face-frames, identity switches, IDF1."""
    together: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    switches = 0
    for reading, truth in zip(readings, truths, strict=True):
        for person, track in match(reading, truth):
            together[person, track] += 1
            switches += last.get(person, track) != track
            last[person] = track
    people = sorted({p for t in truths for p, _ in t.faces})
    tracks = sorted({f.track for r in readings for f in r.faces})
    counts = np.array([[together[p, t] for t in tracks] for p in people]).reshape(len(people), -1)
    rows, columns = linear_sum_assignment(-counts)
    hits = int(counts[rows, columns].sum()) if counts.size else 0
    faces = sum(len(t.faces) for t in truths)
    given = sum(len(r.faces) for r in readings)
    return faces, switches, 2 * hits / (faces + given)


def change_errors(readings: list[FrameReading], changes: list[float]) -> list[float]:
    """Seconds from each true change to the nearest change of the labels."""
    labels = [(r.time_s, r.faces[0].label) for r in readings if r.faces]
    found = [b[0] for a, b in itertools.pairwise(labels) if a[1] != b[1]]
    return [min((abs(t - c) for t in found), default=float("inf")) for c in changes]


def soak(reader: Reader, frames: int, folder: Path) -> tuple[float, float, float]:
    """Follow one face in many small frames; MB after a tenth, growth since, and the most."""
    pixels = next(iter(render(scenes()["one moves"][0], 0.1)))[0][180:540:2, 40:680:2]
    shifted = [np.ascontiguousarray(np.roll(pixels, k, axis=1)) for k in range(12)]

    def endless() -> Iterator[NDArray[np.uint8]]:
        for k in range(frames):
            yield shifted[abs(k % 22 - 11)]

    source = array_source(endless(), name="soak")
    early = 0.0
    with RowFile(folder / "soak", "csv", reader.classifier.info.labels) as rows:
        for k, (_, reading) in enumerate(reader.watch(source)):
            rows.append(reading)
            if k == frames // 10:
                early = _memory()
    with (folder / "soak.csv").open() as stream:
        assert sum(1 for row in csv.DictReader(stream) if row["track"]) > frames * 0.9
    late = _memory()
    return early, late - early, _peak()


def _memory() -> float:
    with Path("/proc/self/statm").open() as stream:
        return int(stream.read().split()[1]) * resource.getpagesize() / 1e6


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--skip-soak", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    reader = Reader(threads=arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| scene | face-frames | switches | IDF1 | frames/s | plain loop | ratio |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for scene, (actors, seconds) in scenes().items():
            clip = folder / f"{scene.replace(' ', '-')}.mp4"
            truths = write_scene(clip, actors, seconds)
            readings = list(reader.stream(clip))
            faces, switches, idf1 = scores(readings, truths)
            quick, plain = video_rate(reader, clip, folder), plain_rate(reader, clip)
            print(
                f"| {scene} | {faces:,} | {switches} | {idf1:.4f} | {quick:.0f} | {plain:.0f} "
                f"| {quick / plain:.1f} |",
                flush=True,
            )
            if scene == "change expression":
                errors = change_errors(readings, [t for t, _ in actors[0].heads[1:]])
                print(f"changes placed within {max(errors):.3f} s (at most 0.25)")
        print(f"memory at most, 720p: {_peak():.0f} MB, the bench's own in it")
        if not arguments.skip_soak:
            early, growth, most = soak(reader, arguments.frames, folder)
            print(
                f"{arguments.frames:,} frames: {early:.0f} MB after a tenth, {growth:+.1f} MB "
                f"since (at most 10), {most:.0f} MB at most (at most 400)"
            )


if __name__ == "__main__":
    main()
