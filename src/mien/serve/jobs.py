"""Videos that wait, run or ended: a table in SQLite, shared by all workers, that outlives them.

A worker that takes a job holds it by a lease, which it renews while it reads. A job whose lease ran
out (its worker died) is anybody's again, so that none is lost; one that ended its worker
MAX_TRIES times is given up.
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
MAX_TRIES = 3

TABLE = """
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
    """A video and what is wanted of it.

    Attributes:
        id: cannot be guessed; whoever has it may see and delete the job.
        status: 'queued', 'running', 'done', 'failed' or 'cancelled'.
        progress: 0 to 1.
        message: why it failed, or broke off.
        hint: what to do then.
        created: seconds since 1970.
        kind: FFmpeg's name of the container.
        model: a name in the catalogue.
        labels: of the model.
        min_confidence: below it a face is 'unsure'; None takes the model's own.
        every: each n-th frame is read.
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
        """Return what clients are told."""
        error = None if self.message is None else {"message": self.message, "hint": self.hint}
        return {
            "id": self.id,
            "status": self.status,
            "progress": round(self.progress, 3),
            "error": error,
            "created": datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds"),
        }


class Jobs:
    """The table. Its methods may be called from any thread; each is one transaction.

    Args:
        path: of the database; made where it is missing.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._base = sqlite3.connect(
            path, timeout=30, check_same_thread=False, isolation_level=None
        )
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")  # accepted is accepted, power cuts included
        self._base.execute(TABLE)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def waiting(self) -> int:
        """Return how many wait or run."""
        with self._lock:
            query = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
            return int(self._base.execute(query).fetchone()[0])

    def add(
        self, id_: str, kind: str, model: tuple[str, tuple[str, ...]],
        min_confidence: float | None, every: int,
    ) -> Job:  # fmt: skip
        """Put a job in the queue; return it."""
        name, labels = model
        with self._transaction() as base:
            base.execute(
                "INSERT INTO jobs (id, created, kind, model, labels, min_confidence, every) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (id_, self._clock(), kind, name, "\n".join(labels), min_confidence, every),
            )
        job = self.get(id_)
        assert job is not None  # noqa: S101  (it was put there just now)
        return job

    def get(self, id_: str) -> Job | None:
        """Return a job, or None where there is none of that id."""
        with self._lock:
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

    def claim(self, at_once: int) -> Job | None:
        """Take the oldest job that waits, or whose worker died, where fewer than that run."""
        now = self._clock()
        words = f"the server ended {MAX_TRIES} times while it read this video"
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = 'failed', ended = ?1, message = ?2, hint = ?3 "
                "WHERE (status = 'queued' OR (status = 'running' AND lease <= ?1)) AND tries >= ?4",
                (now, words, "it may be damaged: try it converted to MP4", MAX_TRIES),
            )
            running = "SELECT count(*) FROM jobs WHERE status = 'running' AND lease > ?"
            if base.execute(running, (now,)).fetchone()[0] >= at_once:
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

    def beat(self, id_: str, progress: float) -> bool:
        """Renew the lease and tell how far it is; return whether the job is still wanted."""
        with self._transaction() as base:
            done = base.execute(
                "UPDATE jobs SET lease = ?, progress = ? WHERE id = ? AND status = 'running'",
                (self._clock() + LEASE_S, progress, id_),
            )
            return done.rowcount == 1

    def end(
        self, id_: str, status: str, message: str | None = None, hint: str | None = None
    ) -> None:
        """Say how a running job ended; one that was cancelled meanwhile stays so."""
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = ?, ended = ?, message = ?, hint = ?, "
                "progress = CASE WHEN ? = 'done' THEN 1 ELSE progress END "
                "WHERE id = ? AND status = 'running'",
                (status, self._clock(), message, hint, status, id_),
            )

    def give_back(self, id_: str | None = None) -> None:
        """Put a running job, or all of them, back into the queue.

        For a server that stops: the try does not count. For one that starts (all): it does, for
        the last server may have ended because of them.
        """
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = 'queued', lease = 0, progress = 0, "
                "tries = tries - (CASE WHEN ?1 IS NULL THEN 0 ELSE 1 END) "
                "WHERE status = 'running' AND (?1 IS NULL OR id = ?1)",
                (id_,),
            )

    def cancel(self, id_: str) -> bool:
        """Cancel a job that waits or runs; return whether there was one."""
        with self._transaction() as base:
            done = base.execute(
                "UPDATE jobs SET status = 'cancelled', ended = ? "
                "WHERE id = ? AND status IN ('queued', 'running')",
                (self._clock(), id_),
            )
            return done.rowcount == 1

    def delete(self, id_: str) -> None:
        """Forget a job."""
        with self._transaction() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (id_,))

    def expired(self, keep_s: float) -> list[str]:
        """Return the jobs that ended longer ago than that."""
        with self._lock:
            query = "SELECT id FROM jobs WHERE ended <= ?"
            return [r[0] for r in self._base.execute(query, (self._clock() - keep_s,))]


def new_id() -> str:
    """Return an id that nobody can guess, 22 characters."""
    return secrets.token_urlsafe(16)
