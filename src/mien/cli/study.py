"""`mien study`: a grid of trainings, and a verdict on each claim."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.data.dataset import Dataset
    from mien.study.plan import Plan, Training
    from mien.study.study import Outcome


def study(
    path: Path = typer.Argument(metavar="STUDY", help="A TOML file, or a shipped one: poster."),
    data: Path | None = typer.Option(None, "--data", help="A dataset folder."),
    out: Path | None = typer.Option(None, "--out", help="Folder; runs/STUDY where not given."),
    jobs: int = typer.Option(1, "--jobs", help="Trainings at the same time, a thread each."),
    seeds: int = typer.Option(0, "--seeds", help="Trainings of each cell; 0 as the study says."),
    only: list[str] = typer.Option([], "--only", help="Of the factors, this one; again for more."),
    set_: list[str] = typer.Option([], "--set", help="Change a setting everywhere: a.b=c."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Tell trainings and cost, and stop."),
    yes: bool = typer.Option(False, "--yes", help="Start even what takes very long."),
) -> None:
    """Train a grid of cells over seeds and say which claims are supported.

    Trainings that are done are not done again: the same command goes on after Ctrl-C, a crash or
    kill -9, and tries failed ones again. Exit code 1 where a training failed.
    """
    with needs("train", "mien study"):
        from mien.data.dataset import load_dataset
        from mien.study.report import write_report
        from mien.study.study import run_study
    plan = _plan(path, seeds, only, set_)
    if data is None:
        raise ConfigError(
            "mien study needs --data DIR", hint="for example: --data datasets/fer2013"
        )
    if jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {jobs}", hint="one for each core")
    dataset = load_dataset(data)
    folder = out or Path("runs") / path.stem
    total = _announce(plan, dataset, folder, jobs, yes=yes or dry_run)
    if dry_run:
        return
    with _progress(total) as report:
        outcome = run_study(plan, dataset, data, folder, jobs, report)
    write_report(outcome, folder, shlex.join(["mien", *sys.argv[1:]]))
    _print(outcome, folder)
    if outcome.failed:
        raise typer.Exit(1)


def _plan(path: Path, seeds: int, only: list[str], set_: list[str]) -> Plan:
    from dataclasses import replace

    from mien.study.plan import load_plan
    from mien.study.plan import only as chosen

    plan = load_plan(path, set_)
    if seeds:
        if seeds < 2:
            raise ConfigError(
                f"--seeds must be at least 2, got {seeds}", hint="tests across seeds need them"
            )
        plan = replace(plan, seeds=seeds)
    return chosen(plan, only) if only else plan


def _announce(plan: Plan, dataset: Dataset, folder: Path, jobs: int, *, yes: bool) -> int:
    """Tell what is to be done and what it costs; return the number of trainings."""
    from mien.errors import counted
    from mien.study.study import duration, estimate_seconds, pending, refuse_costly, unique

    missing = pending(plan, dataset, folder)
    minutes = estimate_seconds(list(missing.values()), dataset) / 60 / jobs
    cells = sum(len(factor.cells) for factor in plan.factors)
    done = len(unique(plan)) - len(missing)
    typer.echo(
        f"{plan.title}: {counted(len(plan.factors), 'factor')}, {counted(cells, 'cell')}, "
        f"{counted(plan.seeds, 'seed')}; {counted(len(missing), 'training')} to do, {done} done; "
        f"about {duration(minutes)} "
        f"with --jobs {jobs}",
        err=True,
    )
    refuse_costly(
        len(missing), minutes, yes=yes,
        hint="start them with --yes; fewer --seeds, --only FACTOR or more --jobs take less time",
    )  # fmt: skip
    return len(missing)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Training, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress("trainings", *columns, console=console) as bar:
        task = bar.add_task("trainings", total=total)

        def ended(training: Training, error: str) -> None:
            bar.advance(task)
            if error:
                bar.console.print(f"training {training.key} failed: {error}", highlight=False)

        yield ended


def _print(outcome: Outcome, folder: Path) -> None:
    from mien.errors import counted

    for factor in outcome.factors:
        for claim in factor.claims:
            typer.echo(f"{claim.verdict}: {claim.claim.words}")
    if outcome.failed:
        typer.echo(
            f"{counted(len(outcome.failed), 'training')} failed, without a result; the same "
            "command tries again",
            err=True,
        )
    typer.echo(f"report: {folder / 'report.html'}", err=True)
