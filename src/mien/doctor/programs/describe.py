"""The `Program` of a watched loop: what its structure, order, modes and schedule were."""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.doctor.facts import constant_recall, mean_recall
from mien.doctor.programs.bounds import bounds_of
from mien.doctor.programs.broadcast import broadcast_of
from mien.doctor.programs.causes import causes_of
from mien.doctor.programs.collapse import collapse_of
from mien.doctor.programs.columns import (
    distinct_fraction,
    input_columns,
    is_augmented,
    target_columns,
)
from mien.doctor.programs.constant import common_token_of, foreground_of
from mien.doctor.programs.contradictory import contradictory
from mien.doctor.programs.curves import boundaries_of
from mien.doctor.programs.examples import (
    nonfinite_targets,
    targets_are_inputs,
    targets_are_tokens,
)
from mien.doctor.programs.inspection import (
    BATCH_NORMS,
    DROPOUTS,
    NORMS,
    equal_rows,
    frozen_untrained,
    held_by,
    initial_norms,
    is_lazy,
    narrowest,
    scheduler_faults,
    schedulers_of,
    still_norms,
    unregistered,
    without_bias,
)
from mien.doctor.programs.label_order import labels_of
from mien.doctor.programs.leakage import leak_of
from mien.doctor.programs.lookahead import lookahead_of
from mien.doctor.programs.mixing import mixing_of
from mien.doctor.programs.omissions import omissions
from mien.doctor.programs.optimizers import has_separate_losses, held_twice
from mien.doctor.programs.program import Program
from mien.doctor.programs.progress import progress_of
from mien.doctor.programs.sample import digest
from mien.doctor.programs.settings import settings_of
from mien.doctor.programs.stochastic import repetition_of
from mien.doctor.programs.trees import features, is_tokens, tensors

if TYPE_CHECKING:
    from mien.doctor.evidence import Predictions
    from mien.doctor.programs.examine import Examination
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

NEARLY_ZERO = 0.1
"""Loss at the end over the chance-level loss that counts as learned, whatever the baseline."""
MARGIN = 0.015
"""Accuracy or R² that the network may lie below the baseline."""
BASELINE_KNOWS = 0.1
"""Accuracy above the most common class from which the baseline shows what the data allow."""


def describe(
    watch: Recording,
    task: Task,
    found: Examination,
    rates: tuple[float, ...],
    outputs: list[torch.Tensor] | None,
) -> Program:
    """Return the program's evidence; `outputs` are those of the kept training examples."""
    # A copy, since a report may be made in the middle of a training, and more than once.
    model, summary = watch.bare, copy(watch.outputs)
    # The measured steps are mostly early ones, where a sigmoid's outputs are all near 0.5.
    if watch.link is not None:
        for output, targets in zip(outputs or (), watch.train.targets, strict=False):
            summary.add(watch.link, output, targets)
    epochs = len(watch.boundaries) or (
        len(boundaries_of(watch)) if watch.order.epoch_length() else 0
    )
    trained = held_by(*watch.optimizers)
    named, schedulers = list(model.named_parameters()), schedulers_of(watch.optimizers)
    return Program(
        kind=task.kind,
        steps=watch.steps,
        optimizer_steps=watch.optimizer_steps,
        batch_size=int(np.median(watch.batch_sizes)) if watch.batch_sizes else 0,
        loss_name=watch.link.name if watch.link else _name(watch.criterion),
        outputs=summary.statistics(
            found.last_activation,
            # Units that are equal or dead end the outputs at a value, too.
            ()
            if found.is_plain
            else bounds_of(
                watch.link, outputs or (), watch.train.targets, (summary.low, summary.high)
            ),
        ),
        target_low=summary.target_low,
        target_high=summary.target_high,
        one_hot_targets=summary.batches > 0 and summary.one_hot,
        rates=rates,
        **_gradients(watch),
        settings=settings_of(watch),
        progress=progress_of(watch),
        causes=causes_of(watch, task, outputs),
        foreground=foreground_of(watch),
        common_token=common_token_of(watch),
        not_optimized=tuple(
            n for n, p in named if p.requires_grad and id(p) not in trained and _had(watch, n, p)
        ),
        held_twice=held_twice(watch),
        separate_losses=has_separate_losses(watch),
        total_parameters=len(named),
        frozen=frozen_untrained(model),
        unregistered=unregistered(model),
        without_gradient=tuple(
            n for n, p in named if p.requires_grad and watch.rows and not _had(watch, n, p)
        ),
        eval_mode_steps=watch.eval_mode_steps / max(1, watch.steps),
        train_mode_evaluations=watch.train_mode_evaluations,
        evaluations=watch.evaluations,
        validations=len(watch.boundaries),
        scheduler=scheduler_faults(schedulers, watch.steps, epochs),
        epochs=epochs,
        **_data(watch, task),
        same_direction=tuple(sorted(watch.equal_at_start & equal_rows(model))),
        weight_gain=watch.gains,
        consecutive_layers=tuple(found.consecutive),
        hidden_softmax=tuple(found.hidden_softmax),
        is_affine=found.is_affine,
        saturated=found.saturated,
        dropout={n: float(m.p) for n, m in model.named_modules() if isinstance(m, DROPOUTS)},
        dropout_loss_ratio=_mode_ratio(watch, task),
        batch_norms=tuple(n for n, m in model.named_modules() if isinstance(m, BATCH_NORMS)),
        shrunk_norms=_shrunk(watch),
        mixing=mixing_of(watch),
        repetition=repetition_of(watch),
        lookahead=lookahead_of(watch),
        collapse=collapse_of(watch, task, outputs),
        leak=leak_of(watch, task),
        broadcast=broadcast_of(watch),
        bias_free=without_bias(model),
        **labels_of(task),
        **_resources(watch),
        learned_well=_learned_well(watch, task),
        labels=task.labels,
        uniform=task.uniform,
        vocabulary=task.vocabulary,
        each=task.each,
        ignored=task.ignored,
        alignment=task.alignment,
        shifts_targets=None if watch.link is None else watch.link.shifts,
        reshaped=_reshaped(watch, found),
        losses=task.losses.get("train"),
        target_columns=target_columns(watch),
        narrowest=narrowest(model),
        plateau_mode=next((s.mode for s in schedulers if hasattr(s, "mode_worse")), "")
        or (watch.plateau.mode if watch.plateau else ""),
        still_norms=still_norms(model),
        initial_norms=tuple(
            n
            for n in initial_norms(model)
            # Without a gradient it was not part of the training.
            if _had(watch, f"{n}.weight", model.get_parameter(f"{n}.weight"))
        ),
        baseline_score=task.scores.get("baseline"),
        held_baseline=task.scores.get("held baseline"),
        validation_score=task.scores.get("validation"),
        train_score=task.scores.get("train"),
        notes=(*watch.notes, *omissions(watch, task)),
    )


def is_weighted(watch: Recording) -> bool:
    """Return whether the criterion weights classes."""
    weights = (getattr(watch.criterion, name, None) for name in ("weight", "pos_weight"))
    return any(weight is not None for weight in weights)


def _name(criterion: Any) -> str:
    return "" if criterion is None else getattr(criterion, "__name__", type(criterion).__name__)


def _had(watch: Recording, name: str, parameter: torch.nn.Parameter) -> bool:
    return name in watch.had_gradient or parameter.grad is not None


def _gradients(watch: Recording) -> dict[str, Any]:
    carried = [r.carried for r in watch.rows if r.carried is not None]
    clips = [r.clip for r in watch.rows if r.clip is not None and math.isfinite(r.clip)]
    return {
        "carried_gradients": float(np.mean(carried)) if carried else None,
        "discarded_passes": int(np.median([r.discarded for r in watch.rows])) if watch.rows else 0,
        "gradient_norms": tuple(r.norm for r in watch.rows if math.isfinite(r.norm)),
        "clip_ratio": float(np.median(clips)) if clips else None,
        "zero_gradients": float(np.median([r.zeros for r in watch.rows])) if watch.rows else 0.0,
        "first_update": _first_update(watch),
    }


def _first_update(watch: Recording) -> float | None:
    if not watch.rows or watch.rows[0].step > 0 or not watch.rows[0].layers:
        return None
    return float(np.median([update for *_, update in watch.rows[0].layers.values()]))


def _data(watch: Recording, task: Task) -> dict[str, Any]:
    parts = [features(s.inputs) for s in (watch.train, watch.validation.sample)]
    train, held = parts
    values: dict[str, Any] = {"input_shift": None, "nonfinite_inputs": 0.0}
    first = next(tensors(watch.train.inputs), None)
    if train is not None and len(train):
        values["nonfinite_inputs"] = float((~np.isfinite(train)).any(axis=1).mean())
    if first is None or is_tokens(first) or train is None or held is None or not len(held):
        pass
    elif train.shape[1] == held.shape[1] and np.isfinite(train).all():
        whole = max(float(train.std()), 1e-12)
        values["input_shift"] = abs(float(train.mean()) - float(np.nanmean(held))) / whole
        values["input_scale"] = float(np.nanstd(held)) / whole
    values["contradictory"], values["copied"] = contradictory(
        watch.train.inputs, watch.train.targets, task
    )
    values["nonfinite_targets"] = nonfinite_targets(watch.train)
    values["targets_are_inputs"] = targets_are_inputs(watch.train)
    values["has_targets"] = bool(watch.order.batches)
    values["tokens"] = targets_are_tokens(watch.train)
    values["images"] = first is not None and first.ndim > 3
    values["columns"] = input_columns(watch)
    values["distinct_inputs"] = distinct_fraction(watch)
    values["augmented"] = is_augmented(watch)
    values["varying_validation"] = watch.validation.varies
    values["class_runs"] = _class_runs(watch, task)
    keys = [digest(t) for t in watch.order.batches]
    length = watch.order.epoch_length()
    values["repeated_order"] = bool(length and len(set(keys[:length])) > 2)
    return values


def _class_runs(watch: Recording, task: Task) -> float | None:
    """Return how often neighbouring examples have equal labels, over random order."""
    if task.kind not in ("classification", "binary") or not watch.order.batches:
        return None
    length = watch.order.epoch_length() or min((b for b in watch.boundaries if b), default=0)
    labels = torch.cat([t.cpu().double() for t in watch.order.batches[: length or None]]).numpy()
    if len(labels) < 32 or len(np.unique(labels)) < 2:
        return None
    _, counts = np.unique(labels, return_counts=True)
    # The probability that two independent draws have the same class.
    expected = float(((counts / counts.sum()) ** 2).sum())
    return float((labels[1:] == labels[:-1]).mean()) / expected if expected < 0.95 else None


def _mode_ratio(watch: Recording, task: Task) -> float:
    """Return the last losses in training mode over the loss in evaluation mode."""
    # Many of the last steps, because single losses with dropout scatter.
    losses = [v for v in watch.known_losses() if math.isfinite(v)][-32:]
    if not losses or task.train is None or task.train.probs_nk is None:
        return 1.0
    rows = np.arange(len(task.train.y_true_n))
    own = task.train.probs_nk[rows, task.train.y_true_n]
    after = float(-np.log(np.maximum(own, 1e-12)).mean())
    return float(np.mean(losses)) / max(after * task.loss_scale, 1e-6)


def _shrunk(watch: Recording) -> dict[str, float]:
    """Return normalisation scales that weight decay, added up over the training, has shrunk."""
    decays = {
        id(p): float(g.get("weight_decay", 0) or 0)
        for o in watch.optimizers
        for g in o.param_groups
        for p in g["params"]
    }
    total = sum(watch.rates)
    found = {}
    for name, module in watch.bare.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, NORMS) and isinstance(weight, torch.Tensor) and not is_lazy(weight):
            scale = float(weight.detach().abs().mean())
            # Decay alone shrinks a weight to exp(-decay times the summed rates): 0.5 leaves 61%.
            if decays.get(id(weight), 0.0) * total > 0.5:
                found[name] = scale
    return found


def _resources(watch: Recording) -> dict[str, Any]:
    # The second half only: caches and workspaces fill up in the first steps of any loop.
    late = [(s, m) for s, m in watch.memory if s >= watch.steps / 2]
    steps, half = [s for s, _ in late], [m for _, m in late]
    growth = fraction = 0.0
    if len(half) >= 8 and half[0] > 0:
        order = np.corrcoef(steps, half)[0, 1] if np.std(half) > 0 else 0.0
        # Only a steady growth: caches grow in few jumps.
        if order > 0.97:
            growth, fraction = half[-1] - half[0], (half[-1] - half[0]) / half[0]
    # Without the first, which holds the start of the workers.
    pairs = [(w, t) for w, t in watch.waits[1:] if math.isfinite(w) and math.isfinite(t) and t > 0]
    return {
        "memory_growth_mb": growth,
        "memory_fraction": fraction,
        "wait_fraction": float(np.median([w / t for w, t in pairs])) if pairs else 0.0,
        "wait_seconds": float(np.median([w for w, _ in pairs])) if pairs else 0.0,
    }


def _learned_well(watch: Recording, task: Task) -> bool:
    """Return whether the network reaches what the data allow, as far as the baseline shows."""
    losses = watch.known_losses()[-16:]
    if losses and not math.isfinite(losses[-1]):
        return False
    low = bool(losses) and 0 <= float(np.median(losses)) < NEARLY_ZERO * task.chance
    # Not every loss is the squared error that R² judges: a quantile's or a margin's is not.
    own, other = task.losses.get("validation", task.losses.get("train", (math.nan, math.nan)))
    low = low or own <= other < (1 - BASELINE_KNOWS) * task.chance
    score, baseline = task.scores.get("validation"), task.scores.get("baseline validation")
    if score is None or baseline is None:
        score, baseline = task.scores.get("train"), task.scores.get("baseline")
    elif is_weighted(watch) and task.validation is not None:
        score, baseline = _recalls(task.validation)
    if score is None or baseline is None or math.isnan(score):
        return low
    if task.kind in ("dense classification", "multi-label"):
        return low or _as_good_as_baseline(watch, task)
    floor = 0.0
    if task.class_counts_k.sum() and task.train is not None:
        floor = float(task.class_counts_k.max() / task.class_counts_k.sum())
    if baseline < floor + BASELINE_KNOWS:
        return low
    return score >= baseline - MARGIN or own <= other < (1 - BASELINE_KNOWS) * task.chance


def _as_good_as_baseline(watch: Recording, task: Task) -> bool:
    """Return whether positions or labels are predicted as well as by the baseline.

    Both by the mean recall, since most of them may be of one class, and by the accuracy.
    """
    held = task.validation is not None and "baseline validation" in task.scores
    part = task.validation if held else task.train
    names = ("validation", "baseline validation") if held else ("train", "baseline")
    if part is None or part.probs_nk is None or not all(name in task.scores for name in names):
        return False
    network, baseline = _recalls(part)
    if network is None or baseline is None or baseline < constant_recall(part) + BASELINE_KNOWS:
        return False
    own, other = (task.scores[name] for name in names)
    return network >= baseline - MARGIN and (is_weighted(watch) or own >= other - MARGIN)


def _reshaped(watch: Recording, found: Examination) -> str:
    """Return how outputs of one position came to another, in words; '' where they did not."""
    if watch.link is None or not watch.link.reshaped or not watch.outputs.shape:
        return found.reshaped
    return watch.link.reshaped.format(n="n", k=watch.outputs.units)


def _recalls(part: Predictions) -> tuple[float | None, float | None]:
    """Return the mean recall of network and baseline, which class weights trade accuracy for."""
    if part.probs_nk is None or not len(part.baseline_nk):
        return None, None
    network, baseline = (mean_recall(part.y_true_n, s) for s in (part.probs_nk, part.baseline_nk))
    return network, baseline
