"""Dynamic batching: faces of several clients are classified in one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mien.model.classifier import BATCH, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.predict.pipeline import FaceClassifier

_Request = tuple["NDArray[np.uint8]", "asyncio.Future[NDArray[np.float32]]"]


class Batcher:
    """Collects crops and classifies them with one model, in batches, in a thread.

    The next batch fills up while one is being classified. Crops also wait for up to `window_s` if
    faces of other images are expected, and not at all if none are.

    Args:
        classifier: the model.
        window_s: maximum wait for faces of other images, in seconds.
        more_expected: returns whether other images are being processed.
        on_batch: called with the number of faces in each batch.
    """

    def __init__(
        self,
        classifier: FaceClassifier,
        window_s: float,
        more_expected: Callable[[], bool],
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._classifier, self._window_s = classifier, window_s
        self._more_expected, self._on_batch = more_expected, on_batch
        self._queue: deque[_Request] = deque()
        self._wake = asyncio.Event()
        # One thread: batches of one model run one after another, so that the next one can fill up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mien-classify")
        self._task = asyncio.create_task(self._run())

    async def probabilities(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, float32 [n, k], of grey crops, uint8 [n, size, size]."""
        # An image without a face must not wait for a batch.
        if not len(crops_nhw):
            return np.zeros((0, len(self._classifier.info.labels)), np.float32)
        result: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._queue.append((crops_nhw, result))
        self._wake.set()
        return await result

    async def close(self) -> None:
        """Stop the thread; queued requests are cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # Otherwise their requests would wait for ever.
        for _, result in self._queue:
            result.cancel()
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            # A lone client gets no added latency.
            if self._more_expected():
                await asyncio.sleep(self._window_s)
            batch = self._take()
            if not self._queue:  # else the rest is classified in the next round, without a wait
                self._wake.clear()
            if not batch:  # all requests were cancelled
                continue
            crops = np.concatenate([crops for crops, _ in batch])
            self._on_batch(len(crops))
            try:
                probs = await loop.run_in_executor(self._thread, self._classify, crops)
            except Exception as error:  # noqa: BLE001  (raised in each request of the batch)
                for _, result in batch:
                    if not result.done():
                        result.set_exception(error)
                continue
            start = 0
            for own, result in batch:
                if not result.done():  # the client may have gone meanwhile
                    result.set_result(probs[start : start + len(own)])
                # For clients that have left too: their rows are in the batch all the same.
                start += len(own)

    def _take(self) -> list[_Request]:
        """Take queued requests, up to about BATCH faces; a request is never split."""
        batch: list[_Request] = []
        count = 0
        while self._queue and count < BATCH:
            crops, result = self._queue.popleft()
            if result.done():  # cancelled: the client disconnected
                continue
            batch.append((crops, result))
            count += len(crops)
        return batch

    def _classify(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        return softmax(self._classifier.logits(crops_nhw))
