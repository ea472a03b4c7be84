"""`mien doctor`: what went wrong in a training, and what to try."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.doctor_trial import check_request, print_trial, try_remedy
from mien.cli.exit_codes import FAILURE
from mien.cli.extras import needs
from mien.cli.options import Json, RunDatasetFolder
from mien.errors import ConfigError, SourceError, counted
from mien.files import finite

if TYPE_CHECKING:
    from mien.cli.doctor_trial import TrialRequest
    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.doctor.report import Report
    from mien.train.run.folder import RunFolder

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="Run folder that mien train wrote; or a folder or file with the logs of another "
        "program, of one run or several: TensorBoard's event files, CSV or TSV.",
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write the findings as a page.")
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 if a finding is of this level: error (serious findings) or warning (all "
        "findings) (default: never).",
    ),
]
Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help="Also train three small experiments: half the width, and a quarter and half of the "
        "training data.",
    ),
]
Try = Annotated[
    bool,
    typer.Option(
        "--try",
        help="Train again with the settings of the first remedy that has some, in a run folder of "
        "its own, and compare both on the validation images.",
    ),
]
Budget = Annotated[
    str,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="With --try: time that the training may take, such as 90s, 10m or 1h; it has fewer "
        "epochs if they do not fit (default: 10m).",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="With --try: its run folder (default: RUN-try)."),
]


def doctor(
    path: Run,
    data: RunDatasetFolder = None,
    as_json: Json = False,
    deep: Deep = False,
    html: Html = None,
    fail_on: FailOn = None,
    try_: Try = False,
    budget: Budget = "",
    out: Out = None,
) -> None:
    """Diagnose a training run: each finding comes with its evidence and a remedy.

    Findings, plots and figures are written into the run folder: doctor.json and doctor.png. Logs of
    another program are only read; the rules that they allow are named, and of several runs each is
    judged. Exit code: 2 if there is no log or one cannot be read.
    """
    if fail_on not in (None, "error", "warning"):
        raise ConfigError(f"--fail-on: {fail_on!r} is unknown", hint="allowed: error, warning")
    request = check_request(path, try_=try_, budget=budget, out=out)
    # Runs of mien hold TensorBoard's event files too; their config.json tells them apart.
    if _is_run(path):
        report = _judge_run(path, data, as_json, deep, request)
    else:
        _refuse_on_logs(path, {"--try": try_, "--deep": deep, "--data": data is not None})
        _keep_logs(path, html)
        report = _judge_logs(path, as_json)
        _point_to_runs(path)
    if html is not None:
        report.save_html(html)
        typer.echo(f"page: {html}", err=True)
    if fail_on and report.fails(fail_on):
        raise typer.Exit(FAILURE)


def _is_run(path: Path) -> bool:
    """Return whether a folder's config.json is that of a run of mien, sound or damaged.

    Output folders of Hugging Face's Trainer hold a config.json as well, that of the model.
    """
    if not (path / "config.json").exists():
        return False
    try:
        values = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # its error says what is wrong with the file
    return isinstance(values, dict) and not values.keys().isdisjoint(("schema", "recipe"))


def _refuse_on_logs(path: Path, flags: dict[str, bool]) -> None:
    """Raise a ConfigError if a flag is set that needs a run folder of mien."""
    given = [flag for flag, is_set in flags.items() if is_set]
    if given and path.exists():
        raise ConfigError(
            f"{given[0]} needs a run folder that mien train wrote; {path} has no config.json of "
            "mien, so it is read as logs of another program",
            hint=f"give such a run folder, or leave {' and '.join(given)} out",
        )


def _keep_logs(path: Path, html: Path | None) -> None:
    """Raise a ConfigError if the page would replace a log that is read."""
    from mien.doctor.logs.files import TABLES, is_events

    target = None if html is None else html.resolve()
    if target is None or not target.is_file():
        return
    is_log = target.suffix.lower() in TABLES or is_events(target)
    if target == path.resolve() or (is_log and path.resolve() in target.parents):
        raise ConfigError(
            f"--html: {html} is one of the logs, and the page would replace it",
            hint="give another name, such as doctor.html",
        )


def _point_to_runs(path: Path) -> None:
    """Say where a folder holds runs of mien, of which only the curves were judged."""
    runs = [file.parent for file in sorted(path.glob("*/config.json")) if _is_run(file.parent)]
    if runs:
        typer.echo(
            f"note: {path} holds {counted(len(runs), 'run')} of mien, judged by the curves alone; "
            f"all rules judge one run: mien doctor {shlex.quote(str(runs[0]))}",
            err=True,
        )


def _judge_logs(path: Path, as_json: bool) -> Report:
    """Print the findings of another program's logs, and which rules were judged."""
    with needs("train", "mien doctor"):
        from mien.doctor.logs.diagnose import diagnose_logs
    try:
        report = diagnose_logs(path)
    except SourceError as error:
        # With the exit code of usage errors: 1 says that --fail-on found something.
        raise ConfigError(error.message, hint=error.hint) from error
    if as_json:
        typer.echo(report.to_json())
        return report
    typer.echo(str(report))
    for line in _scope(report):
        typer.echo(line, err=True)
    return report


def _scope(report: Report) -> list[str]:
    """Return what was judged and what was not, each line once for all runs that it is true of."""
    runs = report.runs or {"": report}
    lines: dict[str, list[str]] = {}
    for name, run in runs.items():
        reasons = {k: v for k, v in run.not_judged.items() if v.startswith("needs ")}
        for line in (
            f"judged: {run.facts['judged rules']}",
            # The text of a single report ends with its remarks.
            *(f"note: {remark}" for remark in run.remarks if report.runs),
            *(f"not judged: {rule}: {reason}" for rule, reason in reasons.items()),
        ):
            lines.setdefault(line, []).append(name)
    said = [
        line if len(names) == len(runs) else f"run {', '.join(names)}: {line}"
        for line, names in lines.items()
    ]
    return said + [f"note: {remark}" for remark in report.remarks if report.runs]


def _judge_run(
    path: Path, data: Path | None, as_json: bool, deep: bool, request: TrialRequest | None
) -> Report:
    """Print the findings of a run of mien."""
    with needs("train", "mien doctor"):
        from mien.data.dataset import load_dataset
        from mien.doctor.run_diagnostics import report_of, run_diagnostics, write_findings
        from mien.train.run.folder import open_run
    run = open_run(path)
    dataset = load_dataset(data or Path(run.data))
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{path} was trained on other data (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="give the data it was trained on: --data DIR",
        )
    findings = run_diagnostics(run, dataset, test_rates=True)
    if deep:
        findings += _run_experiments(run, dataset, findings)
        write_findings(run, findings)
    if not as_json:
        print_findings(run, findings)
    trial = None if request is None else try_remedy(run, dataset, data, findings, request)
    report = report_of(run, findings)
    if as_json:
        values = report.to_dict()
        if request is not None:
            values["trial"] = None if trial is None else trial.to_dict()
        typer.echo(json.dumps(finite(values), indent=2, allow_nan=False))
    elif trial is not None:
        print_trial(trial)
    return report


def print_findings(run: RunFolder, findings: list[Finding], *, err: bool = False) -> None:
    """Print the verdict and each finding: title, evidence, remedy with the settings for it.

    Args:
        run: the folder with the plots and doctor.json.
        findings: may be empty.
        err: print to stderr.
    """
    from mien.doctor.run_diagnostics import report_of

    typer.echo(f"doctor: {report_of(run, findings).verdict}", err=err)
    for finding in findings:
        typer.echo(f"doctor: {finding.title} ({finding.name}, {finding.severity})", err=err)
        settings = " ".join(f"--set {s}" for s in finding.settings)
        for text in (finding.evidence, f"{finding.remedy} {settings}".strip()):
            lines = textwrap.wrap(text, 90, break_long_words=False, break_on_hyphens=False)
            typer.echo("\n".join(f"  {line}" for line in lines), err=err)
    if any(finding.plot for finding in findings):
        typer.echo(f"evidence: {run.path / 'doctor.png'}", err=err)


def _run_experiments(run: RunFolder, dataset: Dataset, findings: list[Finding]) -> list[Finding]:
    """Train the experiments of --deep and return their findings, without those known already."""
    from mien.doctor.experiments import (
        FRACTIONS,
        HALF_WIDTH_COSTS,
        can_be_halved,
        compare_smaller,
        learning_curve,
    )
    from mien.train.loop.progress import ProgressView, duration

    seconds = sum(m.seconds for m in run.read_metrics())
    halve = can_be_halved(run.recipe)
    costs = sum(FRACTIONS) + (HALF_WIDTH_COSTS if halve else 0)
    if not halve:
        typer.echo(
            "note: half the width is not tried: the run's pretrained weights "
            f"({run.recipe.fit.init_from}) do not fit a narrower network",
            err=True,
        )
    typer.echo(
        f"{'three' if halve else 'two'} experiments, about {duration(costs * seconds)}; Ctrl-C "
        "stops them, and the same command resumes them",
        err=True,
    )
    _, little = learning_curve(run, dataset, [ProgressView()])
    smaller = compare_smaller(run, dataset, [ProgressView()]) if halve else None
    known = {finding.name for finding in findings}
    return [f for f in (smaller, little) if f is not None and f.name not in known]
