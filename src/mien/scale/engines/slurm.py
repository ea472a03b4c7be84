"""Slurm, through submitit: jobs that process some items each, one after another.

A job's start takes seconds and its turn in the queue longer, so that each gets several items. The
items and their results are files in a folder that all machines see.
"""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ClusterError, ConfigError, MissingExtraError
from mien.files import write_bytes
from mien.scale.engine import MAX_START_FAILURES, Report, died
from mien.scale.engines.local import in_words
from mien.scale.fingerprint import Fingerprint, check_same, fingerprint

if TYPE_CHECKING:
    from mien.scale.engine import MakeWorker

LOOK_S = 0.2
"""Seconds between two looks into the folder of results."""
STOP_S = 10.0
"""Seconds that local jobs get to end."""
CLUSTERS = ("slurm", "local", "debug")
WORKER_FILE = "worker.pickle"


@dataclass(slots=True)
class _Job:
    job: Any
    tickets: list[int]
    """Without a result, in the order in which the job takes them."""


class SlurmEngine:
    """Jobs of submitit.

    Args:
        workers: jobs at the same time, 1 or more.
        threads: CPU threads of each job, Slurm's `cpus_per_task`.
        folder: for items, results and logs; on a disk that all machines see.
        items_per_job: items that a job gets, at most.
        settings: further ones of submitit's executor, such as 'slurm_partition' or 'timeout_min';
            'cluster' is 'slurm', 'local' (processes) or 'debug' (in this process).
    """

    name = "slurm"

    def __init__(
        self,
        workers: int,
        threads: int,
        folder: Path,
        items_per_job: int = 8,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.workers, self.threads, self.folder = workers, threads, folder
        self.items_per_job = items_per_job
        self.capacity = workers * items_per_job
        self.restarts = self._start_failures = 0
        self._settings = dict(settings or {})
        self._executor: Any = None
        self._jobs: list[_Job] = []
        self._ending: list[Any] = []
        self._waiting: list[int] = []

    def open(self, make_worker: MakeWorker) -> None:
        """Check that jobs can be submitted; write the worker's file.

        Raises:
            ClusterError: there is no Slurm here.
            ConfigError: a setting that submitit does not have.
            MissingExtraError: submitit is not installed.
        """
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("slurm", "engine='slurm'") from error
        settings = dict(self._settings)
        cluster = str(settings.pop("cluster", "slurm"))
        if cluster not in CLUSTERS:
            raise ConfigError(
                f"cluster: {cluster!r} is not one of {', '.join(CLUSTERS)}",
                hint="slurm submits jobs; local and debug are for trying it out",
            )
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ClusterError(
                "there is no Slurm here: sbatch is not found",
                hint="run this on a login node of the cluster, or set cluster=local to try it out",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / WORKER_FILE, pickle.dumps(make_worker))
        self._executor = submitit.AutoExecutor(self.folder / "jobs", cluster=cluster)
        values = {"timeout_min": 240, "cpus_per_task": self.threads, **settings}
        try:
            self._executor.update_parameters(**values)
        except (NameError, TypeError, ValueError) as error:
            raise ConfigError(
                f"submitit refuses a setting: {error}",
                hint="settings of Slurm start with slurm_, such as slurm_partition=cpu",
            ) from error

    def submit(self, ticket: int, item: Any) -> None:
        """Write an item; a job gets it with the next call of `wait`."""
        write_bytes(self._file("item", ticket), pickle.dumps(item))
        self._waiting.append(ticket)

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that came in; submit jobs for the items that wait.

        Raises:
            ClusterError: jobs cannot be submitted, die before their first item, or have another
                mien.
        """
        self._submit_jobs()
        end = time.monotonic() + timeout_s
        while True:
            reports = [report for job in self._jobs for report in self._collect(job)]
            # Processes of submitit's local executor are waited for, or they would stay as zombies.
            self._ending += [job.job for job in self._jobs if not job.tickets]
            self._ending = [job for job in self._ending if not job.done()]
            self._jobs = [job for job in self._jobs if job.tickets]
            if reports or time.monotonic() >= end:
                return reports
            time.sleep(min(LOOK_S, timeout_s))

    def _submit_jobs(self) -> None:
        free = self.workers - len(self._jobs)
        while free > 0 and self._waiting:
            # Evenly: no machine is left alone with many items at the end.
            count = min(self.items_per_job, -(-len(self._waiting) // free))
            tickets, self._waiting = self._waiting[:count], self._waiting[count:]
            try:
                job = self._executor.submit(run_items, self.folder, tickets, fingerprint())
            except Exception as error:
                raise ClusterError(
                    f"the job cannot be submitted: {in_words(error)}",
                    hint="is the cluster reachable, and are partition and account right?",
                ) from error
            self._jobs.append(_Job(job, tickets))
            free -= 1

    def _collect(self, job: _Job) -> list[Report]:
        # Before the results: what a job wrote last is there once it is known to have ended.
        ended = job.job.done()
        reports = []
        while job.tickets and (answer := self._result(job.tickets[0])) is not None:
            ticket = job.tickets.pop(0)
            kind, value = answer
            if kind == "other":
                check_same(value, "a job")
            if kind == "unusable":
                raise ClusterError(f"a job cannot start: {value}", hint="see the logs in jobs/")
            self._start_failures = 0
            reports.append(Report(ticket, value) if kind == "done" else Report(ticket, error=value))
        if ended and job.tickets:
            reports += self._lost(job)
        return reports

    def _lost(self, job: _Job) -> list[Report]:
        """Take the items back of a job that ended before it had processed them all."""
        self.restarts += 1
        tickets, job.tickets = job.tickets, []
        if not self._file("start", tickets[0]).exists():
            self._start_failures += 1
            if self._start_failures >= MAX_START_FAILURES:
                raise ClusterError(
                    f"jobs end before their first item (state: {job.job.state})",
                    hint=f"see the logs in {self.folder / 'jobs'}",
                )
            self._waiting = tickets + self._waiting
            return []
        # Items are processed in order: the first without a result is the one it died with.
        self._waiting = tickets[1:] + self._waiting
        return [Report(tickets[0], error=died(f"job state {job.job.state}"))]

    def _file(self, kind: str, ticket: int) -> Path:
        return self.folder / f"{kind}-{ticket}.pickle"

    def _result(self, ticket: int) -> tuple[str, Any] | None:
        path = self._file("result", ticket)
        try:
            answer = pickle.loads(path.read_bytes())  # noqa: S301  (from a job of this run)
        except FileNotFoundError:
            return None
        for kind in ("item", "start", "result"):
            self._file(kind, ticket).unlink(missing_ok=True)
        return answer if isinstance(answer, tuple) else None

    def close(self) -> None:
        """Cancel the jobs that run or wait."""
        for job in self._jobs:
            job.job.cancel(check=False)
        if str(self._settings.get("cluster")) == "local":
            _wait([*self._ending, *(job.job for job in self._jobs)])
        self._jobs, self._ending, self._waiting = [], [], []
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)


def _wait(jobs: list[Any]) -> None:
    """Wait some seconds for the processes of jobs to end."""
    end = time.monotonic() + STOP_S
    while any(not job.done() for job in jobs) and time.monotonic() < end:
        time.sleep(LOOK_S)


def run_items(folder: Path, tickets: list[int], driver: Fingerprint) -> None:
    """Process items in a job; write the result of each as soon as it is there.

    Args:
        folder: of the items.
        tickets: their numbers.
        driver: what the driver runs.
    """

    def answer(ticket: int, kind: str, value: Any) -> None:
        write_bytes(folder / f"result-{ticket}.pickle", pickle.dumps((kind, value)))

    own = fingerprint()
    if own != driver:
        answer(tickets[0], "other", own)
        return
    try:
        worker = pickle.loads((folder / WORKER_FILE).read_bytes())()  # noqa: S301  (the driver's)
    except Exception as error:  # noqa: BLE001 - the driver reports it
        answer(tickets[0], "unusable", in_words(error))
        return
    for ticket in tickets:
        (folder / f"start-{ticket}.pickle").touch()
        item = pickle.loads((folder / f"item-{ticket}.pickle").read_bytes())  # noqa: S301
        try:
            result = "done", worker(item)
        except Exception as error:  # noqa: BLE001 - one item must not end the job
            result = "failed", in_words(error)
        answer(ticket, *result)
