"""Uploads a file many times at once with one client library; run by bench/refused.py.

    python upload.py LIBRARY URL FILE COUNT CONNECTIONS

LIBRARY is httpx, aiohttp or requests. CONNECTIONS is the number of connections that the requests
share; 0 gives each request its own. Prints a JSON object: statuses (number of responses by status,
or of errors by name), without_retry_after (refusals that lacked the header), refused_s (the
client's time of each refusal, in seconds).
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
REFUSED_S: list[float] = []
WITHOUT_RETRY_AFTER = 0


def record(status: int, headers: Any, started: float) -> None:
    global WITHOUT_RETRY_AFTER
    STATUSES[str(status)] += 1
    if status in (429, 503):
        REFUSED_S.append(time.perf_counter() - started)
        WITHOUT_RETRY_AFTER += "retry-after" not in headers


async def with_httpx(url: str, body: bytes, count: int, connections: int) -> None:
    import httpx

    limits = httpx.Limits(
        max_connections=connections or None, max_keepalive_connections=connections or None
    )
    timeout = httpx.Timeout(60, pool=None)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client:

        async def one() -> None:
            started = time.perf_counter()

            async def trace(event: str, progress: Any) -> None:
                nonlocal started  # exclude the wait for a free connection
                if event == "http11.send_request_headers.started":
                    started = time.perf_counter()

            try:
                answer = await client.post(url, content=body, extensions={"trace": trace})
            except httpx.HTTPError as error:
                STATUSES[type(error).__name__] += 1
            else:
                record(answer.status_code, answer.headers, started)

        await asyncio.gather(*(one() for _ in range(count)))


async def with_aiohttp(url: str, body: bytes, count: int, connections: int) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=connections)  # 0: no limit
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one() -> None:
            started = time.perf_counter()
            try:
                async with session.post(url, data=body) as answer:
                    await answer.read()
                    record(answer.status, answer.headers, started)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                STATUSES[type(error).__name__] += 1

        await asyncio.gather(*(one() for _ in range(count)))


def with_requests(url: str, body: bytes, count: int) -> None:
    import requests

    barrier = threading.Barrier(count)

    def one() -> None:
        with requests.Session() as session:
            session.trust_env = False
            barrier.wait()
            started = time.perf_counter()
            try:
                answer = session.post(url, data=body, timeout=60)
            except requests.RequestException as error:
                STATUSES[type(error).__name__] += 1
            else:
                record(answer.status_code, answer.headers, started)

    threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    library, url, file, count, connections = sys.argv[1:]
    body = Path(file).read_bytes()
    if library == "requests":
        with_requests(url, body, int(count))
    else:
        run = with_httpx if library == "httpx" else with_aiohttp
        asyncio.run(run(url, body, int(count), int(connections)))
    print(
        json.dumps(
            {
                "statuses": STATUSES,
                "without_retry_after": WITHOUT_RETRY_AFTER,
                "refused_s": REFUSED_S,
            }
        )
    )


if __name__ == "__main__":
    main()
