"""`mien study`: a grid of trainings, and a verdict on each claim."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import exit_codes
from mien.cli.extras import needs
from mien.cli.options import DatasetFolder, Override
from mien.cli.render import Column, counting_bar, make_table, print_table
from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.study.plan import Plan, Training
    from mien.study.study import Outcome

StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        help="TOML file, or name of a shipped study: poster, finetune, ablation or balance.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder to write (default: runs/STUDY)."),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, help="Trainings that run in parallel, 1 or more, one thread each."
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


def study(
    path: StudyFile,
    data: DatasetFolder,
    out: Out = None,
    jobs: Jobs = 1,
    seeds: Seeds = 0,
    only: Only = [],
    set_: Override = [],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Train a grid of cells over several seeds and report which claims are supported.

    Finished trainings are kept: the same command resumes after Ctrl-C, a crash or kill -9, and
    repeats failed trainings. Exit code 1 if a training failed.
    """
    with needs("train", "mien study"):
        from mien.data.dataset import load_dataset
        from mien.study.report import write_report
        from mien.study.study import run_study
    plan = _load_plan(path, seeds, only, set_)
    dataset = load_dataset(data)
    folder = out or Path("runs") / path.stem
    total = _announce(plan, dataset, folder, jobs, yes=yes or dry_run)
    if dry_run:
        return
    with counting_bar("trainings", total) as advance:

        def ended(training: Training, error: str) -> None:
            advance(f"training {training.key} failed: {error}" if error else "")

        outcome = run_study(plan, dataset, data, folder, jobs, ended)
    write_report(outcome, folder, shlex.join(["mien", *sys.argv[1:]]))
    _print(outcome, folder)
    if outcome.failed:
        raise typer.Exit(exit_codes.FAILURE)


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


def _announce(plan: Plan, dataset: Dataset, folder: Path, jobs: int, *, yes: bool) -> int:
    """Print the planned trainings and their cost; return the number of trainings.

    Raises:
        ConfigError: they take long, and `yes` is false.
    """
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
    typer.echo(f"report: {folder / 'report.html'}", err=True)
