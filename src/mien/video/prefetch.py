"""Prefetches frames in a thread, and always ends that thread.

Decoding releases Python's global lock, so it runs while the main thread classifies.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

Item = TypeVar("Item")

DEPTH = 8
"""Maximum number of frames that wait: 720p RGB takes 2.8 MB each."""
_POLL_S = 0.1
"""Seconds between two looks at whether to stop: queues cannot wait for an event too."""


class Prefetcher(Generic[Item]):
    """Iterates over items that a thread produces.

    A context manager: however the block ends, the thread is stopped and joined. It is a daemon
    too, so that a source that never answers cannot keep the process alive.

    Args:
        items: frames or jobs; produced in the thread and closed there.
        newest: keep only the newest item and drop the others: for live sources.
        after: the prefetcher that `items` reads from. It is stopped first: the thread of this one
            might otherwise wait for it for ever.
        join_s: maximum seconds to wait for the thread at the end.

    Attributes:
        dropped: number of items dropped, with `newest`.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        newest: bool = False,
        after: Prefetcher[Any] | None = None,
        join_s: float = 5.0,
    ) -> None:
        self._items, self._after = items, after
        self._newest, self._join_s = newest, join_s
        self._queue: queue.Queue[Item | BaseException | None] = queue.Queue(1 if newest else DEPTH)
        self._stop = threading.Event()
        self.dropped = 0
        # A daemon: a decoder that hangs in a network read must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="mien-prefetch", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(self._join_s)

    def stop(self) -> None:
        """Stop this thread and those before it; the iteration ends."""
        self._stop.set()
        if self._after is not None:
            self._after.stop()

    def _take(self) -> Iterator[Item]:
        while True:
            try:
                item = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._stop.is_set():
                    return
                # A thread may die between its last item and this look at it.
                if self._thread.is_alive() or not self._queue.empty():
                    continue
                return
            if item is None:  # the end
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                if self._stop.is_set():
                    break
                self._put(item, droppable=self._newest)
            self._put(None)
        except BaseException as error:  # noqa: BLE001  (handed to the main thread, which raises it)
            self._put(error)
        finally:
            # In this thread: a generator may be closed only where it runs.
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: Item | BaseException | None, droppable: bool = False) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S if not droppable else 0.001)
            except queue.Full:
                if droppable:
                    self._drop()
                continue
            return

    def _drop(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return  # the consumer has taken it meanwhile
        self.dropped += 1
