"""What clients see of a server that refuses uploads: `python bench/server.py --only refused`.

Each client sends COUNT requests at once: httpx, aiohttp and requests in a process of their own,
curl in parallel processes, Node's fetch. All must see 200, 429 or 503, a refusal with
Retry-After and within 5 s, and never a connection that breaks. Clients that are not installed
are passed over with a line; --clients names a Python that has requests and aiohttp.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import shutil
import subprocess
import sys
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
IN_MEMORY = 3_000_000_000
"""Bytes that all clients of one run send together, at most; larger bodies come in fewer."""
FORMAT = r"%{http_code} %{time_total} %{errormsg} %header{retry-after}\n"
CURLS = 8


@dataclass
class Seen:
    """What one run of one client saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    bare: int = 0
    refused: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        answered = set(self.statuses) <= {"200", "429", "503"}
        return answered and not self.bare and max(self.refused, default=0) < 5

    def row(self, name: str, size: int, count: int) -> str:
        last = f"{max(self.refused):.2f}" if self.refused else "-"
        verdict = "yes" if self.good else "NO"
        said = ", ".join(f"{n} x {status}" for status, n in sorted(self.statuses.items()))
        return f"| {name} | {size:,} | {count} | {said} | {self.bare} | {last} | {verdict} |"


def jpeg(size: int) -> bytes:
    """A portrait, padded behind its end to so many bytes: decoders ignore what comes there."""
    image = Image.open(HERE.parents[1] / "examples" / "astronaut.jpg").convert("RGB")
    buffer = io.BytesIO()
    side = 512 if size >= 75_000 else 128
    image.resize((side, side)).save(buffer, "JPEG", quality=70)
    noise = np.random.default_rng(0).bytes(max(0, size - buffer.tell()))
    return buffer.getvalue() + noise


def pythons(given: Path | None) -> dict[str, Path]:
    """Libraries, and a Python that has each; says which are missing."""
    found = {}
    for name in ("httpx", "aiohttp", "requests"):
        if given is not None and has(given, name):
            found[name] = given
        elif importlib.util.find_spec(name):
            found[name] = Path(sys.executable)
        else:
            print(f"{name} is not installed: passed over (--clients PYTHON names one that has it)")
    return found


def has(python: Path, name: str) -> bool:
    done = subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False)
    return done.returncode == 0


def command(*words: str | Path) -> Seen:
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        return Seen(Counter({(done.stderr.strip() or "killed").splitlines()[-1][:60]: 1}))
    told = json.loads(done.stdout)
    return Seen(Counter(told["statuses"]), told["bare"], told["refused"])


async def curl(url: str, file: Path, count: int) -> Seen:
    """So many requests by a few curl processes, each with its share in parallel."""
    seen = Seen()

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
            why = " ".join(rest[:-1]).strip()
            seen.statuses[status if status != "000" and not why else why or "no answer"] += 1
            if status in ("429", "503"):
                seen.refused.append(float(seconds))
                seen.bare += not rest[-1]
        if number - len(lines):
            seen.statuses["no line"] += number - len(lines)

    shares = [count // CURLS + (n < count % CURLS) for n in range(CURLS)]
    await asyncio.gather(*(some(share) for share in shares))
    return seen


def runs(
    url: str, file: Path, size: int, found: dict[str, Path], count: int
) -> dict[str, Callable[[], Seen]]:
    """What is to be run with one body, by name."""

    def library(name: str, requests: int, kept: int) -> Callable[[], Seen]:
        words = (found[name], HERE / "upload.py", name, url, file, str(requests), str(kept))
        return lambda: command(*words)

    every = {name: library(name, count, 0) for name in found}
    if "httpx" in found and size == KEPT_SIZE:
        every["httpx, 200 kept"] = library("httpx", 600, 200)
    if shutil.which("curl"):
        every["curl"] = lambda: asyncio.run(curl(url, file, count))
    if shutil.which("node"):
        script = HERE / "node_fetch.mjs"
        every["Node's fetch"] = lambda: command("node", script, url, file, str(count))
    return every


def measure(url: str, folder: Path, python: Path | None, count: int = COUNT) -> list[str]:
    """Send all, print a row for each client and size; return the rows that fall short."""
    found, short = pythons(python), []
    for name in ("curl", "node"):
        if not shutil.which(name):
            print(f"{name} is not installed: passed over")
    print("| client | body, bytes | at once | saw | without Retry-After | last refusal, s | good |")
    print("| --- " * 7 + "|")
    for size in SIZES:
        file = folder / f"{size}.jpg"
        file.write_bytes(jpeg(size))
        for name, run in runs(url, file, size, found, min(count, IN_MEMORY // size)).items():
            seen = run()
            row = seen.row(name, size, sum(seen.statuses.values()))
            print(row, flush=True)
            short += [] if seen.good else [row]
    return short
