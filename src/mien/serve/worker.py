"""Takes videos from the queue and reads them, in threads beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mien.errors import MienError
from mien.serve.jobs import CANCELLED, DONE, FAILED
from mien.serve.problems import log_failure
from mien.serve.video import Stopped, read_video

if TYPE_CHECKING:
    from mien.predict.detectors.base import Detector
    from mien.serve.catalogue import Catalogue
    from mien.serve.jobs import Job
    from mien.serve.metrics import Metrics
    from mien.serve.settings import Limits
    from mien.serve.store import Store

LOOK_S = 0.5
"""Seconds between two looks into the queue: other workers may have filled it."""
SWEEP_S = 30.0


class Worker:
    """Reads videos as long as the server runs.

    Args:
        store: with the queue.
        catalogue: the models.
        detector: finds the faces.
        limits: of the server.
        metrics: are told.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        detector: Detector,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._store, self._catalogue, self._detector = store, catalogue, detector
        self._limits, self._metrics = limits, metrics
        self._threads = ThreadPoolExecutor(limits.jobs_at_once, thread_name_prefix="mien-video")
        self._stop = threading.Event()
        self._wake = asyncio.Event()
        self._running: set[asyncio.Future[None]] = set()
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Say that there is something in the queue."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is being read goes back into the queue, and is read by the next server."""
        self._stop.set()
        self._task.cancel()
        await asyncio.gather(self._task, *self._running, return_exceptions=True)
        self._threads.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        swept = -SWEEP_S
        while True:
            try:
                while len(self._running) < self._limits.jobs_at_once:
                    job = await asyncio.to_thread(self._store.jobs.claim, self._limits.jobs_at_once)
                    if job is None:
                        break
                    task = loop.run_in_executor(self._threads, self._read, job)
                    self._running.add(task)
                    task.add_done_callback(self._ended)
                if loop.time() - swept >= SWEEP_S:
                    swept = loop.time()
                    keep_s = 60 * self._limits.keep_minutes
                    await asyncio.to_thread(self._store.sweep, keep_s)
            except Exception as error:  # noqa: BLE001  (a full disk must not end the queue)
                log_failure(error)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), LOOK_S)
            except TimeoutError:
                continue

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # the table could not be written; the lease will run out
            log_failure(error)
        self.wake()

    def _read(self, job: Job) -> None:
        """Read one video, in a thread; whatever happens, the job says how it ended."""
        status, message, hint = FAILED, "the server failed", "please report it"
        try:
            model = self._catalogue.models.get(job.model)
            if model is None:
                message, hint = "its model is no longer served", "send it again"
                return
            earlier = self._store.read_earlier(job.id)
            if earlier is not None:  # by a server that died before it could say so
                status, message, hint = DONE, earlier["error"] or "", ""
                return
            broken = read_video(
                job, self._store.upload(job.id), self._store.result(job.id), self._detector,
                model.classifier, self._limits, lambda share: self._tell(job, share),
            )  # fmt: skip
            status, message, hint = DONE, "", ""
            if broken is not None:
                message, hint = broken.message, broken.hint
        except Stopped:
            status = CANCELLED
        except MienError as error:
            message, hint = error.message, error.hint
        except Exception as error:  # noqa: BLE001  (the job must not stay 'running' for ever)
            log_failure(error)
        finally:
            self._end(job, status, message, hint)

    def _tell(self, job: Job, share: float) -> bool:
        return self._store.jobs.beat(job.id, share) and not self._stop.is_set()

    def _end(self, job: Job, status: str, message: str, hint: str) -> None:
        jobs = self._store.jobs
        if status == CANCELLED and self._stop.is_set():
            jobs.give_back(job.id)
            return
        # Deleted before anybody is told that it ended: whoever is told so can rely on it.
        self._store.clear(job.id, result=status != DONE)
        jobs.end(job.id, status, message or None, hint or None)
        now = jobs.get(job.id)
        if now is None or now.status != DONE:  # cancelled meanwhile: nothing stays
            self._store.clear(job.id)
        self._metrics.jobs.labels(now.status if now else CANCELLED).inc()
