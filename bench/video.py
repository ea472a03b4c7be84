"""Measures video: speed against a plain loop, memory, tracking with known ground truth, live delay.

    python bench/video.py [--frames 100000] [--threads 2] [--scenes 6]
                          [--only speed,tuned,held-out,every,live,soak]

Compare the ratio to the plain loop (speed), identity errors and label changes on scenes used for
tuning and on held-out ones, the same and CPU time with detections on every frame or more rarely
(every), the age of displayed frames (live), and memory, which must be flat
(soak). Absolute speeds hold for one run on one machine.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from held_out import FIRST, changes, people
from mien import Reader
from mien.imaging.draw import FrameAnnotator
from mien.types import FrameReading
from mien.video.decode import read_file, use_threads
from mien.video.frame import Frame, FrameResult
from mien.video.live import paced
from mien.video.plan import VideoSettings
from mien.video.select import Selection
from mien.video.sinks.base import Sink
from mien.video.sinks.row_file import RowFile
from mien.video.sources import array_source
from scenes import LOST_S, RATE, Scene, Truth, render, scenes
from watched import watched


def write_scene(path: Path, scene: Scene) -> None:
    with av.open(str(path), "w") as container:
        options = {"preset": "superfast", "crf": "20"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for pixels, _ in render(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def plain_rate(reader: Reader, clip: Path) -> float:
    """Return frames per second of a plain loop that decodes, detects and classifies every frame."""
    started, frames = time.perf_counter(), 0
    for frame in read_file(clip, Selection()):
        reader.read(frame.pixels)
        frames += 1
    return frames / (time.perf_counter() - started)


def decoding_rate(clip: Path, rgb: bool = False) -> float:
    """Return frames per second of PyAV alone, with the threads that `mien video` lets it take.

    Args:
        clip: a video file.
        rgb: convert each frame to RGB too, as a loop that looks at every frame must.
    """
    started, frames = time.perf_counter(), 0
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        use_threads(stream)
        for frame in container.decode(stream):
            if rgb:
                frame.to_ndarray(format="rgb24")
            frames += 1
    return frames / (time.perf_counter() - started)


def video_rate(reader: Reader, clip: Path, folder: Path) -> float:
    """Frames a second of the whole flow, to CSV."""
    started, session = time.perf_counter(), reader.session()
    rows = RowFile(folder / "rows", "csv", session.labels)
    summary = session.run(next(reader.open(clip)), [rows])
    return summary.frames / (time.perf_counter() - started)


def match(reading: FrameReading, truth: Truth) -> list[tuple[int, int]]:
    """Return pairs (true person, track) whose boxes overlap by at least half."""
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


def scores(
    readings: list[FrameReading], truths: list[Truth], *, strict: bool = False
) -> tuple[int, int, float]:
    """Face-frames, identity switches, IDF1.

    Who came back after an unclear time (see scenes.UNCLEAR_S) is taken as the tracker took them:
    as the same person if the track before and after is one. Where `strict`, LOST_S alone decides.
    """
    matches = [match(reading, truth) for reading, truth in zip(readings, truths, strict=True)]
    together = Counter(pair for pairs in matches for pair in pairs)
    same: dict[int, int] = {}
    for truth in truths:
        for old, new, away in truth.perhaps:
            before, after = (_most(together, person) for person in (old, new))
            if away <= LOST_S if strict else before is not None and before == after:
                same[new] = same.get(old, old)
    together = Counter(
        (same.get(person, person), track) for pairs in matches for person, track in pairs
    )
    last: dict[int, int] = {}
    switches = 0
    for pairs in matches:
        for number, track in pairs:
            person = same.get(number, number)
            switches += last.get(person, track) != track
            last[person] = track
    people = sorted({same.get(p, p) for t in truths for p, _ in t.faces})
    tracks = sorted({f.track for r in readings for f in r.faces})
    counts = np.array([[together[p, t] for t in tracks] for p in people]).reshape(len(people), -1)
    rows, columns = linear_sum_assignment(-counts)
    hits = int(counts[rows, columns].sum()) if counts.size else 0
    faces = sum(len(t.faces) for t in truths)
    given = sum(len(r.faces) for r in readings)
    return faces, switches, 2 * hits / (faces + given)


def _most(together: Counter[tuple[int, int]], person: int) -> int | None:
    """Return the track that a person had in most frames."""
    own = {track: count for (p, track), count in together.items() if p == person}
    return max(own, key=own.__getitem__) if own else None


def change_errors(readings: list[FrameReading], changes: list[float]) -> list[float]:
    """Return the seconds from each true change to the nearest change of the labels."""
    labels = [(r.time_s, r.faces[0].label) for r in readings if r.faces]
    found = [b[0] for a, b in itertools.pairwise(labels) if a[1] != b[1]]
    return [min((abs(t - c) for t in found), default=float("inf")) for c in changes]


def soak(reader: Reader, frames: int, folder: Path) -> tuple[float, float, float]:
    """Track one face in many small frames; return MB after a tenth, growth since then, and peak."""
    pixels = next(iter(render(replace(scenes()[0], seconds=0.1))))[0][180:540:2, 40:680:2]
    shifted = [np.ascontiguousarray(np.roll(pixels, k, axis=1)) for k in range(12)]

    def endless() -> Iterator[NDArray[np.uint8]]:
        for k in range(frames):
            yield shifted[abs(k % 22 - 11)]

    source = array_source(endless(), name="soak")
    memory = _MemoryAt(frames // 10)
    session = reader.session()
    session.run(source, [RowFile(folder / "soak", "csv", session.labels), memory])
    early = memory.mb
    with (folder / "soak.csv").open() as stream:
        assert sum(1 for row in csv.DictReader(stream) if row["track"]) > frames * 0.9
    late = _memory()
    return early, late - early, _peak()


class _MemoryAt(Sink):
    """Notes the memory in use at one frame, in MB."""

    def __init__(self, frame: int) -> None:
        self._frame, self.mb = frame, 0.0

    def write(self, result: FrameResult) -> None:
        if result.frame.index == self._frame:
            self.mb = _memory()


def _memory() -> float:
    with Path("/proc/self/statm").open() as stream:
        return int(stream.read().split()[1]) * resource.getpagesize() / 1e6


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def command(clip: Path, folder: Path, threads: int) -> tuple[float, float]:
    """Run `mien video CLIP --out` in its own process; return seconds and peak MB."""
    program = Path(sys.executable).with_name("mien")
    out: list[str | Path] = ["--out", folder / "command", "--threads", str(threads)]
    return watched([program, "video", clip, *out])


def live(reader: Reader, clip: Path) -> tuple[int, int, list[float], float]:
    """Play a clip at the speed of a camera.

    Returns:
        frames sent; frames shown; seconds from each one's arrival until it is drawn, ready for
        the window; seconds that the longest reading of one frame took.
    """
    arrived: dict[int, float] = {}
    file = paced(next(reader.open(clip)))

    def read(selection: Selection) -> Iterator[Frame]:
        for frame in file.read(selection):
            arrived[frame.index] = time.perf_counter()
            yield frame

    source, annotator, ages, longest = replace(file, read=read), FrameAnnotator(), [], 0.0
    began = time.perf_counter()
    for result in reader.session(settings=VideoSettings(live=True)).results(source):
        frame = result.frame
        annotator.draw(frame.pixels, result.reading.faces, frame.time_s)
        now = time.perf_counter()
        ages.append(now - arrived[frame.index])
        if len(ages) > 10:  # the first frames wake everything up
            longest = max(longest, now - max(began, arrived[frame.index]))
        began = time.perf_counter()
    return len(arrived), len(ages), ages[10:], longest


def score(reader: Reader, scene: Scene) -> tuple[int, int, float, float, list[float]]:
    """Face-frames, switches, IDF1, strict IDF1, seconds between true and found changes."""
    truths: list[Truth] = []

    def frames() -> Iterator[tuple[float, NDArray[np.uint8]]]:
        for k, (pixels, truth) in enumerate(render(scene)):
            truths.append(truth)
            yield k / RATE, pixels

    results = reader.session().results(array_source(frames(), name=scene.name))
    readings = [result.reading for result in results]
    swaps = [t for t, _ in scene.actors[0].heads[1:]] if len(scene.actors) == 1 else []
    strict = scores(readings, truths, strict=True)[2]
    return *scores(readings, truths), strict, change_errors(readings, swaps)


def print_scores(reader: Reader, held_out: bool) -> None:
    """Print a table of the tuned or the held-out scenes, with their total."""
    listed = scenes()
    if held_out:
        listed = [people(FIRST + k) for k in range(6)] + [changes(FIRST + k) for k in range(2)]
    print(f"\n{'held out' if held_out else 'tuned on'}:\n")
    print("| scene | face-frames | switches | IDF1 | strict | changes within |")
    print("| --- | --- | --- | --- | --- | --- |")
    total, errors = [], []
    for scene in listed:
        faces, switches, idf1, strict, own = score(reader, scene)
        total.append((faces, switches, idf1, strict))
        errors += own
        worst = f"{max(own):.3f} s (n = {len(own)})" if own else ""
        print(
            f"| {scene.name} | {faces:,} | {switches} | {idf1:.4f} | {strict:.4f} | {worst} |",
            flush=True,
        )
    faces, switches = sum(row[0] for row in total), sum(row[1] for row in total)
    mean, strict = (sum(row[0] * row[k] for row in total) / faces for k in (2, 3))
    print(
        f"\n{faces:,} face-frames: {1000 * switches / faces:.2f} switches per 1,000 (at most 1), "
        f"IDF1 {mean:.4f}, strict {strict:.4f} (at least 0.95); "
        f"{sum(e <= 0.25 for e in errors)} of {len(errors)} changes within 0.25 s, "
        f"{max(errors):.3f} s at most"
    )


def print_speed(reader: Reader, folder: Path, threads: int) -> None:
    """Print frames per second of the flow, of a plain loop, of decoding alone, and of the command.

    'decoding' is the fraction of the flow's time that decoding alone takes.
    """
    print(
        "| scene | frames/s | plain loop | ratio | PyAV alone, to RGB | decoding | the command "
        "| its memory |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for scene in scenes()[:3]:
        clip = folder / "clip.mp4"
        write_scene(clip, scene)
        decoded = decoding_rate(clip), decoding_rate(clip, rgb=True)
        quick, plain = video_rate(reader, clip, folder), plain_rate(reader, clip)
        took, most = command(clip, folder, threads)
        print(
            f"| {scene.name} | {quick:.0f} | {plain:.0f} | {quick / plain:.1f} "
            f"| {decoded[0]:.0f}, {decoded[1]:.0f} | {quick / decoded[0]:.0%} "
            f"| {scene.seconds * RATE / took:.0f} with its start | {most:.0f} MB |",
            flush=True,
        )


def print_live(reader: Reader, folder: Path) -> None:
    """Print the age of displayed live frames."""
    clip = folder / "live.mp4"
    write_scene(clip, scenes()[2])
    sent, shown, ages, longest = live(reader, clip)
    low, high = np.percentile(ages, [50, 95])
    print(
        f"\nlive, 720p with three faces, {sent} frames in real time: {shown} shown; "
        f"{1000 * low:.0f} ms old when drawn (median), {1000 * high:.0f} ms (95%), "
        f"{1000 * max(ages):.0f} ms (most); the longest reading took {1000 * longest:.0f} ms"
    )


EVERY = (None, 1, 2, 4)
"""Frames from one detection to the next; None is the default, by seconds."""


def print_every(reader: Reader, count: int) -> None:
    """Print scores and CPU time by how often the detector runs, on the same frames in turns."""
    print("\n| scene | detections | switches | IDF1 | strict | CPU, ms a frame |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for number in range(count):
        scene = people(FIRST + number)
        drawn = list(render(scene))
        truths = [truth for _, truth in drawn]
        for every in EVERY:
            frames = ((k / RATE, image) for k, (image, _) in enumerate(drawn))
            session = reader.session(settings=VideoSettings(detect_every=every))
            begin = time.process_time()
            results = session.results(array_source(frames, name=scene.name))
            readings = [result.reading for result in results]
            spent = 1000 * (time.process_time() - begin) / len(drawn)
            _, switches, idf1 = scores(readings, truths)
            strict = scores(readings, truths, strict=True)[2]
            words = "default" if every is None else f"every {every}"
            print(
                f"| {scene.name} | {words} | {switches} | {idf1:.4f} | {strict:.4f} "
                f"| {spent:.1f} |",
                flush=True,
            )


PARTS = ("speed", "tuned", "held-out", "every", "live", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=6, help="held-out scenes of `every`")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    reader = Reader(threads=arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "speed" in wanted:
            print_speed(reader, folder, arguments.threads)
        for part in ("tuned", "held-out"):
            if part in wanted:
                print_scores(reader, part == "held-out")
        if "every" in wanted:
            print_every(reader, arguments.scenes)
        if "live" in wanted:
            print_live(reader, folder)
        if "soak" in wanted:
            early, growth, most = soak(reader, arguments.frames, folder)
            print(
                f"\n{arguments.frames:,} frames: {early:.0f} MB after a tenth, {growth:+.1f} MB "
                f"since (at most 10), {most:.0f} MB at most (at most 400), the bench's own in it"
            )


if __name__ == "__main__":
    main()
