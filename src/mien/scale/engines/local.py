"""Processes on this machine, each with a pipe; the default engine, without other packages."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any

from mien.errors import ClusterError
from mien.scale.engine import MAX_START_FAILURES, Report, died

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from mien.scale.engine import MakeWorker

PARENT_POLL_S = 0.2
"""Seconds between two looks of a worker at whether its parent still lives."""
STOP_S = 5.0
"""Seconds that a worker gets to end."""


class LocalEngine:
    """Processes that are started once and replaced when they die.

    Args:
        workers: processes, 1 or more.
    """

    name = "local"

    def __init__(self, workers: int) -> None:
        self.workers = self.capacity = workers
        self.restarts = 0
        self._processes: list[_Process] = []

    def open(self, make_worker: MakeWorker) -> None:
        """Start the workers; they load their models while the first items are submitted."""
        content = pickle.dumps(make_worker)
        self._processes = [_Process(content) for _ in range(self.workers)]

    def submit(self, ticket: int, item: Any) -> None:
        """Give an item to an idle worker, one that has started before one that has not."""
        idle = [process for process in self._processes if process.ticket is None]
        worker = min(idle, key=lambda process: not process.ready)
        self.restarts += worker.submit(ticket, item)

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that came in; replace the workers that died.

        Raises:
            ClusterError: workers die while they start, or cannot make what works on the items.
        """
        by_handle: dict[Any, _Process] = {}
        for process in self._processes:
            by_handle[process.pipe] = by_handle[process.process.sentinel] = process
        ready = wait_for(list(by_handle), timeout_s)
        reports: list[Report] = []
        # Each once: a worker that died is ready twice.
        for process in dict.fromkeys(by_handle[handle] for handle in ready):
            report, restarted = process.receive()
            self.restarts += restarted
            if report is not None:
                reports.append(report)
        return reports

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.stop()
        self._processes = []


class _Process:
    """One worker: a process, a pipe, and the item that it works on."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._start_failures = 0
        self.ticket: int | None = None
        self._item: Any = None
        self._start()

    def _start(self) -> None:
        # Forking a process that runs threads of ONNX Runtime or torch can deadlock; spawning
        # cannot.
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            # Daemons, which Python ends with this process.
            target=_serve, args=(theirs, self._content, os.getpid()), daemon=True
        )  # fmt: skip
        self.ready = False
        self.process.start()
        # Only the worker's copy stays open, so that the pipe ends when the worker does.
        theirs.close()

    def submit(self, ticket: int, item: Any) -> int:
        """Send an item; return how many workers were replaced for that."""
        self.ticket, self._item = ticket, item
        try:
            self.pipe.send(item)
        except OSError:  # it died while it was idle, which is no fault of the item
            self._replace()
            return 1
        return 0

    def receive(self) -> tuple[Report | None, int]:
        """Return what came in, and how many workers were replaced."""
        try:
            if not self.pipe.poll():
                # Only the sentinel was ready: it ended without a word.
                raise EOFError
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            return self._died()
        if kind == "ready":
            self.ready, self._start_failures = True, 0
            return None, 0
        if kind == "unusable":
            raise ClusterError(f"a worker cannot start: {value}", hint="see the error above")
        ticket, self.ticket, self._item = self.ticket, None, None
        assert ticket is not None  # noqa: S101  (it answers what it was given)
        return Report(ticket, value) if kind == "done" else Report(ticket, error=value), 0

    def _died(self) -> tuple[Report | None, int]:
        self.process.join()
        code = self.process.exitcode
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        if not self.ready:
            self._start_failures += 1
            if self._start_failures >= MAX_START_FAILURES:
                raise ClusterError(
                    f"workers die while they start ({how})",
                    hint="is there enough memory? fewer workers need less; a script must start the "
                    "work under if __name__ == '__main__'",
                )
            self._replace()  # with the same item: it was not looked at yet
            return None, 1
        ticket, self.ticket, self._item = self.ticket, None, None
        self._replace()
        return (None if ticket is None else Report(ticket, error=died(how))), 1

    def _replace(self) -> None:
        self.pipe.close()
        self.process.join(STOP_S)
        self._start()
        if self.ticket is not None:
            self.pipe.send(self._item)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        # A request only; a worker that is stuck must not hold up the end.
        self.process.join(STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(STOP_S)
        self.pipe.close()


def _serve(pipe: Connection, content: bytes, parent: int) -> None:
    """Run in the worker's process: make the worker, then process items until the pipe ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    try:
        worker = pickle.loads(content)()  # noqa: S301  (from the parent, through its own pipe)
    except Exception as error:  # noqa: BLE001 - the parent reports it
        pipe.send(("unusable", in_words(error)))
        return
    answer: tuple[str, Any] = ("ready", None)
    while True:
        try:
            pipe.send(answer)
            item = pipe.recv()
        except (EOFError, OSError):  # the parent is gone, killed perhaps: nobody to report to
            return
        try:
            answer = ("done", worker(item))
        except Exception as error:  # noqa: BLE001 - one item must not end the worker
            answer = ("failed", in_words(error))


def in_words(error: Exception) -> str:
    """Return what an exception says, with its hint where it is one of mien's."""
    hint = getattr(error, "hint", "")
    text = str(error) or type(error).__name__
    if hint:
        return f"{text}; {hint}"
    return f"{type(error).__name__}: {text}" if str(error) else text


def _exit_with_parent(parent: int) -> None:
    """End this process once its parent is gone, in the middle of an item too.

    Otherwise it would write into a folder that the resumed run already works in.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    # Not sys.exit, which would end this thread only.
    os._exit(1)
