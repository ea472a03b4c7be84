"""What clients see when the server refuses uploads. Run by `python bench/server.py --only refused`.

Each client (httpx, aiohttp and requests in a process of their own, curl in parallel processes,
Node's fetch) sends COUNT requests at once. Every request must end with 200, 429 or 503, every
refusal must have Retry-After and arrive within 5 s on the client's clock, and no connection may be
reset. The columns of CPU seconds attribute a late refusal: on a machine whose cores the clients
share with the server, compare the wall time of a row with the sum of both.

Clients that are not installed are skipped with a message; `--clients PYTHON` names an interpreter
that has requests and aiohttp.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent / "clients"
COUNT = 1000
KEPT_SIZE = 75_000
SIZES = (10_000, KEPT_SIZE, 1_000_000, 10_000_000)
MAX_TOTAL_BYTES = 3_000_000_000
"""Maximum bytes that all requests of a row send together; larger bodies are sent by fewer."""
MAX_REFUSAL_S = 5.0
FORMAT = r"%{http_code} %{time_total} %{errormsg} %header{retry-after}\n"
CURL_PROCESSES = 8


@dataclass
class Outcome:
    """Result of one row: one client and one body size.

    Attributes:
        statuses: number of responses by status, or of errors by name.
        without_retry_after: refusals that lacked the header.
        refused_s: the client's time of each refusal, in seconds.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    refused_s: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        expected = set(self.statuses) <= {"200", "429", "503"}
        in_time = max(self.refused_s, default=0) < MAX_REFUSAL_S
        return expected and not self.without_retry_after and in_time

    def row(self, name: str, size: int, wall_s: float, server_s: float, clients_s: float) -> str:
        last = f"{max(self.refused_s):.2f}" if self.refused_s else "-"
        statuses = ", ".join(f"{n} x {status}" for status, n in sorted(self.statuses.items()))
        return (
            f"| {name} | {size:,} | {sum(self.statuses.values())} | {statuses} | "
            f"{self.without_retry_after} | {last} | {wall_s:.1f} | {server_s:.1f} | "
            f"{clients_s:.1f} | {'yes' if self.passed else 'NO'} |"
        )


COLUMNS = (
    "client", "body, bytes", "requests", "statuses", "without Retry-After", "last refusal, s",
    "wall, s", "server CPU, s", "clients CPU, s", "passed",
)  # fmt: skip


def jpeg(size: int) -> bytes:
    """Return a portrait padded to `size` bytes: decoders ignore data after the end of the image."""
    image = Image.open(HERE.parents[1] / "examples" / "astronaut.jpg").convert("RGB")
    buffer = io.BytesIO()
    side = 512 if size >= 75_000 else 128
    image.resize((side, side)).save(buffer, "JPEG", quality=70)
    noise = np.random.default_rng(0).bytes(max(0, size - buffer.tell()))
    return buffer.getvalue() + noise


def interpreters(given: Path | None) -> dict[str, Path]:
    """Return an interpreter for each client library that is installed."""
    found = {}
    for name in ("httpx", "aiohttp", "requests"):
        if given is not None and has_module(given, name):
            found[name] = given
        elif importlib.util.find_spec(name):
            found[name] = Path(sys.executable)
        else:
            print(f"{name} is not installed: skipped (--clients PYTHON names one that has it)")
    return found


def has_module(python: Path, name: str) -> bool:
    done = subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False)
    return done.returncode == 0


def run_client(*words: str | Path) -> Outcome:
    """Run a client process that prints its outcome as JSON."""
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        return Outcome(Counter({(done.stderr.strip() or "killed").splitlines()[-1][:60]: 1}))
    outcome = json.loads(done.stdout)
    return Outcome(
        Counter(outcome["statuses"]), outcome["without_retry_after"], outcome["refused_s"]
    )


async def curl(url: str, file: Path, count: int) -> Outcome:
    """Send `count` requests from a few curl processes, each with parallel transfers."""
    outcome = Outcome()

    async def some(number: int) -> None:
        transfer = ["--data-binary", f"@{file}", "-H", "Content-Type: image/jpeg", "-sS",
                    "-o", "/dev/null", "-w", FORMAT, "--max-time", "60", url]  # fmt: skip
        words = ["curl", "--parallel", "--parallel-immediate", "--parallel-max", "300"]
        for place in range(number):
            words += [*([] if place == 0 else ["--next"]), *transfer]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        lines = (await process.communicate())[0].decode().splitlines()
        for line in lines:
            status, seconds, *rest = line.split(" ")
            error = " ".join(rest[:-1]).strip()
            name = status if status != "000" and not error else error or "no response"
            outcome.statuses[name] += 1
            if status in ("429", "503"):
                outcome.refused_s.append(float(seconds))
                outcome.without_retry_after += not rest[-1]
        if number - len(lines):
            outcome.statuses["no line"] += number - len(lines)

    counts = [count // CURL_PROCESSES + (n < count % CURL_PROCESSES) for n in range(CURL_PROCESSES)]
    await asyncio.gather(*(some(number) for number in counts))
    return outcome


def runs(
    url: str, file: Path, size: int, python: dict[str, Path], count: int
) -> dict[str, Callable[[], Outcome]]:
    """Return the runs with one body, by client name."""

    def library(name: str, requests: int, connections: int) -> Callable[[], Outcome]:
        words = (
            python[name], HERE / "upload.py", name, url, file, str(requests), str(connections),
        )  # fmt: skip
        return lambda: run_client(*words)

    all_runs = {name: library(name, count, 0) for name in python}
    if "httpx" in python and size == KEPT_SIZE:
        all_runs["httpx, 200 connections"] = library("httpx", 600, 200)
    if shutil.which("curl"):
        all_runs["curl"] = lambda: asyncio.run(curl(url, file, count))
    if shutil.which("node"):
        script = HERE / "node_fetch.mjs"
        all_runs["Node's fetch"] = lambda: run_client("node", script, url, file, str(count))
    return all_runs


def children_s() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(
    url: str,
    folder: Path,
    python: Path | None,
    server_cpu_s: Callable[[], float],
    rows: str = "",
    count: int = COUNT,
) -> list[str]:
    """Run all clients with all sizes, and print a row for each.

    Args:
        url: URL of the upload.
        folder: folder for the bodies.
        python: interpreter with more client libraries, or None.
        server_cpu_s: returns the CPU seconds that the server has used.
        rows: run only rows named so, separated by commas, such as 'curl 10000000'.
        count: requests per row.

    Returns:
        The rows that did not pass.
    """
    found, failed = interpreters(python), []
    wanted = [row.strip() for row in rows.split(",") if row.strip()]
    for name in ("curl", "node"):
        if not shutil.which(name):
            print(f"{name} is not installed: skipped")
    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- " * len(COLUMNS) + "|")
    for size in SIZES:
        file = folder / f"{size}.jpg"
        file.write_bytes(jpeg(size))
        for name, run in runs(url, file, size, found, min(count, MAX_TOTAL_BYTES // size)).items():
            if wanted and f"{name} {size}" not in wanted:
                continue
            started, server, clients = time.perf_counter(), server_cpu_s(), children_s()
            outcome = run()
            row = outcome.row(
                name, size, time.perf_counter() - started, server_cpu_s() - server,
                children_s() - clients,
            )  # fmt: skip
            print(row, flush=True)
            failed += [] if outcome.passed else [row]
    return failed
