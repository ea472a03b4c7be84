"""The options of commands that can work on an engine, and their progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mien.cli.declare import option
from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from mien.scale.mapping import Progress
    from mien.scale.registry import EngineOptions

EngineName = Annotated[
    str,
    option(
        "--engine",
        help="Work in processes (local), on a Ray cluster (ray) or on a Slurm cluster (slurm); see "
        "docs/scale.md (default: in this process).",
    ),
]
Workers = Annotated[
    int,
    option(
        "--workers",
        min=0,
        help="Workers of the engine, 0 or more (0 = all cores; all CPUs of the cluster but one; 8 "
        "jobs).",
    ),
]
Address = Annotated[
    str,
    option(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster, or auto for the one that this machine belongs to (default: one is "
        "started for the run).",
    ),
]
EngineSet = Annotated[
    list[str],
    option(
        "--engine-set",
        metavar="KEY=VALUE",
        help="Setting of Slurm's jobs, as submitit names it, such as slurm_partition=cpu or "
        "timeout_min=60; repeatable.",
    ),
]
Resume = Annotated[
    bool,
    option("--resume", help="Continue an interrupted run; with an engine and --out."),
]
Dataset = Annotated[
    Path | None,
    option(
        "--out",
        metavar="DIR",
        help="With --engine: folder to write, a Parquet dataset with a manifest.",
    ),
]
REPORT_EVERY = 20
"""Lines of progress where stderr is no terminal: one for each so many parts of the work."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What the options ask for.

    Attributes:
        name: of the engine; '' for none.
        workers: see `EngineOptions`.
        address: likewise.
        settings: 'KEY=VALUE'.
        out: folder of the dataset.
        resume: whether to continue it.
        threads: CPU threads of each worker, or of this process without an engine.
    """

    name: str = ""
    workers: int = 0
    address: str = ""
    settings: list[str] = field(default_factory=list)
    out: Path | None = None
    resume: bool = False
    threads: int = 0

    @property
    def reader_threads(self) -> int:
        """CPU threads of a reader, 0 for all cores: a worker has one unless more are asked for."""
        return max(self.threads, 1) if self.name else self.threads

    def check(self, only_with_engine: bool = True, **others: object) -> bool:
        """Return whether an engine is asked for; refuse options that contradict each other.

        Args:
            only_with_engine: whether the command has --out and --resume for its engine only.
            others: by its flag's name, options of the command that an engine does not have.

        Raises:
            ConfigError: as said.
        """
        own = {
            "--workers": self.workers, "--address": self.address, "--engine-set": self.settings,
        }  # fmt: skip
        if only_with_engine:
            own |= {"--out": self.out, "--resume": self.resume}
        if not self.name:
            for flag, value in own.items():
                if value:
                    raise ConfigError(f"{flag} is an option of an engine", hint="add --engine ray")
            return False
        for flag, value in others.items():
            if value:
                name = flag.replace("_", "-")
                raise ConfigError(
                    f"--{name} and --engine exclude each other",
                    hint="an engine writes rows only, into --out DIR",
                )
        return True

    def folder(self) -> Path:
        """Return the folder of the dataset.

        Raises:
            ConfigError: none is given.
        """
        if self.out is None:
            raise ConfigError(
                "--engine writes a dataset and needs its folder", hint="give --out DIR"
            )
        return self.out

    def options(self, folder: Path, items_per_job: int = 8) -> EngineOptions:
        """Return how the engine is made.

        Args:
            folder: to make the jobs' folder in.
            items_per_job: see `EngineOptions`.

        Raises:
            ConfigError: an unknown engine, or a setting that is not KEY=VALUE.
        """
        from mien.scale.registry import EngineOptions

        return EngineOptions(
            self.name, self.workers, max(self.threads, 1), self.address,
            dict(_setting(text) for text in self.settings),
            # Beside the folder, which is for the results alone.
            folder.with_name(f".{folder.name}.jobs"), items_per_job,
        )  # fmt: skip


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise ConfigError(
            f"--engine-set: {text!r} is not KEY=VALUE", hint="for example timeout_min=60"
        )
    return key, int(value) if value.isdecimal() else value


@contextmanager
def engine_progress(what: str) -> Iterator[Callable[[Progress], None]]:
    """Yield a progress callback: a bar in a terminal, else a line now and then, on stderr.

    Args:
        what: the units that are counted, such as 'batches'.
    """
    from rich import progress as bars
    from rich.console import Console

    columns = ("{task.description}", bars.BarColumn(), bars.MofNCompleteColumn(),
               bars.TimeRemainingColumn())  # fmt: skip
    terminal = sys.stderr.isatty()
    shown = -1
    with bars.Progress(*columns, console=Console(stderr=True), disable=not terminal) as bar:
        task = bar.add_task(what, total=None)

        def update(progress: Progress) -> None:
            nonlocal shown
            words = _in_words(what, progress)
            bar.update(task, completed=progress.done, total=progress.total, description=words)
            step = progress.done * REPORT_EVERY // max(progress.total, 1)
            if not terminal and step != shown:
                shown = step
                sys.stderr.write(f"{progress.done:,} of {progress.total:,} {words}\n")
                sys.stderr.flush()

        yield update


def _in_words(what: str, progress: Progress) -> str:
    words = [what]
    if progress.restarts:
        words.append(f"{counted(progress.restarts, 'worker')} replaced")
    if progress.failed:
        words.append(f"{progress.failed:,} given up")
    return ", ".join(words)
