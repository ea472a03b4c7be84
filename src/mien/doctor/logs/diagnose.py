"""Judge the logs of another program: which rules can, what they find, what the others need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.diagnose import judge
from mien.doctor.evidence import Evidence, Predictions
from mien.doctor.logs.columns import KNOWN, Role
from mien.doctor.logs.read import read_logs
from mien.doctor.programs.program import Program, WatchedRecipe
from mien.doctor.programs.remedies import for_program
from mien.doctor.report import Report
from mien.doctor.rule import RULES
from mien.train.loop.signals import EpochSignals, condense
from mien.train.recipe.settings import OptimizerConfig
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from pathlib import Path

    from mien.doctor.logs.read import Log

NEEDED: dict[str, tuple[Role, ...]] = {
    "diverged": ("loss",),
    "loss-not-decreasing": ("loss",),
    "exploding-gradients": ("gradient norm",),
    "learning-rate-vanishes": ("learning rate",),
    "validation-loss-rises": ("loss", "validation loss"),
}
"""The rules that curves alone can answer, and the quantities that each needs."""


def diagnose_logs(path: Path) -> Report:
    """Return the findings from TensorBoard's event files or CSV files.

    `not_judged` says of every other rule what it would need.

    Args:
        path: folder, searched in depth, or one file.

    Raises:
        SourceError: there is no log, it cannot be read, or it holds no loss.
    """
    log = read_logs(path)
    evidence = _evidence(log)
    # Only these, since evidence that is missing would look like evidence of health.
    judged = [name for name, roles in NEEDED.items() if all(r in log.curves for r in roles)]
    diagnosis = judge(evidence, [RULES[name] for name in judged])
    missing = {
        name: "needs " + " and ".join(
            f"{role} (a column such as {' or '.join(KNOWN[role][:2])})"
            for role in roles
            if role not in log.curves
        )
        for name, roles in NEEDED.items()
        if name not in judged
    }  # fmt: skip
    others = {
        name: "cannot be judged from curves: watch the loop with doctor.watch"
        for name in RULES
        if name not in NEEDED
    }
    return Report(
        title=f"{path.name}: findings of the doctor",
        findings=tuple(for_program(finding, evidence) for finding in diagnosis.findings),
        not_judged={**diagnosis.not_judged, **missing, **others},
        facts={
            "judged rules": ", ".join(judged) or "none",
            **{role: f"{log.names[role]} ({len(v):,} values)" for role, v in log.curves.items()},
        },
        remarks=tuple(log.remarks),
    )


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
        # Without classes the first loss stands for chance level: nothing is learned yet.
        chance=means[0] if means else math.nan,
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
