"""What an engine is: it runs workers, gives each an item, and reports what became of it.

An engine is independent of images, retries and order: `mien.scale.mapping.map_items` does the rest
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Worker = Callable[[Any], Any]
"""Processes one item. Exceptions are reported; what kills the process is noticed."""
MakeWorker = Callable[[], Worker]
"""Makes the worker of one process, once: it loads models. It must be picklable."""
MAX_START_FAILURES = 3
"""Workers that may die one after another while they start, before the engine gives up."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of an item.

    Attributes:
        ticket: number that it was submitted with.
        value: what the worker returned.
        error: what went wrong, in words; '' if nothing did.
    """

    ticket: int
    value: Any = None
    error: str = ""


class Engine(Protocol):
    """Runs workers on one machine or many. Opened once, used for several lists, closed once.

    Attributes:
        name: in the registry.
        workers: processes that work at the same time.
        capacity: items that may be submitted and not yet reported.
        restarts: workers that died and were replaced so far.
    """

    name: str
    workers: int
    capacity: int
    restarts: int

    def open(self, make_worker: MakeWorker) -> None:
        """Start the workers.

        Raises:
            ClusterError: the cluster cannot be reached, or its workers have another mien.
            MissingExtraError: the engine's package is not installed.
        """
        ...

    def submit(self, ticket: int, item: Any) -> None:
        """Give an item to a worker; at most `capacity` may be in flight."""
        ...

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that came in, at latest after `timeout_s` seconds.

        A worker that dies is replaced, and the item that it worked on is reported with an error.

        Raises:
            ClusterError: workers cannot be started any more.
        """
        ...

    def close(self) -> None:
        """End the workers, whatever they do. May be called twice."""
        ...


def died(how: str) -> str:
    """Return the error of an item whose worker died."""
    return f"its worker died ({how})"
