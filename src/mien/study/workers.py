"""Trainings in parallel processes, one thread each; a process that dies loses one job."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import SpawnContext, SpawnProcess
    from pathlib import Path

    from mien.study.plan import Training
    from mien.study.sharing import Job

POLL_S = 0.2
"""Seconds between two polls of the processes."""


def run_all(
    pending: Sequence[Job],
    data: Path,
    folder: Path,
    jobs: int,
    report: Callable[[Training, str], None],
) -> None:
    """Run all jobs of `pending`; results are written into the folders of their trainings.

    Args:
        pending: jobs to run.
        data: the dataset's folder.
        folder: gets a folder for each training.
        jobs: worker processes, 1 or more.
        report: progress callback: gets each training that ended and why it failed, '' if it did
            not.
    """
    with Pool(data, folder, jobs) as pool:
        pool.run(pending, report)


class Pool:
    """Worker processes that stay for several lists of jobs; use it in a `with` statement.

    Args:
        data: the dataset's folder.
        folder: gets a folder for each training.
        jobs: worker processes, 1 or more; they are started when they are needed.
    """

    def __init__(self, data: Path, folder: Path, jobs: int) -> None:
        self.data, self.folder, self.jobs = data, folder, jobs
        self.workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()

    def run(self, pending: Sequence[Job], report: Callable[[Training, str], None]) -> None:
        """Run all jobs of `pending`, in that order; see `run_all`."""
        # Forking a process that runs torch's threads can deadlock; spawning cannot.
        context = multiprocessing.get_context("spawn")
        while len(self.workers) < min(self.jobs, len(pending)):
            self.workers.append(Worker(context, self.data, self.folder))
        waiting = list(reversed(pending))  # so that pop() takes the first
        while waiting or any(worker.job is not None for worker in self.workers):
            for worker in self.workers:
                ended, error = worker.poll()
                for training in () if ended is None else ended.trainings:
                    report(training, error)
                if worker.job is None and waiting:
                    worker.submit(waiting.pop())
            # Polling, because a killed process sends nothing that could be waited for.
            time.sleep(POLL_S)


class Worker:
    """One process that runs one job at a time; it is replaced when it dies."""

    def __init__(self, context: SpawnContext, data: Path, folder: Path) -> None:
        self.context, self.data, self.folder = context, data, folder
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        # Each process has its own queues: a killed process may leave one locked.
        self.tasks: Any = self.context.Queue()
        self.outcomes: Any = self.context.Queue()
        self.process: SpawnProcess = self.context.Process(
            # Daemons, which Python ends with the study's own process.
            target=_work,
            args=(self.data, self.folder, self.tasks, self.outcomes),
            daemon=True,
        )
        self.process.start()

    def submit(self, job: Job) -> None:
        """Start a job; a process that died while idle is replaced first."""
        if not self.process.is_alive():
            self._start()
        self.job = job
        self.tasks.put(job)

    def poll(self) -> tuple[Job | None, str]:
        """Return the job that ended since the last poll, and why it failed ('' if not)."""
        job = self.job
        if job is None:
            return None, ""
        try:
            error = self.outcomes.get_nowait()
        except queue.Empty:
            if self.process.is_alive():
                return None, ""
            code = self.process.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            error = f"its process died ({how})"
            self._start()
        self.job = None
        return job, error

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        # terminate() is a request; a worker that is stuck must not hold up the end of the study.
        self.process.join(5)


def _work(data: Path, folder: Path, tasks: Any, outcomes: Any) -> None:
    import signal

    from mien.data.dataset import load_dataset
    from mien.study.cell import run_job

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    # Once for each process: a large dataset takes seconds to load.
    dataset = load_dataset(data)
    while True:
        job = tasks.get()
        try:
            run_job(job, dataset, folder)
            outcomes.put("")
        except MienError as error:
            outcomes.put(error.message)
        except Exception as error:  # noqa: BLE001 - one training must not end the study
            outcomes.put(f"{type(error).__name__}: {error}")


def _exit_with_parent(parent: int) -> None:
    """End this process once its parent is gone, in the middle of a training too.

    Otherwise it would write into a folder that the resumed study is already training in.
    """
    while os.getppid() == parent:
        time.sleep(POLL_S)
    # Not sys.exit, which would end this thread only.
    os._exit(1)
