"""Trainings in parallel processes, each on one thread; a process that dies costs one training."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from typing import TYPE_CHECKING, Any

from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import SpawnContext, SpawnProcess
    from pathlib import Path

    from mien.study.plan import Training

POLL_S = 0.2
"""Seconds between two looks at the processes."""


def run_all(
    pending: Sequence[Training],
    data: Path,
    folder: Path,
    jobs: int,
    report: Callable[[Training, str], None],
) -> None:
    """Train all of `pending`; results stand in their folders.

    Args:
        pending: trainings to do.
        data: the dataset's folder.
        folder: the trainings' folders go there.
        jobs: processes.
        report: told each training that ended and what went wrong, '' for nothing.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(pending))
    workers = [Worker(context, data, folder) for _ in range(min(jobs, len(pending)))]
    try:
        while waiting or any(worker.training is not None for worker in workers):
            for worker in workers:
                ended, error = worker.look()
                if ended is not None:
                    report(ended, error)
                if worker.training is None and waiting:
                    worker.give(waiting.pop())
            time.sleep(POLL_S)
    finally:
        for worker in workers:
            worker.stop()


class Worker:
    """One process that trains what it is given; it is replaced when it dies."""

    def __init__(self, context: SpawnContext, data: Path, folder: Path) -> None:
        self.context, self.data, self.folder = context, data, folder
        self.training: Training | None = None
        self._start()

    def _start(self) -> None:
        # Queues of their own: a process that is killed may leave one locked.
        self.tasks: Any = self.context.Queue()
        self.answers: Any = self.context.Queue()
        self.process: SpawnProcess = self.context.Process(
            target=_work, args=(self.data, self.folder, self.tasks, self.answers), daemon=True
        )
        self.process.start()

    def give(self, training: Training) -> None:
        """Let the process train; one that died while it had nothing to do is replaced."""
        if not self.process.is_alive():
            self._start()
        self.training = training
        self.tasks.put(training)

    def look(self) -> tuple[Training | None, str]:
        """Return the training that ended since the last look, and what went wrong."""
        training = self.training
        if training is None:
            return None, ""
        try:
            error = self.answers.get_nowait()
        except queue.Empty:
            if self.process.is_alive():
                return None, ""
            code = self.process.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            error = f"the process that trained it died ({how})"
            self._start()
        self.training = None
        return training, error

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join(5)


def _work(data: Path, folder: Path, tasks: Any, answers: Any) -> None:
    import signal

    from mien.data.dataset import load_dataset
    from mien.study.cell import run_training

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    dataset = load_dataset(data)
    parent = os.getppid()
    while True:
        try:
            training = tasks.get(timeout=2.0)
        except queue.Empty:
            if os.getppid() != parent:
                return  # the study was killed
            continue
        try:
            run_training(training, dataset, folder)
            answers.put("")
        except MienError as error:
            answers.put(error.message)
        except Exception as error:  # noqa: BLE001 - one training must not end the study
            answers.put(f"{type(error).__name__}: {error}")
