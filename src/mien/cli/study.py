"""`mien study`: a grid of trainings, and a verdict on each claim."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mien.cli import engine_options as engines
from mien.cli import exit_codes
from mien.cli.extras import needs
from mien.cli.options import DatasetFolder, Override
from mien.cli.render import Column, counting_bar, make_table, print_table
from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.data.dataset import Dataset
    from mien.scale.registry import EngineOptions
    from mien.study.plan import Plan, Training
    from mien.study.results_file import ResultsFile
    from mien.study.study import Outcome

REPORT_EVERY_S = 600.0
"""Seconds from one report to the next while a study runs until its claims are decided."""

StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        help="TOML file, or name of a shipped study: poster, finetune, ablation, balance or hint.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder to write (default: runs/STUDY)."),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=1,
        help="Trainings that run in parallel, 1 or more, one thread each; with --engine its "
        "workers.",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds", help="Trainings per cell, 2 or more, each with its own seed (0 = as the study "
        "states).",
    ),
]  # fmt: skip
Only = Annotated[
    list[str],
    typer.Option("--only", metavar="FACTOR", help="Run only this factor of the study; repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the number of trainings and their cost, and exit.")
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Start even if it is more than 1,000 trainings or takes more than 2 hours."
    ),
]

Until = Annotated[
    str,
    typer.Option(
        "--until",
        metavar="decided",
        help="Add seeds to undecided claims until they are decided, up to the study's max_seeds; "
        "the only value is decided, and it needs --budget (default: a fixed number of seeds).",
    ),
]
Budget = Annotated[
    str,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="CPU time of all trainings of the study for --until decided, finished ones included, "
        "such as 90m or 3h.",
    ),
]
ResultsPath = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="FILE",
        help="JSON-lines file of finished trainings, to continue a study on another machine: its "
        "trainings are not repeated, and new ones are added to it.",
    ),
]
ReportOnly = Annotated[
    bool, typer.Option("--report", help="Write the report of the finished trainings, and exit.")
]


def study(
    path: StudyFile,
    data: DatasetFolder,
    out: Out = None,
    jobs: Jobs = 1,
    seeds: Seeds = 0,
    only: Only = [],
    set_: Override = [],
    until: Until = "",
    budget: Budget = "",
    results: ResultsPath = None,
    report: ReportOnly = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    engine: engines.EngineName = "",
    address: engines.Address = "",
    engine_set: engines.EngineSet = [],
) -> None:
    """Train a grid of cells over several seeds and report which claims are supported.

    Finished trainings are kept: the same command resumes after Ctrl-C, a crash or kill -9, and
    repeats failed trainings. Exit code 1 if a training failed.
    """
    with needs("train", "mien study"):
        from mien.data.dataset import load_dataset
        from mien.study.report import write_report
        from mien.study.study import collect
    budget_s = _check_until(until, budget, dry_run=dry_run, report=report)
    plan = _load_plan(path, seeds, only, set_)
    dataset = load_dataset(data)
    folder = out or Path("runs") / path.stem
    # For the report, which says how it was made.
    command = shlex.join(["mien", *sys.argv[1:]])
    workers = _workers(engines.EngineRequest(engine, jobs, address, engine_set), folder)
    trial = Trial(plan, dataset, data, folder, workers, _stored(results, plan, dataset))
    outcome: Outcome | None
    with _resumable(command):
        if until:
            start = not (dry_run or report)
            outcome = _until_decided(trial, budget_s, command, yes=yes, start=start)
        elif report:
            outcome = collect(plan, dataset, folder, stored=trial.stored)
        else:
            outcome = _run_all(trial, yes=yes, dry_run=dry_run)
    if dry_run or outcome is None:
        return
    write_report(outcome, folder, command)
    _print(outcome, folder)
    if outcome.failed:
        raise typer.Exit(exit_codes.FAILURE)


@contextmanager
def _resumable(command: str) -> Iterator[None]:
    """Say after Ctrl-C that the study can be resumed, and how."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("study interrupted: finished trainings are kept", err=True)
        typer.echo(f"resume: {command}", err=True)
        raise


def _stored(path: Path | None, plan: Plan, dataset: Dataset) -> ResultsFile | None:
    """Open the file of results, and say how many of its trainings count; None without one."""
    if path is None:
        return None
    from mien.study.results_file import open_results

    stored = open_results(path, plan, dataset.fingerprint)
    typer.echo(stored.summary(), err=True)
    return stored


def _run_all(trial: Trial, *, yes: bool, dry_run: bool) -> Outcome | None:
    """Run a study with a fixed number of seeds; None for a dry run, which starts nothing."""
    from mien.study.study import run_study

    plan, dataset, data, folder, workers, stored = trial
    # A dry run costs nothing, so that it needs no confirmation.
    total = _announce(trial, yes=yes or dry_run)
    if dry_run:
        return None
    with _progress_bar(total) as ended:
        return run_study(plan, dataset, data, folder, workers, ended, stored)


class Trial(NamedTuple):
    """What a study runs on."""

    plan: Plan
    dataset: Dataset
    data: Path
    folder: Path
    workers: EngineOptions
    stored: ResultsFile | None


def _workers(request: engines.EngineRequest, folder: Path) -> EngineOptions:
    """Return what the trainings run on: processes of this machine, unless an engine is given."""
    jobs = request.workers
    replace(request, workers=0).check(only_with_engine=False)
    return replace(request, name=request.name or "local", workers=jobs).options(folder, 1)


def _check_until(until: str, budget: str, *, dry_run: bool, report: bool) -> float:
    """Return the budget in CPU seconds; 0 without one.

    Raises:
        ConfigError: the options contradict each other.
    """
    from mien.study.costs import parse_duration

    if until not in {"", "decided"}:
        raise ConfigError(f"--until: {until!r} is not one of: decided", hint="use --until decided")
    if budget and not until:
        raise ConfigError(
            "--budget limits --until decided, which is missing", hint="add --until decided"
        )
    # Without a limit, a claim close to its threshold could take seeds for days.
    if until and not budget and not report and not dry_run:
        raise ConfigError(
            "--until decided needs --budget, the CPU time that it may spend",
            hint="for example --budget 3h; --dry-run prints the cost of the first round",
        )
    return parse_duration(budget) if budget else 0.0


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[Training, str], None]]:
    """Yield a progress callback that moves a bar and prints each failure above it."""
    with counting_bar("trainings", total) as advance:

        def ended(training: Training, error: str) -> None:
            advance(f"training {training.key} failed: {error}" if error else "")

        yield ended


def _until_decided(
    trial: Trial, budget_s: float, command: str, *, yes: bool, start: bool
) -> Outcome:
    """Run a study until its claims are decided; with `start` false only announce it."""
    from mien.study.costs import duration, estimate_seconds, refuse_costly
    from mien.study.progress import Progress
    from mien.study.report import write_report
    from mien.study.until import check_sequential, run_until_decided

    check_sequential(trial.plan)
    progress = Progress.of_folder(trial.plan, trial.dataset, trial.folder, trial.stored)
    todo = progress.first_round()
    minutes = estimate_seconds(todo, trial.dataset) / 60
    typer.echo(
        f"{trial.plan.title}: {counted(len(todo), 'training')} to do before the first look at "
        f"every claim, about {duration(minutes)} of CPU time; {len(progress.results)} done, "
        f"{duration(progress.spent / 60) if progress.spent else 'nothing'} spent",
        err=True,
    )
    if not start:
        return progress.outcome("report of the trainings so far")
    refuse_costly(
        # The budget, not the first round's estimate: all of it may be spent.
        len(todo), (budget_s - progress.spent) / 60 / trial.workers.workers, yes=yes,
        hint="start them with --yes; a smaller --budget or more --jobs take less time",
    )  # fmt: skip
    written = time.monotonic()

    def ended(training: Training, error: str) -> None:
        if error:
            typer.echo(f"training {training.key} failed: {error}", err=True)

    def looked(outcome: Outcome) -> None:
        nonlocal written
        verdicts = [claim.verdict for factor in outcome.factors for claim in factor.claims]
        typer.echo(
            f"{len(verdicts) - verdicts.count('undecided')} of {counted(len(verdicts), 'claim')} "
            f"decided; {counted(outcome.trainings, 'training')}, "
            f"{duration(outcome.seconds / 60)} of CPU time",
            err=True,
        )
        # The figures take seconds to draw, which short trainings would notice.
        if time.monotonic() - written > REPORT_EVERY_S:
            write_report(outcome, trial.folder, command)
            written = time.monotonic()

    return run_until_decided(progress, trial.data, trial.workers, budget_s, ended, looked)


def _load_plan(path: Path, seeds: int, only: list[str], set_: list[str]) -> Plan:
    from mien.study.plan import load_plan
    from mien.study.plan import only as chosen

    plan = load_plan(path, set_)
    if seeds:
        if seeds < 2:
            raise ConfigError(
                f"--seeds: {seeds} is out of range, 2 or more",
                hint="the statistical tests compare trainings with different seeds",
            )
        plan = replace(plan, seeds=seeds)
    return chosen(plan, only) if only else plan


def _announce(trial: Trial, *, yes: bool) -> int:
    """Print the planned trainings and their cost; return the number of trainings.

    Raises:
        ConfigError: they take long, and `yes` is false.
    """
    from mien.study.costs import duration, estimate_seconds, refuse_costly
    from mien.study.study import pending, unique

    plan, dataset, jobs = trial.plan, trial.dataset, trial.workers.workers
    missing = pending(plan, dataset, trial.folder, trial.stored)
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


def _print(outcome: Outcome, folder: Path) -> None:
    claims = [claim for factor in outcome.factors for claim in factor.claims]
    rows = [[claim.verdict, claim.claim.words] for claim in claims]
    print_table(make_table([Column("verdict"), Column("claim")], rows))
    if outcome.failed:
        typer.echo(
            f"{counted(len(outcome.failed), 'training')} failed without a result; the same "
            "command repeats them",
            err=True,
        )
    if outcome.stopped:
        typer.echo(outcome.stopped, err=True)
    typer.echo(f"report: {folder / 'report.html'}", err=True)
