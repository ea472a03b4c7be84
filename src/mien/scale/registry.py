"""The engines by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, did_you_mean
from mien.model.runtime import cores
from mien.scale.engines.local import LocalEngine
from mien.scale.engines.ray import RayEngine
from mien.scale.engines.slurm import SlurmEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.scale.engine import Engine

MAX_WORKERS = 100_000
SLURM_JOBS = 8
"""Jobs at the same time where no number is given."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is made.

    Attributes:
        name: one of ENGINES.
        workers: that work at the same time; 0 takes what is there: 'local' all cores, 'ray' all
            CPUs of the cluster but one, 'slurm' 8 jobs.
        threads: CPU threads of each worker, 1 or more.
        address: of a Ray cluster, 'auto' or HOST:PORT; '' starts one for the run.
        settings: of submitit's executor.
        folder: for the jobs' files, where the engine needs one.
        items_per_job: items that a Slurm job gets, at most.
    """

    name: str = "local"
    workers: int = 0
    threads: int = 1
    address: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path(".mien-jobs")
    items_per_job: int = 8

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ConfigError(
                f"engine: unknown value {self.name!r}",
                hint=did_you_mean(self.name, ENGINES) + f"allowed: {', '.join(ENGINES)}",
            )
        if not 0 <= self.workers <= MAX_WORKERS:
            raise ConfigError(
                f"workers: {self.workers} is out of range, 0 to {MAX_WORKERS:,}",
                hint="0 takes what is there",
            )
        if self.threads < 1:
            raise ConfigError(
                f"threads: {self.threads} is out of range, 1 or more",
                hint="the CPU threads of each worker",
            )
        if self.address and self.name != "ray":
            raise ConfigError(
                f"address: only the engine ray has one, not {self.name}", hint="leave it out"
            )
        if self.settings and self.name != "slurm":
            raise ConfigError(
                f"settings: only the engine slurm has them, not {self.name}", hint="leave them out"
            )


def _make_local(options: EngineOptions) -> Engine:
    return LocalEngine(options.workers or max(1, cores() // options.threads))


def _make_ray(options: EngineOptions) -> Engine:
    return RayEngine(options.workers, options.threads, options.address)


def _make_slurm(options: EngineOptions) -> Engine:
    return SlurmEngine(
        options.workers or SLURM_JOBS, options.threads, options.folder, options.items_per_job,
        options.settings,
    )  # fmt: skip


ENGINES: Mapping[str, Callable[[EngineOptions], Engine]] = MappingProxyType(
    {"local": _make_local, "ray": _make_ray, "slurm": _make_slurm}
)
"""Every engine, by its name; tests/scale/test_engine_contract.py checks each."""


def make_engine(options: EngineOptions) -> Engine:
    """Return an engine, not opened yet.

    Raises:
        ConfigError: see `EngineOptions`; it is raised when those are made.
    """
    return ENGINES[options.name](options)
