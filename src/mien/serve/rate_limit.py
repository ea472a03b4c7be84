"""Rate limit per client address: a token bucket for each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CLIENTS = 10_000
"""Addresses remembered; the least recently seen is dropped first, so that memory is bounded."""
BURST_S = 2.0
"""Size of a bucket, in seconds of the rate: so many requests may come at once."""


class RateLimiter:
    """Limits the request rate of each client.

    Args:
        per_second: sustained requests per second of one client; 0 disables the limit.
        clock: returns seconds; monotonic.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._capacity = max(1.0, per_second * BURST_S)
        # address -> (tokens left, time of the last request), least recently seen first
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Count one request of a client.

        Returns:
            0 if the request is allowed, else whole seconds until the next one will be.
        """
        if not self._rate:
            return 0
        now = self._clock()
        # Popped and inserted again: the dictionary stays ordered by the time of the last request.
        left, then = self._buckets.pop(client, (self._capacity, now))
        left = min(self._capacity, left + (now - then) * self._rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / self._rate))
