"""Measures `mien video`'s flow on a 720p clip with three faces, in turns with another checkout.

    python bench/video_pairs.py --against TREE [--pairs 8] [--threads 2]

Each run is a process of its own, with the same Python and packages, that reads the clip twice: of
the second time, frames per second from the first frame to the last row of a CSV file, and CPU time
per frame (so without the start of Python, packages and models). The ratio to the other checkout is
the median of the pairs with the least and greatest; also the share of PyAV alone, with the same
threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenes import scenes
from video import decoding_rate, write_scene

ROOT = Path(__file__).parents[1]
RUN = """
import json, sys, tempfile, time
from pathlib import Path
from mien import Reader

clip, threads = sys.argv[1], int(sys.argv[2])
reader = Reader(threads=threads)
try:
    from mien.video.sinks.row_file import RowFile
except ModuleNotFoundError:  # 25 November's version has other modules
    from mien.predict.sinks.rowfile import RowFile

def run(folder):
    if not hasattr(reader, "session"):
        frames = 0
        with RowFile(folder / "rows", "csv", reader.classifier.info.labels) as rows:
            for reading in reader.stream(clip):
                rows.append(reading)
                frames += 1
        return frames
    session = reader.session()
    rows = RowFile(folder / "rows", "csv", session.labels)
    return session.run(next(reader.open(clip)), [rows]).frames

with tempfile.TemporaryDirectory() as folder:
    run(Path(folder))
    spent, started = time.process_time(), time.perf_counter()
    frames = run(Path(folder))
    taken, spent = time.perf_counter() - started, time.process_time() - spent
print(json.dumps([frames / taken, 1000 * spent / frames]))
"""


def measure(tree: Path, clip: Path, threads: int) -> tuple[float, float]:
    """Return frames per second and milliseconds of CPU time per frame of one run of a checkout."""
    command = [sys.executable, "-c", RUN, str(clip), str(threads)]
    variables = {**os.environ, "PYTHONPATH": str(tree / "src")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    rate, spent = json.loads(done.stdout.splitlines()[-1])
    return rate, spent


def decoding_cpu_ms(clip: Path) -> tuple[float, float]:
    """Return frames per second and milliseconds of CPU time per frame of PyAV alone."""
    spent = time.process_time()
    rate = decoding_rate(clip)
    frames = round(scenes()[2].seconds * 30)
    return rate, 1000 * (time.process_time() - spent) / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout of mien")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    trees = [arguments.against.resolve(), ROOT]
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        write_scene(clip, scenes()[2])
        for tree in trees:  # fills the caches
            measure(tree, clip, arguments.threads)
        pairs = []
        for number in range(arguments.pairs):
            order = trees if number % 2 else trees[::-1]
            found = {tree: measure(tree, clip, arguments.threads) for tree in order}
            pairs.append([found[tree] for tree in trees])
            (old, old_ms), (new, new_ms) = pairs[-1]
            print(
                f"{old:.0f} and {new:.0f} frames/s, {new / old:.2f}; "
                f"{old_ms:.2f} and {new_ms:.2f} ms CPU a frame",
                flush=True,
            )
        alone = [decoding_cpu_ms(clip) for _ in range(3)]
    report("frames/s", [new[0] / old[0] for old, new in pairs])
    report("CPU time a frame", [new[1] / old[1] for old, new in pairs])
    mine = [new for _, new in pairs]
    rate = statistics.median(r for r, _ in mine)
    spent = statistics.median(ms for _, ms in mine)
    decoding = statistics.median(r for r, _ in alone), statistics.median(ms for _, ms in alone)
    print(
        f"this checkout: {rate:.0f} frames/s, {spent:.2f} ms CPU a frame; PyAV alone, all frames: "
        f"{decoding[0]:.0f} frames/s, {decoding[1]:.2f} ms CPU, {rate / decoding[0]:.0%} of the "
        f"flow's time, {decoding[1] / spent:.0%} of its CPU time"
    )


def report(name: str, ratios: list[float]) -> None:
    print(
        f"{name}, of the other's: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)"
    )


if __name__ == "__main__":
    main()
