"""The server's data folder: job table, queued videos and results; readable by its user only."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError
from mien.files import read_json, write_error
from mien.serve.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESULT_SUFFIXES = (".jsonl", ".jsonl.part", ".summary.json")


class Store:
    """Stores uploaded videos until they are processed, and results until they expire.

    Args:
        folder: data folder; created with mode 0700 if missing.

    Raises:
        WriteError: the folder cannot be created.
        ConfigError: the job table is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for path in (folder, folder / "uploads", folder / "results"):
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o700)  # mkdir's mode is masked by umask, and the folder may exist
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            self.jobs = Jobs(folder / "jobs.sqlite")
        except sqlite3.Error as error:
            raise ConfigError(
                f"data: cannot open the job table in {folder}: {error}",
                hint="choose another data folder, or delete this one",
            ) from error

    def upload_path(self, id_: str) -> Path:
        """Return the path of a job's video."""
        return self.folder / "uploads" / id_

    def result_path(self, id_: str) -> Path:
        """Return the path of a job's results, without suffix."""
        return self.folder / "results" / id_

    def finished_summary(self, id_: str) -> dict[str, Any] | None:
        """Return the summary of a video that was already processed to its end, or None.

        The video is deleted once its summary is written; a server that died right after has not
        marked the job as done.
        """
        result = self.result_path(id_)
        summary = result.with_name(result.name + ".summary.json")
        if self.upload_path(id_).exists() or not summary.exists():
            return None
        content: dict[str, Any] = read_json(summary)
        return content

    def delete_files(self, id_: str, *, result: bool = True) -> None:
        """Delete a job's video and, if `result`, its results."""
        self.upload_path(id_).unlink(missing_ok=True)
        for suffix in RESULT_SUFFIXES if result else ():
            path = self.result_path(id_)
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def delete_expired(self, keep_s: float) -> None:
        """Delete jobs that ended more than `keep_s` seconds ago, and their files."""
        for id_ in self.jobs.expired(keep_s):
            self.delete_files(id_)
            self.jobs.delete(id_)

    def recover(self) -> None:
        """Requeue jobs that an earlier server left running; delete files without a job."""
        self.jobs.requeue()
        known = self.jobs.ids()
        for folder in ("uploads", "results"):
            for path in (self.folder / folder).iterdir():
                # Ids contain no dot, and every file's name starts with its job's id.
                if path.name.split(".")[0] not in known:
                    path.unlink()

    def close(self) -> None:
        """Close the job table."""
        self.jobs.close()


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a data folder for one server; its worker processes share it.

    Raises:
        ConfigError: another server has locked it.
    """
    with (folder / "lock").open("ab") as stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            pass  # Windows has no flock; two servers on one folder are not detected there
        except OSError:
            raise ConfigError(
                f"data: another server uses the folder {folder}",
                hint="choose another data folder for this server",
            ) from None
        yield
