"""From a watched loop to the evidence that the rules judge: read `gather` first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.doctor.diagnose import foreign_rules, judge
from mien.doctor.evidence import Evidence, PixelStatistics, Predictions
from mien.doctor.facts import class_recalls, majority_accuracy
from mien.doctor.programs.curves import condensed_rates, epochs_of, history_of
from mien.doctor.programs.describe import describe, is_weighted
from mien.doctor.programs.examine import evaluated, examine
from mien.doctor.programs.examples import class_labels, distinct_rows, keys_of
from mien.doctor.programs.inspection import is_lazy
from mien.doctor.programs.program import WatchedRecipe
from mien.doctor.programs.remedies import for_program, in_words
from mien.doctor.programs.sample import MIN_LEAKED_FEATURES
from mien.doctor.programs.tasks import task_of
from mien.doctor.programs.trees import features, is_tokens, tensors
from mien.doctor.report import Report
from mien.doctor.requirements import (
    BASELINE,
    BESIDE_BASELINE,
    CLASS_COUNTS,
    EPOCHS,
    TRAIN_PREDICTIONS,
    VALIDATION_LABELS,
    VALIDATION_PREDICTIONS,
)
from mien.evaluate.bootstrap import wilson
from mien.train.recipe.settings import FitConfig, LossConfig, OptimizerConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

OPTIMIZERS = {"sgd", "adam", "adamw", "muon"}
MAX_LISTED = 12
"""Classes or labels up to which the recall of each is a fact of the report."""
MIN_COMPARED = 40
"""Different examples of each split that a comparison of the splits needs: the AUC of two equal
splits then has a deviation of 0.065, a fifth of what the threshold is above 0.5."""


def diagnose_recording(watch: Recording) -> Report:
    """Return the findings of a watched training."""
    # The report may be asked for in the middle of a training, which must not change by it.
    with torch.random.fork_rng(devices=[]):
        evidence = gather(watch)
    rules = foreign_rules()
    diagnosis = judge(evidence, rules)
    findings = [for_program(finding, evidence) for finding in diagnosis.findings]
    program = evidence.program
    not_judged = {name: _reason(why, evidence) for name, why in diagnosis.not_judged.items()}
    if not watch.steps:
        # Evidence that is missing would look like evidence of health.
        names = {finding.name for finding in findings}
        not_judged = {rule.name: "no step was recorded" for rule in rules if rule.name not in names}
    return Report(
        title=f"{type(watch.bare).__name__}: findings of the doctor",
        findings=tuple(f for f in findings if f.severity != "note"),
        notes=tuple(f for f in findings if f.severity == "note"),
        not_judged=not_judged,
        rules=len(rules),
        facts=_facts(evidence),
        remarks=program.notes if program else (),
    )


def nothing_judged(watch: Recording) -> Report:
    """Return the report of a watched training that could not be judged; its remarks say why."""
    title = f"{type(watch.bare).__name__}: findings of the doctor"
    return Report(title, (), facts={"judged rules": "none"}, remarks=tuple(watch.notes))


NEED_CLASSES = frozenset(
    need.otherwise
    for need in (TRAIN_PREDICTIONS, VALIDATION_PREDICTIONS, BASELINE, BESIDE_BASELINE,
                 VALIDATION_LABELS, CLASS_COUNTS)
)  # fmt: skip
"""Reasons of rules that need classes or labels, whatever they are needed for."""


def _reason(why: str, evidence: Evidence) -> str:
    """Return why a rule could not judge a watched loop, in its terms."""
    program = evidence.program
    kind = "" if program is None else program.kind
    if why == EPOCHS.otherwise and program is not None:
        called = "the loss of no validation was known" if program.validations else ""
        return called or "Watch.validate was never called"
    if why in NEED_CLASSES and kind == "regression":
        return "the task is a regression, which has no classes"
    if why in NEED_CLASSES and kind == "other":
        return (
            "the task is 'other': outputs and targets of kept examples are no classes, labels or "
            "values of a known form"
        )
    return in_words(why)


def _facts(evidence: Evidence) -> dict[str, str]:
    program = evidence.program
    if program is None:
        return {}
    scores = {"R²" if program.kind == "regression" else "accuracy": program.validation_score}
    known = {f"validation {name}": f"{value:.3f}" for name, value in scores.items() if value}
    return {
        "steps": f"{program.steps:,}",
        "parameters": f"{evidence.parameters:,}",
        "task": program.kind,
        "loss": program.loss_name or "unknown",
        **known,
        **_beside(evidence),
    }


def _beside(evidence: Evidence) -> dict[str, str]:
    """Return what accuracies of positions and labels hide: base rates, and the recall of each."""
    held, program = evidence.validation, evidence.program
    if program is None or held.constant_nk is None or not len(held.y_true_n):
        return {}
    found = {"accuracy of a constant": f"{majority_accuracy(held):.3f}"}
    names = [label.name for label in program.labels] or list(evidence.recipe.predicted_labels)
    recalls = [wilson(label.found, label.positives).value for label in program.labels] or [
        r.value for r in class_recalls(held) or []
    ]
    known = [f"{n} {v:.2f}" for n, v in zip(names, recalls, strict=True) if math.isfinite(v)]
    if program.vocabulary or not known or len(names) > MAX_LISTED:
        return found
    return {**found, "validation recall": ", ".join(known)}


def gather(watch: Recording) -> Evidence:
    """Return the evidence of a watched training so far."""
    found = examine(watch)
    outputs = {
        "train": evaluated(watch, watch.train.inputs),
        "validation": evaluated(watch, watch.validation.sample.inputs),
    }
    task = task_of(watch, outputs)
    signals = epochs_of(watch, task, found)
    history = history_of(watch, signals, task)
    losses = watch.known_losses()
    broken = next((i for i, v in enumerate(losses) if not math.isfinite(v)), None)
    reason = watch.failure
    if broken is not None:
        value = "nan" if math.isnan(losses[broken]) else "inf"
        reason = f"the loss became {value} in step {broken + 1:,}"
    pixels = _pixels(watch)
    names = task.names
    return Evidence(
        recipe=_recipe(watch, names, len(signals)),
        status="failed" if reason else "finished",
        reason=reason,
        history=history,
        signals=signals,
        images=task.examples,
        parameters=sum(p.numel() for p in watch.bare.parameters() if not is_lazy(p)),
        class_counts_k=task.class_counts_k,
        train=task.train or _none(),
        validation=task.validation or _none(),
        pixels=pixels,
        domain_shift_auc=_shift(watch, task) if pixels else math.nan,
        duplicates=_duplicates(watch),
        shared_subjects=0,
        initial=watch.initial,
        # A watched loop without a chance level has no other one, such as the log of its classes.
        chance=task.chance if math.isfinite(task.chance) else 0.0,
        program=describe(watch, task, found, condensed_rates(watch.rates), outputs["train"]),
    )


def _none() -> Predictions:
    return Predictions(np.zeros(0, np.int64), None, np.zeros((0, 2)))


def _recipe(watch: Recording, names: tuple[str, ...], epochs: int) -> WatchedRecipe:
    # The loop may have emptied the groups since.
    groups: list[dict[str, Any]] = [g for o in watch.optimizers for g in o.param_groups]
    group = groups[0] if groups else {}
    name = type(watch.optimizers[0]).__name__.lower()
    decay = float(group.get("weight_decay", 0) or 0)
    return WatchedRecipe(
        name="watched",
        class_names=names,
        optimizer=OptimizerConfig(
            name=name if name in OPTIMIZERS else "adam",  # type: ignore[arg-type]
            lr=max(max(watch.rates, default=1e-3), 1e-12),
            weight_decay=decay,
        ),
        fit=FitConfig(epochs=max(1, epochs)),
        loss=LossConfig(class_weights="balanced" if is_weighted(watch) else "none"),
    )


def _pixels(watch: Recording) -> dict[str, PixelStatistics]:
    """Return statistics of the inputs of each split; empty for token ids."""
    found: dict[str, PixelStatistics] = {}
    for split, sample in (("train", watch.train), ("validation", watch.validation.sample)):
        first = next(tensors(sample.inputs), None)
        values = features(sample.inputs)
        if first is None or values is None or is_tokens(first):
            return found
        finite = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        # In tables each column has a scale of its own: the typical column counts.
        spread = finite.std(axis=0)
        spread = spread[spread > 0]
        image = first.ndim > 2
        std = float(finite.std()) if image or not len(spread) else float(np.median(spread))
        # With few features, equal values in a row are no sign of a damaged example.
        rows = finite.std(axis=1)
        blank = (rows == 0) if finite.shape[1] >= MIN_LEAKED_FEATURES else np.zeros(len(rows), bool)
        found[split] = PixelStatistics(
            mean=float(finite.mean()),
            std=std,
            blank_fraction=float(blank.mean()),
            brightness_n=finite.mean(axis=1),
            contrast_n=rows,
        )
    return found


def _split_features(watch: Recording) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    parts = [features(s.inputs) for s in (watch.train, watch.validation.sample)]
    if parts[0] is None or parts[1] is None or parts[0].shape[1] != parts[1].shape[1]:
        return None
    return parts[0], parts[1]


def _shift(watch: Recording, task: Task) -> float:
    """Return the AUC of a classifier between the splits, leave-one-out; nan for few examples."""
    from scipy import stats

    from mien.doctor.programs.baseline import MAX_FITTED, kernel_baseline

    parts = _split_features(watch)
    if parts is None:
        return math.nan
    # A row that comes several times would be left out while its copies stay.
    places = [distinct_rows(part) for part in parts]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(rows)) for rows in places]
    samples = (watch.train, watch.validation.sample)
    labels = [class_labels(sample, len(p)) for sample, p in zip(samples, parts, strict=True)]
    if task.kind in ("classification", "binary") and labels[0] is not None is not labels[1]:
        known = [y[rows] for y, rows in zip(labels, places, strict=True) if y is not None]
        orders = _same_classes(orders, known)
    count = min(*map(len, orders), MAX_FITTED // 2)
    if count < MIN_COMPARED:
        return math.nan
    # Equal numbers, so that the classifier cannot profit from guessing the larger split.
    both = np.concatenate(
        [x[rows[o[:count]]] for x, rows, o in zip(parts, places, orders, strict=True)]
    )
    sides = np.repeat([[0.0], [1.0]], count, axis=0)
    scores, _ = kernel_baseline(both, sides, both[:1])
    test = stats.mannwhitneyu(scores[count:, 0], scores[:count, 0])
    return float(test.statistic / count**2)


def _same_classes(
    orders: list[NDArray[np.int64]], labels: list[NDArray[np.float64]]
) -> list[NDArray[np.int64]]:
    """Return rows of both splits with as many of each class: other counts are no other data."""
    kept: list[list[NDArray[np.int64]]] = [[], []]
    for label in np.unique(labels[0]):
        own = [order[y[order] == label] for order, y in zip(orders, labels, strict=True)]
        count = min(map(len, own))
        for place, rows in enumerate(own):
            kept[place].append(rows[:count])
    rng = np.random.default_rng(0)
    return [rng.permutation(np.concatenate(k)) if k else np.zeros(0, np.int64) for k in kept]


def _duplicates(watch: Recording) -> tuple[float, int]:
    """Return the fraction of validation examples that are, bit for bit, in the training sample."""
    train, held = (keys_of(s.inputs) for s in (watch.train, watch.validation.sample))
    if train is None or held is None:
        return 0.0, 0
    known = {key for key in train if key is not None}
    hits = [key in known for key in held]
    return (float(np.mean(hits)), len(hits)) if hits else (0.0, 0)
