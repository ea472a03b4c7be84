"""Faces of several clients, classified together."""

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

_Waiting = tuple["NDArray[np.uint8]", "asyncio.Future[NDArray[np.float32]]"]


class Batcher:
    """Gathers crops, and gives them to one model in batches, in a thread.

    While a batch is being classified the next one gathers; besides, crops wait for `window_s`
    where others may still come, and not at all where nobody else could join.

    Args:
        classifier: the model.
        window_s: seconds.
        others: says whether faces of other images are on their way.
        seen: told the size of each batch.
    """

    def __init__(
        self,
        classifier: FaceClassifier,
        window_s: float,
        others: Callable[[], bool],
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._classifier, self._window, self._others, self._seen = (
            classifier, window_s, others, seen,
        )  # fmt: skip
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mien-classify")
        self._task = asyncio.create_task(self._run())

    async def probabilities(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, float32 [n, k], of grey crops, uint8 [n, size, size]."""
        if not len(crops_nhw):
            return np.zeros((0, len(self._classifier.info.labels)), np.float32)
        answer: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._waiting.append((crops_nhw, answer))
        self._wake.set()
        return await answer

    async def close(self) -> None:
        """End the thread; whoever still waits is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for _, answer in self._waiting:
            answer.cancel()
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            if self._others():
                await asyncio.sleep(self._window)
            batch = self._take()
            if not self._waiting:
                self._wake.clear()
            if not batch:
                continue
            crops = np.concatenate([crops for crops, _ in batch])
            self._seen(len(crops))
            try:
                probs = await loop.run_in_executor(self._thread, self._classify, crops)
            except Exception as error:  # noqa: BLE001  (handed to those who asked)
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            start = 0
            for own, answer in batch:
                if not answer.done():
                    answer.set_result(probs[start : start + len(own)])
                start += len(own)

    def _take(self) -> list[_Waiting]:
        """Return those who wait, up to about BATCH faces; nobody's faces are parted."""
        batch: list[_Waiting] = []
        count = 0
        while self._waiting and count < BATCH:
            crops, answer = self._waiting.popleft()
            if answer.done():  # the client gave up
                continue
            batch.append((crops, answer))
            count += len(crops)
        return batch

    def _classify(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        return softmax(self._classifier.logits(crops_nhw))
