"""How often one client may ask: a bucket of tokens for each address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED = 10_000
"""Addresses; the longest silent one is forgotten first, so that many of them fill no memory."""
BURST_S = 2.0
"""Seconds' worth of requests that may come all at once."""


class Rate:
    """Counts requests of each client.

    Args:
        per_second: requests that each may send for ever; 0 counts none.
        clock: seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._most = max(1.0, per_second * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Count one request; return 0, or after how many whole seconds the client may come back."""
        if not self._rate:
            return 0
        now = self._clock()
        left, then = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - then) * self._rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / self._rate))
