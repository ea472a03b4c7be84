"""Losses, rates and measured steps of a watched loop, by epoch as mien's own runs have them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.train.loop.signals import EpochSignals, LayerSignals, StartSignals, condense
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from mien.doctor.programs.examine import Examination
    from mien.doctor.programs.probe import StepRow
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

SEGMENTS = 10
"""Parts that a loop without known epochs is divided into."""
MIN_SEGMENT = 8
"""Steps of such a part, at least."""
LEARNT = 0.1
"""Loss over the chance-level loss below which a step's effect on the loss is noise."""
MAX_RATES = 512


def boundaries_of(watch: Recording) -> list[int]:
    """Return the step after the end of each epoch."""
    known = [b for b in watch.boundaries if b > 0]
    # A loop that never validates shows its epochs by batches that come again.
    length = watch.order.epoch_length() if not known else 0
    if length:
        known = list(range(length, watch.steps + 1, length))
    if not known:
        parts = max(1, min(SEGMENTS, watch.steps // MIN_SEGMENT))
        known = [round(watch.steps * (i + 1) / parts) for i in range(parts)]
    return known if not known or known[-1] >= watch.steps else [*known, watch.steps]


def epochs_of(watch: Recording, task: Task, found: Examination) -> list[EpochSignals]:
    """Return the signals of each epoch."""
    losses = watch.known_losses()
    # Losses may be missing where the loop passed None.
    complete = len(losses) == watch.steps
    signals: list[EpochSignals] = []
    begin = 0
    for number, end in enumerate(boundaries_of(watch), 1):
        rows = [r for r in watch.rows if begin <= r.step < end]
        part = losses[begin:end] if complete else (losses if number == 1 else [])
        signals.append(_epoch(watch, number, (begin, end), rows, part, task))
        begin = end
    if signals:
        # The network is examined once, at the end: units that are stuck now are dead.
        signals[-1] = replace(signals[-1], stuck=found.stuck)
    return signals


def _epoch(
    watch: Recording, number: int, span: tuple[int, int], rows: list[StepRow], losses: list[float],
    task: Task,
) -> EpochSignals:  # fmt: skip
    means, peaks = condense(losses)
    scale = max(1.0, task.chance) if math.isfinite(task.chance) else 1.0
    useful = [
        r
        for r in rows
        if r.change is not None
        and math.isfinite(r.change)
        and math.isfinite(r.predicted)
        and not r.loss < LEARNT * task.chance
    ]
    predicted = sum(r.predicted for r in useful)
    changes = [r.change for r in useful if r.change is not None]
    # A gradient scales with its loss: a regression's may be in the thousands.
    norms = [r.norm / scale for r in rows if math.isfinite(r.norm)]
    return EpochSignals(
        epoch=number,
        lr=max(watch.rates[slice(*span)], default=0.0),
        losses=means,
        peaks=peaks,
        measured=len(rows),
        # A sum over steps, since the ratio of a single step is noise where its prediction is near
        # 0.
        gain=_six(sum(changes) / predicted) if predicted < 0 else None,
        worse=float(np.mean([not d <= 0 for d in changes])) if changes else 0.0,
        gradient_norm=_six(float(np.median(norms))) if norms else None,
        layers=_layers(rows),
        start=_start(watch, scale) if number == 1 else None,
    )


def _layers(rows: list[StepRow]) -> dict[str, LayerSignals]:
    found = {}
    for name in rows[0].layers if rows else {}:
        values = np.array([r.layers[name] for r in rows if name in r.layers])
        # The median, so that one bad batch does not decide.
        middle = np.median(values, axis=0)
        if np.isfinite(middle).all():
            found[name] = LayerSignals(*(float(v) for v in middle))
    return found


def _start(watch: Recording, scale: float) -> StartSignals | None:
    if not watch.rows or watch.rows[0].step > 0:
        return None
    row = watch.rows[0]
    ratios = {n: v for n, v in row.ratios.items() if math.isfinite(v)}
    norm = row.norm / scale
    return StartSignals(
        row.loss if math.isfinite(row.loss) else None,
        norm if math.isfinite(norm) else None,
        ratios,
    )


def _six(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def history_of(watch: Recording, signals: list[EpochSignals], task: Task) -> list[EpochMetrics]:
    """Return the metrics of the validated epochs; the training ones of the last weights only."""
    epochs = watch.validation.epochs
    # Boundaries at step 0 come from a validation before the training.
    scored = {b: e for b, e in zip(watch.boundaries, epochs, strict=True) if b > 0 and e.n}
    ends = dict(zip(boundaries_of(watch), signals, strict=True))
    history = []
    for end, score in scored.items():
        epoch = ends.get(end)
        if epoch is None:
            continue
        # Regression has no accuracy.
        accuracy = score.right / score.n if score.scored else math.nan
        history.append(
            EpochMetrics(
                epoch=epoch.epoch,
                lr=epoch.lr,
                loss=float(np.mean(epoch.losses)) if epoch.losses else math.nan,
                train_loss=math.nan,
                train_accuracy=math.nan,
                validation_loss=score.loss / score.n,
                validation_accuracy=accuracy,
                validation_n=max(watch.validation.count, score.n),
                gap=math.nan,
                seconds=0.0,
                images_per_second=0.0,
            )
        )
    return _with_training(watch, history, task)


def _with_training(watch: Recording, history: list[EpochMetrics], task: Task) -> list[EpochMetrics]:
    if not history or task.train is None or task.train.probs_nk is None:
        return history
    train, last = task.scores.get("train", math.nan), history[-1]
    held = task.scores.get("validation", last.validation_accuracy)
    rows = np.arange(len(task.train.y_true_n))
    probs = task.train.probs_nk[rows, task.train.y_true_n]
    loss = float(-np.log(np.maximum(probs, 1e-12)).mean()) if task.is_log_loss else math.nan
    loss *= task.loss_scale
    history[-1] = replace(
        last, train_loss=loss, train_accuracy=train, validation_accuracy=held, gap=train - held
    )
    return history


def condensed_rates(rates: list[float]) -> tuple[float, ...]:
    """Return up to MAX_RATES of the rates, evenly spaced, the last one included."""
    if len(rates) <= MAX_RATES:
        return tuple(rates)
    places = np.linspace(0, len(rates) - 1, MAX_RATES).round().astype(int)
    return tuple(rates[i] for i in places)
