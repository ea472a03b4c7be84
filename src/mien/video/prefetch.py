"""Reads frames ahead in a thread, and always ends that thread.

Decoding releases Python's lock, so it goes on while the main thread detects and classifies.
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
"""Frames that wait at most: 720p RGB takes 2.8 MB each."""
_WAIT = 0.1


class Prefetcher(Generic[Item]):
    """Iterates over frames that a thread reads.

    Used as a context manager: however the block ends, the thread is told to stop and is waited
    for. It is a daemon besides, so that a source that never answers cannot keep the process.

    Args:
        items: frames, or plans for them; made in the thread and closed there, at its end.
        newest: keep only the newest frame and drop the others: for live sources.
        after: another whose items these are made of: it is told to stop before this one is
            waited for, which might else wait for it.
        ends_at_once: seconds to wait for the thread at the end.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        newest: bool = False,
        after: Prefetcher[Any] | None = None,
        ends_at_once: float = 5.0,
    ) -> None:
        self._items, self._after = items, after
        self._newest, self._patience = newest, ends_at_once
        self._queue: queue.Queue[Item | BaseException | None] = queue.Queue(1 if newest else DEPTH)
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="mien-read-ahead", daemon=True)

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
        self._thread.join(self._patience)

    def stop(self) -> None:
        """Tell the thread, and those before it, to stop; whoever waits for items gets no more."""
        self._stop.set()
        if self._after is not None:
            self._after.stop()

    def _take(self) -> Iterator[Item]:
        while True:
            try:
                item = self._queue.get(timeout=_WAIT)
            except queue.Empty:
                if self._stop.is_set():
                    return
                if self._thread.is_alive() or not self._queue.empty():
                    continue
                return
            if item is None:
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
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: Item | BaseException | None, droppable: bool = False) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_WAIT if not droppable else 0.001)
            except queue.Full:
                if droppable:
                    self._drop()
                continue
            return

    def _drop(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return  # taken by the reader just now
        self.dropped += 1
