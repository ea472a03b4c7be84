"""Measures the engines: overhead, kills, crashing items, errors in time; simulates many machines.

    python bench/scale.py [--images 5000] [--videos 200] [--tries 10] [--rounds 3]
        [--only overhead,videos,split,kills,crashes,errors,simulate]

Ratios come from runs in turns, local first and Ray first, on one machine. The simulation takes its
service times and the driver's costs from measurements of the same run.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crashing import Crashing
from mien import MienError, Reader
from mien.predict.sources import list_images
from mien.scale.engine import Engine
from mien.scale.images import BATCH, MakeImageWorker, _Images, read_images_on
from mien.scale.registry import EngineOptions, make_engine
from mien.scale.split import cut_video, join_parts, read_part
from mien.scale.videos import read_videos_on
from mien.video.sinks.rows import rows
from mien.video.sources import list_sources

EXAMPLES = Path(__file__).parents[1] / "examples"


def write_images(folder: Path, count: int, side_px: int) -> Path:
    """Write crops of the public-domain examples, each another one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))]
    for number in range(count):
        photo = photos[number % len(photos)]
        x, y = (int(v) for v in rng.integers(0, 60, 2))
        side = int(rng.integers(300, 440))
        part = photo.crop((x + 20, y, x + 20 + side, y + side)).resize((side_px, side_px))
        part.save(folder / f"{number:05d}.jpg", quality=90)
    return folder


def write_video(path: Path, frames: int, seed: int) -> Path:
    """Write a clip in which the window onto an example moves."""
    photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg").convert("RGB").resize((400, 400)))
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6.3, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for k in range(frames):
            x = int(40 + 39 * np.sin(k / 23 + phase[0]))
            y = int(30 + 29 * np.sin(k / 17 + phase[1]))
            part: NDArray[np.uint8] = np.ascontiguousarray(photo[y : y + 240, x : x + 320])
            # The face leaves for a second, now and then.
            if k % 400 > 370:
                part = np.full_like(part, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        container.mux(stream.encode())
    return path


def engine_of(name: str, workers: int = 1) -> Engine:
    return make_engine(EngineOptions(name, workers=workers))


class Timed:
    """An engine that notes when it is opened, and when the first item is reported.

    `first_cpu_s` and `close_cpu_s` are this process's CPU time at the first report, and what
    closing took of it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.opened_s = self.first_s = 0.0
        self.first_cpu_s = self.close_cpu_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, make_worker: Any) -> None:
        self.opened_s = time.perf_counter()
        self._engine.open(make_worker)

    def wait(self, timeout_s: float) -> Any:
        reports = self._engine.wait(timeout_s)
        if reports and not self.first_s:
            self.first_s, self.first_cpu_s = time.perf_counter(), time.process_time()
        return reports

    def close(self) -> None:
        start = time.process_time()
        self._engine.close()
        self.close_cpu_s += time.process_time() - start


def run_images(images: Path, out: Path, engine: Any, **more: Any) -> dict[str, Any]:
    sources = list(list_images([images]))
    return read_images_on(engine, Reader(threads=1), sources, out, settings={}, **more)


def run_videos(videos: list[Path], out: Path, engine: Any, **more: Any) -> dict[str, Any]:
    session = Reader(threads=1).session()
    return read_videos_on(engine, session, [str(v) for v in videos], out, **more)


def compare(
    what: str, run: Callable[[Path, Any], dict[str, Any]], rounds: int, work: Path, workers: int
) -> None:
    """Print the ratio of Ray's time to that of local processes, in turns, and compare the rows."""
    totals: dict[str, list[float]] = {"local": [], "ray": []}
    steady: dict[str, list[float]] = {"local": [], "ray": []}
    files: dict[str, Any] = {}
    for number in range(rounds):
        for name in ("local", "ray") if number % 2 == 0 else ("ray", "local"):
            out = work / f"out-{what}-{name}"
            shutil.rmtree(out, ignore_errors=True)
            engine = Timed(engine_of(name, workers))
            start = time.perf_counter()
            manifest = run(out, engine)
            end = time.perf_counter()
            totals[name].append(end - start)
            steady[name].append(end - engine.first_s)
            same = files.setdefault(what, manifest["files"]) == manifest["files"]
            print(
                f"{what} {name}: {end - start:.1f} s, {end - engine.first_s:.1f} s after the first "
                f"report, same files: {same}, counts {manifest['counts']}",
                flush=True,
            )
            assert same
    for words, times in (("in all", totals), ("after the first report", steady)):
        ratios = [ray / local for ray, local in zip(times["ray"], times["local"], strict=True)]
        print(
            f"{what}, {words}: ray / local {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}), n = {rounds}",
            flush=True,
        )


def children(parent: int) -> list[int]:
    """Return the process ids of workers among the descendants of a process."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            commands[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
    found = []
    for pid, command in commands.items():
        above = pid
        while above in parents and above != parent:
            above = parents[above]
        if above == parent and ("spawn_main" in command or "ray::_Actor" in command):
            found.append(pid)
    return found


def start_driver(images: Path, out: Path, engine: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "mien", "predict", images, "--engine", engine, "--workers", "2",
        "--out", out, "--resume",
    ]  # fmt: skip
    return subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE)


def kept(out: Path) -> int:
    """Return the number of records that a run has kept so far."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob(".unfinished/segment-*.jsonl"))


def kills(images: Path, work: Path, tries: int, engines: list[str]) -> None:
    """Kill a worker, then the driver, at a random moment; compare what is there in the end."""
    count = len(list(images.iterdir()))
    expected = run_images(images, work / "expected", engine_of("local"))["files"]
    rng = random.Random(0)  # noqa: S311
    for name in engines:
        good = {"worker": 0, "driver": 0}
        for attempt in range(tries):
            for victim in good:
                out = work / f"killed-{name}-{victim}-{attempt}"
                driver = start_driver(images, out, name)
                moment = rng.randrange(BATCH, count - 3 * BATCH)
                while kept(out) < moment and driver.poll() is None:
                    time.sleep(0.005)
                if victim == "worker":
                    os.kill(rng.choice(children(driver.pid)), signal.SIGKILL)
                else:
                    driver.kill()
                    driver.wait()
                    before = kept(out)
                    driver = start_driver(images, out, name)
                _, err = driver.communicate()
                manifest = json.loads((out / "manifest.json").read_text())
                same = manifest["state"] == "complete" and manifest["files"] == expected
                good[victim] += same and driver.returncode == 0
                more = f", {before} of {count} kept" if victim == "driver" else ""
                print(f"{name}, {victim} killed at {moment}{more}: same files {same}", flush=True)
                if not same:
                    print(err.decode()[-600:])
                shutil.rmtree(out)
        for victim, number in good.items():
            print(f"{name}: {victim} killed, {number} of {tries} with all rows, once each")


def crashes(work: Path, engines: list[str], count: int = 2000, bad: int = 20) -> None:
    """Read items of which some kill their worker."""
    folder = work / "crashing"
    folder.mkdir()
    chosen = set(np.random.default_rng(1).choice(count, bad, replace=False).tolist())
    for number in range(count):
        pixels = np.full((48, 48, 3), 60 + number % 120, np.uint8)
        pixels[:8, :8] = (255, 0, 0) if number in chosen else (60, 60, 60)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    for name in engines:
        start = time.perf_counter()
        engine = engine_of(name, 2)
        reader = Reader(detector=Crashing(), threads=1)
        sources = list(list_images([folder]))
        out = work / f"crashes-{name}"
        manifest = read_images_on(engine, reader, sources, out, settings={})
        listed = {int(Path(record["source"]).stem) for record in manifest["failed"]}
        print(
            f"{name}: {count} items, {manifest['counts']['faces']} read, {len(listed)} listed, "
            f"the right ones: {listed == chosen}; {engine.restarts} workers replaced, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


def split_videos(work: Path, seconds: int = 600) -> None:
    """Compare a long video in parts with the same in one."""
    path = write_video(work / "long.mp4", 30 * seconds, 5)
    session = Reader(threads=1).session()
    source = next(iter(list_sources([path])))
    whole = [result.reading for result in session.results(source)]
    for part_s in (30.0, 60.0, 300.0):
        start = time.perf_counter()
        parts = cut_video(0, str(path), session, part_s)
        cut_s = time.perf_counter() - start
        readings = [(part, read_part(session, part)[0]) for part in parts]
        joined = list(join_parts(readings, session.labels))
        pairs = [
            (a, b)
            for one, other in zip(whole, joined, strict=True)
            for a, b in zip(rows(one, session.labels), rows(other, session.labels), strict=True)
        ]
        differing: dict[str, int] = {}
        for a, b in pairs:
            for key in a:
                if a[key] != b[key]:
                    differing[key] = differing.get(key, 0) + 1
        extra = sum(len(r) for _, r in readings) / len(whole) - 1
        print(
            f"{seconds} s of video in {len(parts)} parts: {len(pairs)} rows, "
            f"{sum(a == b for a, b in pairs)} equal bit for bit, differing values {differing}; "
            f"{extra:.1%} of the frames read twice, cutting took {cut_s:.2f} s",
            flush=True,
        )


def errors() -> None:
    """Print how long clusters that are not there take to be reported."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"127.0.0.1:{server.getsockname()[1]}"
        for address in ("auto", "127.0.0.1:1", silent):
            code = (
                "from mien.scale.registry import EngineOptions as O, make_engine as m;"
                f"m(O('ray', address={address!r})).open(int)"
            )
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
            last = done.stderr.decode().strip().splitlines()[-1]
            print(f"{address}: {time.perf_counter() - start:.1f} s, {last[:160]}", flush=True)


# The simulation.


def measured_services(images: Path, count: int) -> list[float]:
    """Return the seconds that batches take in a worker."""
    sources = list(list_images([images]))[: count * BATCH]
    reader = Reader(threads=1)
    work = MakeImageWorker(reader)()
    flow = _Images(sources, reader)
    times = []
    for at in range(0, len(sources), BATCH):
        batch = flow.batch(range(at, min(at + BATCH, len(sources))))
        start = time.perf_counter()
        work(batch)
        times.append(time.perf_counter() - start)
    return times[1:]


def driver_cost(images: Path, work: Path, name: str) -> float:
    """Return the driver's CPU seconds per batch, with journal and Parquet files."""
    engine = Timed(engine_of(name, 1))
    run_images(images, work / f"driver-{name}", engine)
    # From the first report on: starting the engine is no part of a batch, nor is ending it.
    spent = time.process_time() - engine.first_cpu_s - engine.close_cpu_s
    return spent / (len(list(list_images([images]))) / BATCH - 1)


def wait_cost(pending: int) -> float:
    """Return the seconds of one `ray.wait` on so many calls of which none is finished."""
    import ray

    # No machine has this resource, so that none of them ever starts.
    @ray.remote(resources={"none": 1})  # type: ignore[untyped-decorator]
    def never() -> None: ...

    calls = [never.remote() for _ in range(pending)]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        ray.wait(calls, num_returns=1, timeout=0)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextmanager
def ray_started() -> Iterator[None]:
    from mien.scale.engines.ray import load_ray

    ray = load_ray()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def simulate(  # noqa: PLR0913  (each is an assumption of its own)
    nodes: int, per_node: int, services: list[float], driver_s: float, batches: int, seed: int,
    *, slow: float = 0.05, slowness: float = 3.0, mtbf_s: float = 24 * 3600.0,
    repair_s: float = 120.0,
) -> dict[str, float]:  # fmt: skip
    """Return the throughput of a run, as a fraction of what the workers alone could do.

    Events in order of time: a worker asks for an item, the driver serves one request at a time
    (DRIVER_S each), the worker takes a sampled service time; a machine fails at random, loses
    what it works on, and is back after REPAIR_S.

    Args:
        nodes: machines.
        per_node: workers on each.
        services: measured seconds of items, sampled with replacement.
        driver_s: seconds of the driver for an item.
        batches: items.
        seed: of the random numbers.
        slow: fraction of machines that are slower...
        slowness: ...by this factor.
        mtbf_s: mean seconds between two failures of a machine.
        repair_s: seconds until it works again.
    """
    rng = random.Random(seed)  # noqa: S311
    speed = [slowness if rng.random() < slow else 1.0 for _ in range(nodes)]
    # When each machine fails next, and when it is back.
    down = [(at, at + repair_s) for at in (rng.expovariate(1 / mtbf_s) for _ in range(nodes))]
    ready = [(0.0, node * per_node + k) for node in range(nodes) for k in range(per_node)]
    heapq.heapify(ready)
    driver_free = last = lost = 0.0
    left = batches
    while left > 0:
        now, worker = heapq.heappop(ready)
        node = worker // per_node
        begin = max(now, driver_free) + driver_s
        driver_free = begin
        end = begin + rng.choice(services) * speed[node]
        while down[node][1] <= begin:
            at = down[node][1] + rng.expovariate(1 / mtbf_s)
            down[node] = at, at + repair_s
        if down[node][0] < end:
            # The item is lost and will be served again; the machine comes back.
            lost += 1
            heapq.heappush(ready, (down[node][1], worker))
            continue
        left -= 1
        last = max(last, end)
        heapq.heappush(ready, (end, worker))
    workers = nodes * per_node
    ideal = batches * statistics.mean(services) / workers
    return {
        "seconds": last, "efficiency": ideal / last, "driver": batches * driver_s / last,
        "lost": lost,
    }  # fmt: skip


def simulation(images: Path, work: Path) -> None:
    services = measured_services(images, 40)
    mean = statistics.mean(services)
    # The least: other programs can only add to it.
    cost = min(driver_cost(images, work / str(turn), "ray") for turn in range(3))
    print(
        f"a batch of {BATCH} images takes {mean:.3f} s in a worker (n = {len(services)}, "
        f"{min(services):.3f} to {max(services):.3f}) and {cost * 1e3:.1f} ms of the driver"
    )
    with ray_started():
        waits = {pending: wait_cost(pending) for pending in (100, 1000, 10_000)}
    print(f"ray.wait on n pending calls, ms: { {n: round(1e3 * s, 2) for n, s in waits.items()} }")
    # The limit that the driver alone sets.
    print(f"the driver keeps {mean / cost:.0f} workers busy with images of this size")
    for size, factor in (("images of 96 pixels", 1.0), ("ten times the work", 10.0)):
        for nodes in (10, 30, 100, 300, 1000):
            workers = nodes * 16
            # Of all that is reported in one round of waiting, each pays its part.
            per_item = cost + waits[10_000] / 10_000 * min(workers, 10_000) / max(workers / 50, 1)
            scaled = [service * factor for service in services]
            found = [
                simulate(nodes, 16, scaled, per_item, max(workers * 60, 20_000), seed)
                for seed in range(3)
            ]
            efficiency = [one["efficiency"] for one in found]
            print(
                f"{size}, {nodes} machines of 16 workers: efficiency "
                f"{statistics.median(efficiency):.2f} ({min(efficiency):.2f} to "
                f"{max(efficiency):.2f}), driver busy "
                f"{statistics.median(one['driver'] for one in found):.0%}, "
                f"{sum(one['lost'] for one in found):.0f} items lost and read again",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=96, help="of the images, in pixels")
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--only", default="overhead,videos,split,kills,crashes,errors,simulate")
    arguments = parser.parse_args()
    only, engines = arguments.only.split(","), arguments.engines.split(",")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if "overhead" in only:
            images = write_images(work / "many", arguments.images, arguments.side)
            compare(
                "images", lambda out, engine: run_images(images, out, engine), arguments.rounds,
                work, arguments.workers,
            )  # fmt: skip
        if "videos" in only:
            videos = [write_video(work / f"{k}.mp4", 30, k) for k in range(arguments.videos)]
            compare(
                "videos", lambda out, engine: run_videos(videos, out, engine), arguments.rounds,
                work, arguments.workers,
            )  # fmt: skip
        if "split" in only:
            split_videos(work)
        if "kills" in only:
            kills(write_images(work / "some", 480, 96), work, arguments.tries, engines)
        if "crashes" in only:
            crashes(work, engines)
        if "errors" in only:
            errors()
        if "simulate" in only:
            simulation(write_images(work / "simulated", 1280, 96), work)


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
