"""`mien doctor RUN --try`: train again with a finding's remedy, and print what it changed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.doctor.trial import Trial
    from mien.train.run.folder import RunFolder


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What --budget and --out ask for; a budget of 0 takes the default."""

    budget_s: float
    out: Path | None


def check_request(path: Path, *, try_: bool, budget: str, out: Path | None) -> TrialRequest | None:
    """Return the request, checked before minutes of diagnostics; None without --try."""
    if not try_:
        for flag, value in (("--budget", budget), ("--out", out)):
            if value:
                raise ConfigError(f"{flag} belongs to --try, which is missing", hint="add --try")
        return None
    from mien.cli.extras import needs

    with needs("train", "mien doctor --try"):
        from mien.study.costs import parse_duration
        from mien.train.run.folder import refuse_existing
    if out is not None:
        if out.resolve() == path.resolve():
            raise ConfigError(
                f"--out: {out} is the run itself, which stays as it is", hint="give another folder"
            )
        refuse_existing(out)
    return TrialRequest(parse_duration(budget) if budget else 0.0, out)


def try_remedy(
    run: RunFolder,
    dataset: Dataset,
    data: Path | None,
    findings: Sequence[Finding],
    request: TrialRequest,
) -> Trial | None:
    """Train with the first remedy that is a setting; None where there is none, which is printed."""
    from mien.doctor.trial import (
        DEFAULT_BUDGET_S,
        NO_SETTING,
        first_remedy,
        run_trial,
        trial_path,
    )
    from mien.train.loop.progress import ProgressView

    chosen = first_remedy(findings)
    if not findings:
        typer.echo("try: nothing was found, so there is no remedy to try", err=True)
    for finding in findings:
        if finding is chosen:
            break
        typer.echo(f"try: {finding.name}: {NO_SETTING}", err=True)
    if chosen is None:
        return None
    path = request.out or trial_path(run)
    settings = " ".join(f"--set {setting}" for setting in chosen.settings)
    typer.echo(f"try: {chosen.name}: training {path} with {settings}", err=True)
    folder = data or Path(run.data)
    budget = request.budget_s or DEFAULT_BUDGET_S
    try:
        return run_trial(
            run, dataset, folder, chosen, path, budget_s=budget, callbacks=[ProgressView()]
        )
    except KeyboardInterrupt:
        command = ["mien", "train", "--resume", str(path)]
        moved = data is not None and data.resolve() != Path(run.data)
        command += ["--data", str(data)] if moved else []
        typer.echo(f"resume: {shlex.join(command)}", err=True)
        raise


def print_trial(trial: Trial) -> None:
    """Print whether the finding is gone, and the change of accuracy with its interval."""
    outcome = "the finding is gone" if trial.is_gone else "the finding is still there"
    if trial.failure:
        outcome = f"the training failed: {trial.failure}"
    others = [finding.name for finding in trial.findings if finding.name != trial.finding]
    typer.echo(f"try: {trial.finding}: {outcome}; {trial.run}")
    typer.echo(f"  settings: {' '.join(trial.settings)}")
    epochs = counted(trial.epochs, "epoch")
    fewer = f" of the {trial.planned_epochs} that the remedy asks for" * (
        trial.epochs < trial.planned_epochs
    )
    typer.echo(f"  trained: {epochs}{fewer}")
    for line in accuracy_lines(trial):
        typer.echo(f"  {line}")
    typer.echo(f"  other findings: {', '.join(others) or 'none'}")


def accuracy_lines(trial: Trial) -> list[str]:
    """Return the accuracies on validation, and their difference where both exist."""
    figures = [("before", trial.before), ("after", trial.after)]
    known = ", ".join(f"{name} {value:.1%}" for name, value in figures if value is not None)
    if not known:
        return ["validation accuracy: none, neither training finished an epoch"]
    lines = [f"validation accuracy: {known} (n = {trial.n:,})"]
    gain = trial.gain
    if gain is None:
        return [*lines, "change: unknown, only one of the trainings finished an epoch"]
    verdict = "no difference is shown"
    if gain.low > 0:
        verdict = "better"
    elif gain.high < 0:
        verdict = "worse"
    return [
        *lines,
        f"change: {100 * gain.value:+.1f} points (95% interval {100 * gain.low:+.1f} to "
        f"{100 * gain.high:+.1f}, paired on the same images): {verdict}",
    ]
