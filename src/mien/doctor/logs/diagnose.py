"""Judge the logs of another program: which rules can, what they find, what the others need."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.diagnose import foreign_rules, judge
from mien.doctor.evidence import Evidence, Predictions
from mien.doctor.logs.columns import KNOWN, Role
from mien.doctor.logs.read import read_runs
from mien.doctor.paths import given_path
from mien.doctor.programs.program import Program, WatchedRecipe
from mien.doctor.programs.remedies import for_program
from mien.doctor.report import Report, combine
from mien.doctor.rule import RULES
from mien.doctor.rules.loop import MIN_STEPS
from mien.errors import counted
from mien.train.loop.signals import EpochSignals, condense
from mien.train.recipe.settings import OptimizerConfig
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    import os

    from mien.doctor.finding import Finding
    from mien.doctor.logs.read import Log

NEEDED: dict[str, dict[Role, int]] = {
    "diverged": {"loss": 2},
    "loss-not-decreasing": {"loss": 12},
    "exploding-gradients": {"gradient norm": 1},
    "learning-rate-vanishes": {"learning rate": MIN_STEPS},
    "validation-loss-rises": {"loss": 1, "validation loss": 5},
}
"""The rules that curves alone can answer, and the quantities that each needs with the fewest finite
values from which it judges: below, the rule itself would be silent."""


def diagnose_logs(path: str | os.PathLike[str]) -> Report:
    """Return the findings from TensorBoard's event files, or CSV or TSV files.

    `not_judged` says of every other rule what it would need. Where the folder holds several runs,
    each is judged: see `Report.runs`.

    Args:
        path: folder, searched in depth, or one file.

    Raises:
        ConfigError: `path` is no path.
        SourceError: there is no log, it cannot be read, or it holds no loss.
    """
    place = given_path(path)
    logs, remarks = read_runs(place)
    title = f"{place.resolve().name}: findings of the doctor"
    if len(logs) == 1:
        return _judge(next(iter(logs.values())), title)
    runs = {name: _judge(log, f"run {name}") for name, log in logs.items()}
    return combine(title, runs, remarks)


def _judge(log: Log, title: str) -> Report:
    """Return the findings of one run."""
    evidence = _evidence(log)
    missing = {name: reason for name in NEEDED if (reason := _lacks(log, name))}
    # Only these, since evidence that is missing would look like evidence of health.
    judged = [name for name in NEEDED if name not in missing]
    diagnosis = judge(evidence, [RULES[name] for name in judged])
    rules = foreign_rules()
    others = {
        rule.name: "cannot be judged from curves: watch the loop with doctor.watch"
        for rule in rules
        if rule.name not in NEEDED
    }
    findings = diagnosis.findings
    if not any(rate > 0 for rate in log.curves.get("learning rate", [])):
        findings = [_without_rate(finding) for finding in findings]
    return Report(
        title=title,
        findings=tuple(_by_row(for_program(finding, evidence), evidence) for finding in findings),
        not_judged={**diagnosis.not_judged, **missing, **others},
        facts={
            "judged rules": ", ".join(judged) or "none",
            **{
                role: f"{log.names[role]} ({counted(len(v), 'value')})"
                for role, v in log.curves.items()
            },
        },
        remarks=(*log.remarks, *_shortness(log, judged)),
        rules=len(rules),
    )


def _lacks(log: Log, rule: str) -> str:
    """Return what a rule needs that the log lacks, or ''."""
    absent = [role for role in NEEDED[rule] if role not in log.curves]
    if absent:
        return "needs " + " and ".join(
            f"{role} (a column such as {' or '.join(KNOWN[role][:2])})" for role in absent
        )
    # One value that is not finite shows a divergence.
    if rule == "diverged" and not all(map(math.isfinite, log.curves["loss"])):
        return ""
    return "; ".join(
        f"needs {count} finite values of the {role}; the log has {known}"
        for role, count in NEEDED[rule].items()
        if (known := sum(map(math.isfinite, log.curves[role]))) < count
    )


def _shortness(log: Log, judged: list[str]) -> list[str]:
    """Return a remark if the log is so short that hardly a rule judged it."""
    losses = log.curves.get("loss", [])
    broken = not all(map(math.isfinite, losses))
    if not losses or broken or "loss-not-decreasing" in judged:
        return []
    much = "Hardly anything" if judged else "Nothing"
    return [f"{much} could be judged: the log has {counted(len(losses), 'value')} of the loss."]


def _by_row(finding: Finding, evidence: Evidence) -> Finding:
    """Return a finding whose plot counts rows: a log need not tell epochs, nor each step."""
    plot = finding.plot
    assert evidence.program is not None  # noqa: S101 - `_evidence` sets it
    if plot is not None and plot.xlabel.startswith("step"):
        return replace(finding, plot=replace(plot, xlabel=plot.xlabel.replace("step", "row", 1)))
    if plot is None or plot.title != "training loss" or plot.xlabel != "epoch":
        return finding
    x = [float(place) * evidence.program.steps for place in plot.x]
    return replace(finding, plot=replace(plot, x=x, xlabel="row"))


def _without_rate(finding: Finding) -> Finding:
    """Return a finding without the learning rate that its rule computed from an unknown one."""
    kept = tuple(s for s in finding.settings if not s.startswith("optimizer.lr="))
    numbers = {name: value for name, value in finding.numbers.items() if name != "lr"}
    return replace(finding, settings=kept, numbers=numbers)


def _evidence(log: Log) -> Evidence:
    losses = log.curves.get("loss") or log.curves.get("validation loss") or []
    rates = log.curves.get("learning rate", [])
    norms = [v for v in log.curves.get("gradient norm", []) if math.isfinite(v)]
    broken = next((i for i, v in enumerate(losses) if not math.isfinite(v)), None)
    reason = "" if broken is None else f"the loss became {losses[broken]} in row {broken + 1:,}"
    means, peaks = condense(losses)
    signals = EpochSignals(
        epoch=1, lr=max(rates, default=0.0), losses=means, peaks=peaks, measured=0, gain=None,
        worse=None, gradient_norm=float(np.median(norms)) if norms else None,
    )  # fmt: skip
    return Evidence(
        recipe=WatchedRecipe(name="log", optimizer=OptimizerConfig(lr=max([*rates, 1e-12]))),
        status="failed" if reason else "finished",
        reason=reason,
        history=_history(log),
        signals=[signals],
        images=0,
        parameters=0,
        class_counts_k=np.zeros(2),
        train=_nothing(),
        validation=_nothing(),
        pixels={},
        domain_shift_auc=math.nan,
        duplicates=(0.0, 0),
        shared_subjects=0,
        # Without classes the first losses stand for chance level: nothing is learned yet. 0: none.
        chance=means[0] if means else 0.0,
        chance_is_start=True,
        # Only loss curves are known, so the task counts as one without classes.
        program=Program(
            kind="regression", steps=max(len(losses), len(rates)), rates=tuple(rates) or (1.0,)
        ),
    )


def _nothing() -> Predictions:
    return Predictions(np.zeros(0, np.int64), None, np.zeros((0, 2)))


def _history(log: Log) -> list[EpochMetrics]:
    """Return one entry for each validation loss, beside the training loss of the same part."""
    held = log.curves.get("validation loss", [])
    train = [v for v in log.curves.get("loss", []) if math.isfinite(v)]
    if not held or not train:
        return []
    # Logs need not tell epochs: the training losses are divided evenly among the validations.
    parts = np.array_split(train, min(len(held), len(train)))
    means = [float(part.mean()) for part in parts]
    means += [means[-1]] * (len(held) - len(means))
    return [
        EpochMetrics(
            epoch=number, lr=0.0, loss=loss, train_loss=math.nan, train_accuracy=math.nan,
            validation_loss=value, validation_accuracy=math.nan, validation_n=0, gap=math.nan,
            seconds=0.0, images_per_second=0.0,
        )
        for number, (loss, value) in enumerate(zip(means, held, strict=True), 1)
    ]  # fmt: skip
