"""`mien doctor`: what went wrong in a training, and what to try."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.train.run.folder import RunFolder


def doctor(
    path: Path = typer.Argument(metavar="RUN", help="A folder made by mien train."),
    data: Path | None = typer.Option(
        None, "--data", help="The run's data, where it is no longer where it was."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    deep: bool = typer.Option(
        False,
        "--deep",
        help="Also train: at half the width, and on a quarter and half of the data.",
    ),
) -> None:
    """Name what went wrong in a training, show the evidence and say what to try next."""
    with needs("train", "mien doctor"):
        from mien.data.dataset import load_dataset
        from mien.doctor.run_diagnostics import run_diagnostics, write_findings
        from mien.train.run.folder import open_run
    run = open_run(path)
    dataset = load_dataset(data or Path(run.data))
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{path} was trained on other data (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="give the data it was trained on with --data",
        )
    findings = run_diagnostics(run, dataset, test_rates=True)
    if deep:
        findings += _experiments(run, dataset, findings)
        write_findings(run, findings)
    if as_json:
        typer.echo(json.dumps({"findings": [f.to_dict() for f in findings]}, indent=2))
    else:
        print_findings(run, findings)


def print_findings(run: RunFolder, findings: list[Finding], *, err: bool = False) -> None:
    """Print what was found: what, the evidence, what to try."""
    if not findings:
        typer.echo("doctor: nothing found", err=err)
        return
    for finding in findings:
        typer.echo(f"doctor: {finding.title} ({finding.name}, {finding.severity})", err=err)
        settings = " ".join(f"--set {s}" for s in finding.settings)
        for text in (finding.evidence, f"{finding.remedy} {settings}".strip()):
            lines = textwrap.wrap(text, 90, break_long_words=False, break_on_hyphens=False)
            typer.echo("\n".join(f"  {line}" for line in lines), err=err)
    if any(finding.plot for finding in findings):
        typer.echo(f"evidence: {run.path / 'doctor.png'}", err=err)


def _experiments(run: RunFolder, dataset: Dataset, findings: list[Finding]) -> list[Finding]:
    from mien.doctor.experiments import COSTS, compare_smaller, learning_curve
    from mien.train.loop.progress import ProgressView, duration

    seconds = sum(m.seconds for m in run.read_metrics())
    typer.echo(
        f"three further trainings, about {duration(COSTS * seconds)}; "
        "Ctrl-C stops them, and the same command resumes",
        err=True,
    )
    _, little = learning_curve(run, dataset, [ProgressView()])
    smaller = compare_smaller(run, dataset, [ProgressView()])
    known = {finding.name for finding in findings}
    return [f for f in (smaller, little) if f is not None and f.name not in known]
