"""Fuzzes the server: no response may be a 500, no request may hang, memory may not grow.

    python bench/server_fuzz.py [--count 10000] [--seed 0]

Sends images of seven formats and videos with bytes changed, cut, joined, or with false sizes;
malformed forms; random parameters, paths, methods and headers; bytes that are not HTTP; invalid
WebSocket messages. Compare statuses, the slowest response, and memory before and after.
Schemathesis, whose requests follow /openapi.json, runs in an environment of its own (docs/log.md).
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.video.clips import write_clip  # noqa: E402

from server import Line, ask, memory_mb, server  # noqa: E402

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
CONCURRENCY = 8
TIMEOUT_S = 60.0
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW")
PATHS = ("/v1/predict", "/v1/video", "/v1/video/x", "/v1/video/x/result", "/v1/models",
         "/v1/live", "/", "/assets/x", "/assets/../../etc/passwd", "/metrics", "/healthz",
         "//", "/%00")  # fmt: skip
PARAMETERS = ("model", "min_confidence", "faces", "annotate", "every", "format", "x")
VALUES = ("", "0.5", "-1", "nan", "inf", "1e999", "true", "whole", "../../x", "\x00", "é" * 40,
          "x" * 2000, "[]", "mien-small", "json", "csv")  # fmt: skip
HEADERS = ("Authorization", "Origin", "Content-Type", "Content-Length", "Transfer-Encoding", "Host",
           "Expect", "Range", "If-None-Match", "Upgrade", "Connection", "X")  # fmt: skip


class Fuzz:
    """Makes random requests; the same seed makes the same ones."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self._images = [self._image(kind) for kind in KINDS]
        self._clips = [
            write_clip(folder / f"a{suffix}", 12, codec=codec).read_bytes()
            for suffix, codec in ((".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4"))
        ]
        self.makers: dict[str, Callable[[], bytes]] = {
            "image": lambda: self._post("/v1/predict", self._mutated(self._images)),
            "images in a form": self._form,
            "broken form": self._broken_form,
            "parameters": self._parameters,
            "video": lambda: self._post("/v1/video", self._mutated(self._clips)),
            "headers": self._headers,
            "no HTTP": lambda: self.chance.randbytes(self.chance.randrange(1, 400)) + b"\r\n\r\n",
        }

    def _image(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        image = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB")
        image.resize((160, 120)).save(buffer, kind)
        return buffer.getvalue()

    def _mutated(self, contents: list[bytes]) -> bytes:
        chance = self.chance
        content = bytearray(chance.choice(contents))
        for _ in range(chance.randrange(4)):
            # Half of the changes are in the first bytes, which hold sizes and formats.
            at = chance.randrange(min(len(content), chance.choice((64, len(content)))) or 1)
            way = chance.randrange(5)
            if way == 0:
                content[at : at + 4] = chance.randbytes(4)
            elif way == 1:
                content[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
            elif way == 2:
                del content[at + 12 :]
            elif way == 3:
                content[at:at] = chance.randbytes(chance.randrange(1, 300))
            else:
                content[at:] = chance.choice(contents)[at:]
        return bytes(content)

    def _post(self, path: str, content: bytes, kind: str = "image/jpeg") -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode("utf-8", "surrogatepass") + content

    def _form_body(self, count: int) -> bytes:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        parts = [head + self._mutated(self._images) + b"\r\n" for _ in range(count)]
        return b"".join(parts) + b"--b--\r\n"

    def _form(self) -> bytes:
        body = self._form_body(self.chance.randrange(1, 5))
        return self._post("/v1/predict", body, "multipart/form-data; boundary=b")

    def _broken_form(self) -> bytes:
        body = bytearray(self._form_body(self.chance.randrange(3)))
        for _ in range(self.chance.randrange(1, 6)):
            at = self.chance.randrange(min(len(body), 120) or 1)
            body[at : at + self.chance.randrange(4)] = self.chance.randbytes(2)
        kind = self.chance.choice(
            ("multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; x=",
             'multipart/form-data; boundary="b', "multipart/mixed; boundary=b")
        )  # fmt: skip
        return self._post(self.chance.choice(PATHS[:2]), bytes(body), kind)

    def _query(self) -> str:
        some = self.chance.choices(PARAMETERS, k=self.chance.randrange(4))
        return "&".join(f"{name}={quote(self.chance.choice(VALUES))}" for name in some)

    def _parameters(self) -> bytes:
        path = f"{self.chance.choice(PATHS)}?{self._query()}"
        if self.chance.random() < 0.5:
            return self._post(path, self._mutated(self._images))
        return f"{self.chance.choice(METHODS)} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def _headers(self) -> bytes:
        lines = [f"{self.chance.choice(METHODS)} {self.chance.choice(PATHS)} HTTP/1.1"]
        lines += ["Host: localhost"] * (self.chance.random() < 0.8)
        for name in self.chance.choices(HEADERS, k=self.chance.randrange(5)):
            value = self.chance.choice((*VALUES, "chunked", "websocket", "100-continue", "Upgrade"))
            lines.append(f"{name}: {value}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        rest = self.chance.randrange(100) if self.chance.random() < 0.3 else 0
        return head.encode("utf-8") + self.chance.randbytes(rest)

    def words(self) -> list[str | bytes]:
        """Return messages for a WebSocket."""
        chance = self.chance
        return [
            chance.choice((self._mutated(self._images), chance.randbytes(50), "{}", "[]", "\x00",
                           '{"token": [[]]}', '{"min_confidence": 1e999}', "[" * 4000))
            for _ in range(chance.randrange(1, 6))
        ]  # fmt: skip


async def one(port: int, message: bytes) -> int | str:
    """Send a request on a connection of its own; return its status, or how it ended."""
    line = Line(port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return (await line.ask(message))[0]
    except TimeoutError:
        return "hang"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "closed"
    finally:
        line.close()


async def socket(port: int, messages: list[str | bytes]) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S), connect(f"ws://127.0.0.1:{port}/v1/live") as line:
            for message in messages:
                await line.send(message)
            await line.send(messages[0] if isinstance(messages[0], bytes) else b"a frame")
            await line.recv()
            return "answered"
    except TimeoutError:
        return "hang"
    except (WebSocketException, OSError):
        return "closed"


async def run(fuzz: Fuzz, port: int, count: int) -> tuple[dict[str, Counter[int | str]], float]:
    seen: dict[str, Counter[int | str]] = defaultdict(Counter)
    slowest, room = 0.0, asyncio.Semaphore(CONCURRENCY)
    # Half heads wait for the server's 15 s: all at once, while the others continue.
    waits: list[asyncio.Task[None]] = []

    async def send(name: str, message: bytes | list[str | bytes]) -> None:
        nonlocal slowest
        async with room:
            began = time.perf_counter()
            if isinstance(message, list):
                answer: int | str = await socket(port, message)
            else:
                answer = await one(port, message)
            slowest = max(slowest, time.perf_counter() - began)
            seen[name][answer] += 1

    names = [*fuzz.makers, "WebSocket"]
    weights = [30, 10, 10, 15, 5, 15, 10, 5]
    for name in fuzz.chance.choices(names, weights, k=count):
        message = fuzz.words() if name == "WebSocket" else fuzz.makers[name]()
        waits.append(asyncio.create_task(send(name, message)))
        while len(waits) > 4 * CONCURRENCY:
            done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*done)
            waits = list(rest)
    await asyncio.gather(*waits)
    return seen, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fuzz = Fuzz(options.seed, folder)
        total: dict[str, Counter[int | str]] = defaultdict(Counter)
        slowest = 0.0
        with server(folder, "--max-rate", "0", "--max-jobs", "1000") as (process, port):
            asyncio.run(run(Fuzz(options.seed + 1, folder), port, 300))  # fills caches and pools
            memory = [memory_mb(process.pid)]
            for _ in range(4):
                seen, longest = asyncio.run(run(fuzz, port, options.count // 4))
                slowest = max(slowest, longest)
                for key, answers in seen.items():
                    total[key].update(answers)
                memory.append(memory_mb(process.pid))
                print(f"{memory[-1]:.0f} MB", flush=True)
            message = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            well = asyncio.run(ask(port, message))[0] == 200
        failures = re.findall("unexpected .* at .*", (folder / "server.log").read_text())
    everything = sum(total.values(), Counter())
    print("\n| what | requests | answers |\n| --- | --- | --- |")
    for key, answers in sorted(total.items()):
        words = ", ".join(f"{a}: {n:,}" for a, n in sorted(answers.items(), key=str))
        print(f"| {key} | {sum(answers.values()):,} | {words} |")
    print(f"\n{sum(everything.values()):,} requests, {everything[500]} with status 500, "
          f"{len(failures)} unexpected errors in the log, {everything['hang']} hangs, the slowest "
          f"{slowest:.1f} s, healthy afterwards: {well}")  # fmt: skip
    print("\n".join(sorted(set(failures))), end="")
    print("memory, MB: " + " -> ".join(f"{m:.0f}" for m in memory))


if __name__ == "__main__":
    main()
