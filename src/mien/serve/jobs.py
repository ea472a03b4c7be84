"""Video jobs: a persistent queue in SQLite, shared by all worker processes.

A worker that claims a job holds a lease on it and renews it while it works. A job whose lease has
expired (its worker died) can be claimed again, so that no job is lost; a job whose worker died
MAX_ATTEMPTS times fails.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
LEASE_S = 20.0
"""Seconds until a lease expires that was not renewed."""
MAX_ATTEMPTS = 3

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT 'queued',
    progress REAL NOT NULL DEFAULT 0,
    message TEXT,
    hint TEXT,
    created REAL NOT NULL,
    ended REAL,
    lease REAL NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    labels TEXT NOT NULL,
    min_confidence REAL,
    every INTEGER NOT NULL
)
"""
COLUMNS = "id, status, progress, message, hint, created, kind, model, labels, min_confidence, every"


@dataclass(frozen=True, slots=True)
class Job:
    """A video and the options of its prediction.

    Attributes:
        id: random and unguessable; whoever knows it may read and delete the job.
        status: 'queued', 'running', 'done', 'failed' or 'cancelled'.
        progress: fraction of the video that is processed, 0 to 1.
        message: why it failed, or why it ends early; None without an error.
        hint: what to do about the error.
        created: Unix time in seconds.
        kind: FFmpeg's name of the container format.
        model: name in the catalog.
        labels: labels of the model.
        min_confidence: decision threshold, 0 to 1; None uses the model's calibrated one.
        every: every n-th frame is processed.
    """

    id: str
    status: str
    progress: float
    message: str | None
    hint: str | None
    created: float
    kind: str
    model: str
    labels: tuple[str, ...]
    min_confidence: float | None
    every: int

    def to_dict(self) -> dict[str, Any]:
        """Return the job as clients see it."""
        error = None if self.message is None else {"message": self.message, "hint": self.hint}
        return {
            "id": self.id,
            "status": self.status,
            "progress": round(self.progress, 3),
            "error": error,
            "created": datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds"),
        }


class Jobs:
    """The queue. Methods may be called from any thread; each is one transaction.

    Args:
        path: path of the database; created if missing.
        clock: returns Unix time in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._base = sqlite3.connect(
            # isolation_level=None: `_transaction` begins and ends transactions itself. The lock
            # makes one connection safe in several threads.
            path,
            timeout=30,
            check_same_thread=False,
            isolation_level=None,
        )
        # Write-ahead log: readers of other workers do not block the writer.
        self._base.execute("PRAGMA journal_mode = WAL")
        # A job that was accepted (202) must survive a power cut.
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute(SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            # Takes the write lock at once: two workers must not both read, then claim one job.
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def count_active(self) -> int:
        """Return the number of queued and running jobs."""
        with self._lock:
            query = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
            return int(self._base.execute(query).fetchone()[0])

    def add(
        self, id_: str, kind: str, model: tuple[str, tuple[str, ...]],
        min_confidence: float | None, every: int,
    ) -> Job:  # fmt: skip
        """Add a job to the queue and return it.

        Args:
            id_: from `new_id`.
            kind: FFmpeg's name of the container format.
            model: name and labels of the model.
            min_confidence: decision threshold, or None.
            every: every n-th frame is processed.
        """
        name, labels = model
        with self._transaction() as base:
            base.execute(
                "INSERT INTO jobs (id, created, kind, model, labels, min_confidence, every) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (id_, self._clock(), kind, name, "\n".join(labels), min_confidence, every),
            )
        job = self.get(id_)
        assert job is not None  # noqa: S101  (inserted above)
        return job

    def get(self, id_: str) -> Job | None:
        """Return a job by id, or None if it does not exist."""
        with self._lock:
            # Named columns: a database of a later version may have more.
            query = f"SELECT {COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608  (a constant)
            row = self._base.execute(query, (id_,)).fetchone()
        if row is None:
            return None
        values: dict[str, Any] = dict(zip(COLUMNS.split(", "), row, strict=True))
        return Job(**{**values, "labels": tuple(values["labels"].split("\n"))})

    def ids(self) -> set[str]:
        """Return all ids."""
        with self._lock:
            return {row[0] for row in self._base.execute("SELECT id FROM jobs")}

    def claim(self, max_running: int) -> Job | None:
        """Claim the oldest job that is queued or whose lease has expired.

        Args:
            max_running: no job is claimed while so many are running.

        Returns:
            The job, now running, or None.
        """
        now = self._clock()
        # A file that crashes its worker each time would otherwise stop the queue for ever.
        message = f"the server crashed {MAX_ATTEMPTS} times while processing this video"
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = 'failed', ended = ?1, message = ?2, hint = ?3 "
                "WHERE (status = 'queued' OR (status = 'running' AND lease <= ?1)) AND tries >= ?4",
                (now, message, "the file may be damaged: convert it to MP4 first", MAX_ATTEMPTS),
            )
            # Jobs with an expired lease do not count as running: their worker is dead.
            running = "SELECT count(*) FROM jobs WHERE status = 'running' AND lease > ?"
            if base.execute(running, (now,)).fetchone()[0] >= max_running:
                return None
            row = base.execute(
                "SELECT id FROM jobs WHERE status = 'queued' OR "
                "(status = 'running' AND lease <= ?) ORDER BY created, rowid LIMIT 1",
                (now,),
            ).fetchone()
            if row is None:
                return None
            base.execute(
                "UPDATE jobs SET status = 'running', lease = ?, tries = tries + 1 WHERE id = ?",
                (now + LEASE_S, row[0]),
            )
        return self.get(row[0])

    def renew_lease(self, id_: str, progress: float) -> bool:
        """Renew a job's lease and store its progress; return False if it was cancelled."""
        with self._transaction() as base:
            done = base.execute(
                "UPDATE jobs SET lease = ?, progress = ? WHERE id = ? AND status = 'running'",
                (self._clock() + LEASE_S, progress, id_),
            )
            return done.rowcount == 1

    def finish(
        self, id_: str, status: str, message: str | None = None, hint: str | None = None
    ) -> None:
        """Store how a running job ended; a job that was cancelled meanwhile stays cancelled."""
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = ?, ended = ?, message = ?, hint = ?, "
                "progress = CASE WHEN ? = 'done' THEN 1 ELSE progress END "
                "WHERE id = ? AND status = 'running'",
                (status, self._clock(), message, hint, status, id_),
            )

    def requeue(self, id_: str | None = None) -> None:
        """Put a running job, or all of them, back into the queue.

        Args:
            id_: job that a stopping server gives up; the attempt does not count. None requeues all
                running jobs when a server starts; the attempt counts, because one of them may have
                crashed the last server.
        """
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = 'queued', lease = 0, progress = 0, "
                "tries = tries - (CASE WHEN ?1 IS NULL THEN 0 ELSE 1 END) "
                "WHERE status = 'running' AND (?1 IS NULL OR id = ?1)",
                (id_,),
            )

    def cancel(self, id_: str) -> bool:
        """Cancel a queued or running job; return whether there was one."""
        with self._transaction() as base:
            done = base.execute(
                "UPDATE jobs SET status = 'cancelled', ended = ? "
                "WHERE id = ? AND status IN ('queued', 'running')",
                (self._clock(), id_),
            )
            return done.rowcount == 1

    def delete(self, id_: str) -> None:
        """Delete a job."""
        with self._transaction() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (id_,))

    def expired(self, keep_s: float) -> list[str]:
        """Return the ids of jobs that ended more than `keep_s` seconds ago."""
        with self._lock:
            query = "SELECT id FROM jobs WHERE ended <= ?"
            return [r[0] for r in self._base.execute(query, (self._clock() - keep_s,))]


def new_id() -> str:
    """Return a random id of 22 characters (128 bits): knowing it is the permission to read."""
    return secrets.token_urlsafe(16)
