"""Many uploads at once with one client library; see bench/refused.py.

    python upload.py LIBRARY URL FILE COUNT KEPT

Prints {"statuses": {...}, "bare": refusals without Retry-After, "refused": [seconds, ...]}. KEPT
is how many connections share the requests; 0 gives each its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

STATUSES: Counter[str] = Counter()
REFUSED: list[float] = []
BARE = 0


def note(status: int, headers: Any, began: float) -> None:
    global BARE
    STATUSES[str(status)] += 1
    if status in (429, 503):
        REFUSED.append(time.perf_counter() - began)
        BARE += "retry-after" not in headers


async def with_httpx(url: str, body: bytes, count: int, kept: int) -> None:
    import httpx

    limits = httpx.Limits(max_connections=kept or None, max_keepalive_connections=kept or None)
    timeout = httpx.Timeout(60, pool=None)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client:

        async def one() -> None:
            began = time.perf_counter()

            async def trace(event: str, progress: Any) -> None:
                nonlocal began  # without the wait for one of the connections
                if event == "http11.send_request_headers.started":
                    began = time.perf_counter()

            try:
                answer = await client.post(url, content=body, extensions={"trace": trace})
            except httpx.HTTPError as error:
                STATUSES[type(error).__name__] += 1
            else:
                note(answer.status_code, answer.headers, began)

        await asyncio.gather(*(one() for _ in range(count)))


async def with_aiohttp(url: str, body: bytes, count: int, kept: int) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=kept)  # 0: without a limit
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one() -> None:
            began = time.perf_counter()
            try:
                async with session.post(url, data=body) as answer:
                    await answer.read()
                    note(answer.status, answer.headers, began)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                STATUSES[type(error).__name__] += 1

        await asyncio.gather(*(one() for _ in range(count)))


def with_requests(url: str, body: bytes, count: int) -> None:
    import requests

    start = threading.Barrier(count)

    def one() -> None:
        with requests.Session() as session:
            session.trust_env = False
            start.wait()
            began = time.perf_counter()
            try:
                answer = session.post(url, data=body, timeout=60)
            except requests.RequestException as error:
                STATUSES[type(error).__name__] += 1
            else:
                note(answer.status_code, answer.headers, began)

    threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    library, url, file, count, kept = sys.argv[1:]
    body = Path(file).read_bytes()
    if library == "requests":
        with_requests(url, body, int(count))
    else:
        run = with_httpx if library == "httpx" else with_aiohttp
        asyncio.run(run(url, body, int(count), int(kept)))
    print(json.dumps({"statuses": STATUSES, "bare": BARE, "refused": REFUSED}))


if __name__ == "__main__":
    main()
