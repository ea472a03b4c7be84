"""The folder of a server: the table of jobs, videos that wait, results; private, and kept clean."""

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

RESULTS = (".jsonl", ".jsonl.part", ".summary.json")


class Store:
    """Where one server keeps what clients sent, for as long as they need it.

    Args:
        folder: made where it is missing, for this user only.

    Raises:
        WriteError: it cannot be made.
        ConfigError: its table is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for path in (folder, folder / "uploads", folder / "results"):
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o700)
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            self.jobs = Jobs(folder / "jobs.sqlite")
        except sqlite3.Error as error:
            raise ConfigError(
                f"the table of jobs in {folder} cannot be used: {error}",
                hint="give another --data folder, or delete that one",
            ) from error

    def upload(self, id_: str) -> Path:
        """Return the path of a job's video."""
        return self.folder / "uploads" / id_

    def result(self, id_: str) -> Path:
        """Return the path of a job's results, without suffix."""
        return self.folder / "results" / id_

    def read_earlier(self, id_: str) -> dict[str, Any] | None:
        """Return the summary of a video that is gone because it was read to its end, or None."""
        result = self.result(id_)
        summary = result.with_name(result.name + ".summary.json")
        if self.upload(id_).exists() or not summary.exists():
            return None
        content: dict[str, Any] = read_json(summary)
        return content

    def clear(self, id_: str, *, result: bool = True) -> None:
        """Delete a job's video, and its results too."""
        self.upload(id_).unlink(missing_ok=True)
        for suffix in RESULTS if result else ():
            path = self.result(id_)
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def sweep(self, keep_s: float) -> None:
        """Delete what ended longer ago than that."""
        for id_ in self.jobs.expired(keep_s):
            self.clear(id_)
            self.jobs.delete(id_)

    def recover(self) -> None:
        """Queue what an earlier server left running; delete files that belong to no job."""
        self.jobs.give_back()
        known = self.jobs.ids()
        for folder in ("uploads", "results"):
            for path in (self.folder / folder).iterdir():
                if path.name.split(".")[0] not in known:
                    path.unlink()

    def close(self) -> None:
        """Close the table."""
        self.jobs.close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one server; its workers share it.

    Raises:
        ConfigError: another server has it.
    """
    with (folder / "lock").open("ab") as stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            pass  # no such locks on Windows
        except OSError:
            raise ConfigError(
                f"another mien serve uses the folder {folder}",
                hint="give this one its own: --data FOLDER",
            ) from None
        yield
