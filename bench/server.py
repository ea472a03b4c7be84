"""Measures the server under load, and compares it with the same pipeline called from Python.

    python bench/server.py [--seconds 180] [--only cost | load | crowd | refused | kill]
                           [--clients PYTHON] [--rows 'curl 10000000, httpx 75000']

cost: CPU time per image of the server and of the pipeline; compare the two, also on a busy machine.
load: throughput, latency and memory over `--seconds`; compare the throughput with the pipeline's
(at least 0.8 of it) and the 99th percentile with one client's median (below 10 times).
crowd: 1,000 clients at once; each must get 200, 429 or 503 within 5 s.
refused: uploads that are refused, with five client libraries; see bench/refused.py.
kill: SIGKILL during ten video jobs; after a restart all must end.

The server runs in its own process, the clients in this one: raw sockets with prepared requests, so
that they take little CPU time from the cores that both share.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
CLIENTS = 64
CROWD = 1000
PACED_FRACTION = 0.82
"""Rate of all paced clients together, as a fraction of the pipeline's; 0.8 must be reached."""


def portraits() -> list[bytes]:
    """Return eight 640x480 JPEG portraits with one face at different places."""
    image = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB")
    wide = np.asarray(image.resize((640, 640)))
    moved = [np.roll(wide, 20 * (i - 4), axis=1)[:480] for i in range(8)]
    return [encoded(Image.fromarray(np.ascontiguousarray(pixels))) for pixels in moved]


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `mien serve`; give its process and port."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--data", str(folder / "data")]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *options], stderr=stream)
    try:
        while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)", log.read_bytes())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        port = int(found.group(1))
        asyncio.run(ask(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def request(content: bytes, path: str = "/v1/predict") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Line:
    """A connection that stays open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask(port: int, message: bytes) -> tuple[int, bytes]:
    line = Line(port)
    try:
        return await line.ask(message)
    finally:
        line.close()


@dataclass
class Tally:
    """Responses of one measurement: how many by status, and their times in seconds."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)

    def at(self, percent: float) -> float:
        """Return a percentile of the times, in milliseconds."""
        return float(np.percentile(self.times, percent)) * 1e3 if self.times else float("nan")

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    def row(self, name: str) -> str:
        return (
            f"| {name} | {sum(self.statuses.values()):,} | {dict(self.statuses)} | "
            f"{self.rate:.0f} | {self.at(50):.1f} | {self.at(99):.1f} |"
        )


async def clients(port: int, count: int, seconds: float, per_second: float = 0.0) -> Tally:
    """Send images from `count` clients for some seconds.

    Each client sends its next image when it has a response; with `per_second`, all together send at
    that rate.
    """
    tally, messages = Tally(), [request(p) for p in portraits()]
    started = time.perf_counter()
    end = started + seconds

    async def one(number: int) -> None:
        line, chance = Line(port), random.Random(number)  # noqa: S311
        step = count / per_second if per_second else 0.0
        due = started + chance.random() * step
        while time.perf_counter() < end:
            if step:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += step
            if step > 20:
                line.close()  # before the server does
            start = time.perf_counter()
            try:
                status: int | str = (await line.ask(messages[chance.randrange(8)]))[0]
            except (OSError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
                line.close()
            tally.statuses[status] += 1
            tally.times.append(time.perf_counter() - start)
        line.close()

    await asyncio.gather(*(one(n) for n in range(count)))
    tally.seconds = time.perf_counter() - started
    return tally


BATCH = """
import sys, time
from pathlib import Path
from mien import Reader
paths = sorted(Path(sys.argv[1]).glob("*.jpg")) * 16
reader = Reader()
list(reader.read_many(paths[:16]))
started, used, count = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - started < float(sys.argv[2]):
    count += sum(1 for _ in reader.read_many(paths))
print(count / (time.perf_counter() - started), (time.process_time() - used) / count)
"""


def batch_rate(folder: Path, seconds: float) -> float:
    """Return the images per second of the same pipeline in Python, with all cores."""
    return batch(folder, seconds)[0]


def batch(folder: Path, seconds: float) -> tuple[float, float]:
    """Return the images per second of the same pipeline, and the CPU seconds per image."""
    for number, content in enumerate(portraits()):
        (folder / f"{number}.jpg").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", BATCH, str(folder), str(seconds)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    rate, used = done.stdout.split()
    return float(rate), float(used)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads together."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def cost(folder: Path) -> None:
    """Compare the CPU time per image of server and pipeline; also meaningful on a busy machine."""
    own = [batch(folder, 8)[1] * 1e3]
    with server(folder, "--max-rate", "0") as (process, port):
        asyncio.run(clients(port, 8, 3))
        for count in (1, 8, CLIENTS):
            before = cpu_s(process.pid)
            tally = asyncio.run(clients(port, count, 12))
            each = (cpu_s(process.pid) - before) / tally.statuses[200] * 1e3
            own.append(batch(folder, 8)[1] * 1e3)
            near = (own[-2] + own[-1]) / 2  # of just before and just after
            print(
                f"{count} clients: {each:.1f} ms CPU per image, pipeline in Python {near:.1f} ms, "
                f"ratio {near / each:.2f} (n = {tally.statuses[200]})"
            )


def load(folder: Path, seconds: float) -> None:
    """Measure throughput, latency and memory with 1 and CLIENTS clients."""
    short = min(20.0, seconds / 3)
    before = batch_rate(folder, short)
    # On a busy machine the default would refuse waits that do not occur on a quiet one.
    with server(folder, "--max-rate", "0", "--max-wait", "60") as (process, port):
        asyncio.run(clients(port, 8, 3))
        single = asyncio.run(clients(port, 1, short))
        memory, used = [memory_mb(process.pid)], time.process_time()
        tallies = []
        for part in range(3):  # memory is read between the parts: it must not grow
            tallies.append(asyncio.run(clients(port, CLIENTS, seconds / 3)))
            memory.append(memory_mb(process.pid))
            print(f"part {part + 1}: {tallies[-1].rate:.0f}/s, {memory[-1]:.0f} MB", flush=True)
        own = (time.process_time() - used) / sum(t.seconds for t in tallies)
        crowd = Tally(sum(t.seconds for t in tallies), [x for t in tallies for x in t.times],
                      sum((t.statuses for t in tallies), Counter()))  # fmt: skip
        after = batch_rate(folder, short)
        base = (before + after) / 2
        paced = asyncio.run(clients(port, CLIENTS, seconds, PACED_FRACTION * base))
        memory.append(memory_mb(process.pid))
    print("\n| clients | requests | statuses | images/s | p50 ms | p99 ms |")
    print("| --- " * 6 + "|")
    print(single.row("1"))
    print(crowd.row(f"{CLIENTS}, without pause"))
    print(paced.row(f"{CLIENTS}, together {PACED_FRACTION} of the pipeline's rate"))
    print(f"\nthe same pipeline in Python: {before:.0f} and {after:.0f} images/s (before, after)")
    print(
        f"throughput / pipeline: {crowd.rate / base:.2f} (at least 0.8), paced "
        f"{paced.rate / base:.2f}; the clients used {own:.2f} of a core"
    )
    print(
        f"p99 / p50 of one client: {crowd.at(99) / single.at(50):.1f}, paced "
        f"{paced.at(99) / single.at(50):.1f} (below 10)"
    )
    floor = CLIENTS / crowd.rate * 1e3
    print(
        f"by Little's law, {CLIENTS} clients without pause wait {floor:.0f} ms on average at this "
        "rate, for any server"
    )
    print("memory, MB: " + " -> ".join(f"{m:.0f}" for m in memory))


def crowd(folder: Path) -> None:
    """Send CROWD requests at once, with the default limits."""
    message = request(portraits()[0])

    async def all_at_once(port: int) -> Tally:
        tally = Tally()

        async def one() -> None:
            start = time.perf_counter()
            try:
                status: int | str = (await ask(port, message))[0]
            except (OSError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
            tally.statuses[status] += 1
            tally.times.append(time.perf_counter() - start)

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CROWD)))
        tally.seconds = time.perf_counter() - started
        return tally

    for options in ((), ("--max-rate", "0")):
        with server(folder, *options) as (_, port):
            tally = asyncio.run(all_at_once(port))
        print(f"{CROWD} clients at once {' '.join(options)}: {dict(tally.statuses)}, the last "
              f"after {max(tally.times):.2f} s (must be 200, 429 or 503 within 5 s)")  # fmt: skip


def refused(folder: Path, python: Path | None, rows: str) -> None:
    """Upload 1,000 files at once with each client, with the default limits and without a rate."""
    from refused import measure

    for options in ((), ("--max-rate", "0")):
        print(f"\nmien serve {' '.join(options)}\n")
        with server(folder, *options) as (process, port):
            before = memory_mb(process.pid)
            failed = measure(
                f"http://127.0.0.1:{port}/v1/predict", folder, python,
                partial(cpu_s, process.pid), rows,
            )  # fmt: skip
            after, peak = memory_mb(process.pid), peak_mb(process.pid)
        times = re.findall(rb" (?:429|503) (\d+) ms", (folder / "server.log").read_bytes())
        print(
            f"\n{len(failed)} rows did not pass (must be 0). The server's own time per refusal: "
            f"at most {max(map(int, times), default=0) / 1e3:.2f} s, n = {len(times):,}. Memory "
            f"{before:.0f} -> {after:.0f} MB, peak {peak:.0f}"
        )


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def kill(folder: Path) -> None:
    """Kill the server during ten video jobs, restart it, and wait for all jobs."""
    sys.path.insert(0, str(ROOT))
    from tests.video.clips import write_clip

    frames = [np.asarray(Image.open(io.BytesIO(p)).resize((320, 240))) for p in portraits()] * 12
    clip = write_clip(folder / "clip.mp4", frames).read_bytes()
    get: Callable[[int, str], Coroutine[None, None, tuple[int, bytes]]] = lambda port, path: ask(  # noqa: E731
        port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    with server(folder) as (process, port):
        ids = [json.loads(asyncio.run(ask(port, request(clip, "/v1/video")))[1])["id"]
               for _ in range(10)]  # fmt: skip
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    started = time.perf_counter()
    with server(folder) as (_, port):
        while True:
            jobs = [json.loads(asyncio.run(get(port, f"/v1/video/{i}"))[1]) for i in ids]
            if all(j["status"] in ("done", "failed") for j in jobs):
                break
            time.sleep(0.3)
    ended = Counter(j["status"] for j in jobs)
    print(f"kill -9 during ten videos of {len(frames)} frames, restart: {dict(ended)} after "
          f"{time.perf_counter() - started:.1f} s (must be 10, done or with a reason)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180, help="of the load (default: 180)")
    parser.add_argument("--only", choices=["cost", "load", "crowd", "refused", "kill"])
    parser.add_argument("--clients", type=Path, help="interpreter that has requests and aiohttp")
    parser.add_argument("--rows", default="", help="only these rows of 'refused'")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.only in (None, "cost"):
            cost(Path(folder))
        if options.only in (None, "load"):
            load(Path(folder), options.seconds)
        if options.only in (None, "crowd"):
            crowd(Path(folder))
        if options.only in (None, "refused"):
            refused(Path(folder), options.clients, options.rows)
        if options.only in (None, "kill"):
            kill(Path(folder))


if __name__ == "__main__":
    main()
