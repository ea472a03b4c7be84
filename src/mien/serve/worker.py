"""Processes queued videos in background threads."""

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
    from mien.serve.catalog import Catalog
    from mien.serve.jobs import Job
    from mien.serve.metrics import Metrics
    from mien.serve.settings import Limits
    from mien.serve.store import Store

POLL_S = 0.5
"""Seconds between two polls of the queue: other worker processes may have added jobs."""
EXPIRE_S = 30.0
"""Seconds between two deletions of expired results."""


class Worker:
    """Processes videos while the server runs.

    Args:
        store: holds the queue.
        catalog: the models.
        detector: face detector.
        limits: limits of the server.
        metrics: counts finished jobs.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        detector: Detector,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._store, self._catalog, self._detector = store, catalog, detector
        self._limits, self._metrics = limits, metrics
        self._threads = ThreadPoolExecutor(limits.jobs_at_once, thread_name_prefix="mien-video")
        self._stop = threading.Event()
        self._wake = asyncio.Event()
        self._running: set[asyncio.Future[None]] = set()
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Poll the queue now: a job was added."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; unfinished jobs go back into the queue, for the next server."""
        self._stop.set()
        self._task.cancel()
        await asyncio.gather(self._task, *self._running, return_exceptions=True)
        self._threads.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        expired_at = -EXPIRE_S
        while True:
            try:
                while len(self._running) < self._limits.jobs_at_once:
                    job = await asyncio.to_thread(self._store.jobs.claim, self._limits.jobs_at_once)
                    if job is None:
                        break
                    task = loop.run_in_executor(self._threads, self._read, job)
                    self._running.add(task)
                    task.add_done_callback(self._on_done)
                if loop.time() - expired_at >= EXPIRE_S:
                    expired_at = loop.time()
                    keep_s = 60 * self._limits.keep_minutes
                    await asyncio.to_thread(self._store.delete_expired, keep_s)
            except Exception as error:  # noqa: BLE001  (a full disk must not stop the queue)
                log_failure(error)
            # A job that is added after the claim above sets the event again: none is missed.
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            except TimeoutError:
                continue

    def _on_done(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # the table could not be written; the lease will expire
            log_failure(error)
        self.wake()

    def _read(self, job: Job) -> None:
        """Process one video, in a thread; in any case, store how the job ended."""
        status, message, hint = FAILED, "internal server error", "please report it"
        try:
            model = self._catalog.models.get(job.model)
            if model is None:
                message = f"model {job.model!r} is no longer served"
                hint = "send the video again, with another model"
                return
            earlier = self._store.finished_summary(job.id)
            if earlier is not None:  # by a server that died before it could mark the job as done
                status, message, hint = DONE, earlier["error"] or "", ""
                return
            broken = read_video(
                job, self._store.upload_path(job.id), self._store.result_path(job.id),
                self._detector, model.classifier, self._limits,
                lambda fraction: self._report(job, fraction),
            )  # fmt: skip
            status, message, hint = DONE, "", ""
            if broken is not None:
                message, hint = broken.message, broken.hint
        except Stopped:  # cancelled by the client, or the server stops: `_finish` tells them apart
            status = CANCELLED
        except MienError as error:
            message, hint = error.message, error.hint
        except Exception as error:  # noqa: BLE001  (the job must not stay 'running' for ever)
            log_failure(error)
        finally:
            self._finish(job, status, message, hint)

    def _report(self, job: Job, fraction: float) -> bool:
        """Store a job's progress; return whether to continue."""
        return self._store.jobs.renew_lease(job.id, fraction) and not self._stop.is_set()

    def _finish(self, job: Job, status: str, message: str, hint: str) -> None:
        jobs = self._store.jobs
        if status == CANCELLED and self._stop.is_set():
            jobs.requeue(job.id)
            return
        # The video is deleted before the status says that the job ended: clients can rely on it.
        self._store.delete_files(job.id, result=status != DONE)
        jobs.finish(job.id, status, message or None, hint or None)
        now = jobs.get(job.id)
        if now is None or now.status != DONE:  # cancelled meanwhile: nothing is kept
            self._store.delete_files(job.id)
        self._metrics.jobs.labels(now.status if now else CANCELLED).inc()
