"""Try the remedy of a finding: train the recipe again with its settings. Read `run_trial` first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.doctor.run_diagnostics import run_diagnostics
from mien.errors import ConfigError, TrainingError
from mien.evaluate.bootstrap import Estimate, paired_difference
from mien.evaluate.evaluate import evaluate
from mien.evaluate.report import by_ground_truth
from mien.train.loop.callbacks import Callback
from mien.train.loop.fit import fit
from mien.train.recipe.convert import apply_setting
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.folder import create_run, discard_run, load_scorer, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.evaluate.evaluate import Metrics
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder

DEFAULT_BUDGET_S = 600.0
"""Seconds that a trial may train."""
NO_SETTING = "no setting can be tried for this finding"


@dataclass(frozen=True, slots=True)
class Trial:
    """A training with a remedy, beside the one that has the finding.

    Attributes:
        finding: name of the finding whose remedy was tried.
        settings: recipe settings that were changed, `key=value`.
        run: folder of the new training.
        epochs: finished epochs of the new training.
        planned_epochs: epochs that the remedy asks for; fewer were trained where the budget did
            not allow them.
        n: validation images that both were compared on.
        before: validation accuracy of the run; None where it has no finished epoch.
        after: validation accuracy of the new training; None where it failed in its first epoch.
        gain: after minus before, paired on the same images, with its 95% bootstrap interval; None
            where one of them is missing.
        is_gone: whether the new training has no longer the finding.
        findings: of the new training.
        failure: why the new training failed; '' where it did not.
    """

    finding: str
    settings: tuple[str, ...]
    run: Path
    epochs: int
    planned_epochs: int
    n: int
    before: float | None
    after: float | None
    gain: Estimate | None
    is_gone: bool
    findings: tuple[Finding, ...]
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as JSON types."""
        return {
            "finding": self.finding,
            "settings": list(self.settings),
            "run": str(self.run),
            "epochs": self.epochs,
            "planned_epochs": self.planned_epochs,
            "n": self.n,
            "before": self.before,
            "after": self.after,
            "gain": None if self.gain is None else self.gain.to_dict(),
            "is_gone": self.is_gone,
            "findings": [finding.to_dict() for finding in self.findings],
            "failure": self.failure,
        }


class _OutOfTime(KeyboardInterrupt):
    """Stops `fit` as Ctrl-C does: the finished epochs are kept."""


class _Deadline(Callback):
    """Stops a training before the epoch that would exceed the budget, or in its first one."""

    def __init__(self, budget_s: float, epochs: int) -> None:
        self.budget_s, self.planned, self.started = budget_s, epochs, time.monotonic()
        self.epochs = 0

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        # A later epoch that runs over has cost its time already; the epochs before it are kept.
        if time.monotonic() - self.started > self.budget_s:
            raise _OutOfTime

    def on_epoch_end(self, metrics: Any, *, best: bool) -> None:
        self.epochs += 1
        if self.epochs == self.planned:
            return
        used = time.monotonic() - self.started
        if used + used / self.epochs > self.budget_s:
            raise _OutOfTime


def first_remedy(findings: Sequence[Finding]) -> Finding | None:
    """Return the first finding whose remedy is a setting; None where there is none.

    The others need other data or code; `NO_SETTING` says so.
    """
    return next((finding for finding in findings if finding.settings), None)


def trial_path(run: RunFolder) -> Path:
    """Return the first free folder of RUN-try, RUN-try-2, RUN-try-3..."""
    # As it was given, for messages; but '.' has no name, and '..' one of its own.
    given: Path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    number, path = 1, given.with_name(f"{given.name}-try")
    while path.exists():
        number += 1
        path = given.with_name(f"{given.name}-try-{number}")
    return path


def remedied_recipe(run: RunFolder, finding: Finding, budget_s: float) -> tuple[Recipe, int]:
    """Return the run's recipe with the remedy's settings, and the epochs that it asks for.

    The recipe has fewer epochs where the run's own epochs show that the budget is too short.

    Raises:
        ConfigError: a setting does not fit the run's network.
    """
    values = run.recipe.to_dict()
    for setting in finding.settings:
        apply_setting(values, setting)
    values["name"] = f"{run.recipe.name}-try"
    planned = int(values["fit"]["epochs"])
    seconds = [m.seconds for m in run.read_metrics()]
    if seconds:
        affordable = int(budget_s / max(median(seconds), 1e-6))
        values["fit"]["epochs"] = max(1, min(planned, affordable))
    return recipe_from_dict(values), planned


def run_trial(
    run: RunFolder,
    dataset: Dataset,
    data: Path,
    finding: Finding,
    path: Path,
    *,
    budget_s: float = DEFAULT_BUDGET_S,
    callbacks: Sequence[Callback] = (),
) -> Trial:
    """Train the run's recipe with the settings of a finding's remedy, and compare both.

    The run itself is not changed. Both are compared by their best checkpoints on the same
    validation images.

    Args:
        run: that has the finding; it may have failed before its first epoch.
        dataset: that it was trained on.
        data: folder of `dataset`.
        finding: whose settings are tried.
        path: folder of the new training; it must not exist.
        budget_s: seconds that the training may take, above 0; the epochs are reduced to fit.
        callbacks: receive the events of the training.

    Raises:
        ConfigError: the finding has no setting, a setting does not fit the network, or the budget
            is too short for one epoch.
        RunFolderError: something exists at `path`.
        KeyboardInterrupt: the new run can be resumed.
    """
    if not finding.settings:
        raise ConfigError(f"finding: {finding.name}: {NO_SETTING}", hint=finding.remedy)
    refuse_existing(path)
    recipe, planned = remedied_recipe(run, finding, budget_s)
    trained, failure = create_run(path, recipe, dataset, data), ""
    deadline = _Deadline(budget_s, recipe.fit.epochs)
    try:
        fit(trained, dataset, [*callbacks, deadline])
    except _OutOfTime:
        if not trained.has_checkpoint:
            discard_run(trained)
            raise ConfigError(
                f"budget: {budget_s:g} seconds are too short for one epoch of {path}",
                hint="allow more time, or train on fewer images",
            ) from None
    except TrainingError as error:
        failure = error.message
    found = run_diagnostics(trained, dataset)
    before, after = (_metrics(r, dataset) for r in (run, trained))
    return Trial(
        finding=finding.name,
        settings=finding.settings,
        run=path,
        epochs=len(trained.read_metrics()),
        planned_epochs=planned,
        n=next((len(m.rows.y_true_n) for m in (after, before) if m is not None), 0),
        before=_accuracy(before),
        after=_accuracy(after),
        gain=None if before is None or after is None else _gain(before, after),
        is_gone=not failure and finding.name not in {f.name for f in found},
        findings=tuple(found),
        failure=failure,
    )


def _metrics(run: RunFolder, dataset: Dataset) -> Metrics | None:
    """Return the metrics on validation; None where no epoch was finished."""
    if not run.has_checkpoint:
        return None
    metrics = dict(by_ground_truth(evaluate(load_scorer(run.path), dataset, "validation")))
    return next(iter(metrics.values()))


def _accuracy(metrics: Metrics | None) -> float | None:
    return None if metrics is None else metrics.headlines["accuracy"].value


def _gain(before: Metrics, after: Metrics) -> Estimate:
    # Every image is its own group: duplicates are not known in a run's data.
    groups = np.arange(len(before.rows.y_true_n), dtype=np.int64)
    return paired_difference(after.rows, before.rows, groups)[0]
