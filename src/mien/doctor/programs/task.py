"""What kind of task a watched loop learns, from its outputs, its targets and its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mien.doctor.evidence import Predictions
from mien.doctor.programs.baseline import MAX_FITTED, kernel_baseline
from mien.doctor.programs.optimizers import has_separate_losses
from mien.doctor.programs.trees import features, tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mien.doctor.programs.program import Kind
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.sample import Sample


@dataclass(slots=True)
class Split:
    """Outputs and targets of a kept sample: float64 [n, k], int64 [n] or float64 [n, j]."""

    outputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    rows: NDArray[np.float64] | None


@dataclass(slots=True)
class Task:
    """The task.

    Attributes:
        kind: see `Program`.
        names: of the classes; two placeholders where there are none.
        chance: loss of a constant prediction; nan where unknown.
        examples: training examples, as far as known.
        class_counts_k: of the kept training examples, float64 [k].
        train: predictions beside those of the baseline; None where the task has no classes.
        validation: the same.
        is_log_loss: whether the loss is the negative log-likelihood of the classes.
        scores: accuracy or R² by 'train', 'validation' and 'baseline'.
        losses: of a regression by split: the network's, and that of the baseline's predictions.
    """

    kind: Kind = "other"
    names: tuple[str, ...] = ("class 0", "class 1")
    chance: float = math.nan
    examples: int = 0
    class_counts_k: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    train: Predictions | None = None
    validation: Predictions | None = None
    is_log_loss: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)


def task_of(watch: Recording, outputs: Mapping[str, list[Tensor] | None]) -> Task:
    """Return the task, with the predictions of network and baseline on the kept examples."""
    task = Task(examples=watch.train.count)
    train = _split(watch.train, outputs["train"])
    validation = _split(watch.validation.sample, outputs["validation"])
    if train is None:
        task.chance = _first_loss(watch)
        return task
    task.kind = _kind(watch, train)
    if task.kind in ("classification", "binary"):
        _classes(watch, task, train, validation)
    elif task.kind == "regression":
        _values(watch, task, train, validation)
    if math.isnan(task.chance):
        task.chance = _first_loss(watch)
    return task


def _first_loss(watch: Recording) -> float:
    return next((v for v in watch.known_losses() if math.isfinite(v)), math.nan)


def _split(sample: Sample, outputs: list[Tensor] | None) -> Split | None:
    found = [next((t for t in tensors(x)), None) for x in sample.targets]
    if outputs is None or not found or any(t is None or t.ndim == 0 for t in found):
        return None
    known = [t.cpu() for t in found if t is not None]
    if any(o.ndim == 0 or len(o) != len(t) for o, t in zip(outputs, known, strict=True)):
        return None
    if any(o.ndim > 2 or t.ndim > 2 for o, t in zip(outputs, known, strict=True)):
        return None
    targets = torch.cat([t.reshape(len(t), -1) for t in known]).double().numpy()
    values = torch.cat([o.reshape(len(o), -1) for o in outputs]).double().numpy()
    inputs = features(sample.inputs)
    if inputs is not None:
        # A small data set is seen several times: each example must count once.
        keys = [r.tobytes() + t.tobytes() for r, t in zip(inputs, targets, strict=True)]
        first = np.unique(keys, return_index=True)[1] if keys else np.zeros(0, int)
        kept = np.sort(first)
        # The kept examples may be in the order of their classes; the baseline takes a part.
        kept = np.random.default_rng(0).permutation(kept)
        values, targets, inputs = values[kept], targets[kept], inputs[kept]
    return Split(values, targets, inputs)


def _kind(watch: Recording, split: Split) -> Kind:
    first = next(tensors(watch.train.targets))
    units, columns = split.outputs.shape[1], split.targets.shape[1]
    whole = bool((split.targets == np.round(split.targets)).all())
    binary = bool(np.isin(split.targets, (0.0, 1.0)).all())
    name = (watch.link.name if watch.link else _criterion_name(watch)).lower().replace("_", "")
    # A generator's targets are all 1: what it learns is not in them.
    if has_separate_losses(watch) and bool((split.targets == split.targets[:1]).all()):
        return "other"
    probabilistic = any(part in name for part in ("cross", "bce", "nll", "margin", "focal"))
    if not first.is_floating_point() and columns == 1 and units > 1 and whole:
        # Labels beyond the outputs, such as an ignored -100, are no classes.
        inside = split.targets.min(initial=0) >= 0 and split.targets.max(initial=0) < units
        return "classification" if inside else "other"
    # One-hot targets; rows with several ones would be a multi-label task.
    if binary and columns == units > 1 and bool((split.targets.sum(axis=1) == 1).all()):
        return "classification"
    # Targets that are all 0 belong to a loss without labels, such as a residual's.
    both = not first.is_floating_point() or len(np.unique(split.targets)) == 2
    if binary and columns == 1 and units == 1 and (probabilistic or (not name and both)):
        return "binary"
    # Targets that are all equal have no variance to explain: they stand for a loss without any.
    if columns == units and not probabilistic and np.ptp(split.targets, axis=0).any():
        return "regression"
    return "other"


def _criterion_name(watch: Recording) -> str:
    if watch.criterion is None:
        return ""
    return getattr(watch.criterion, "__name__", type(watch.criterion).__name__)


def _is_log_loss(watch: Recording) -> bool:
    name = (watch.link.name if watch.link else _criterion_name(watch)).lower().replace("_", "")
    return any(part in name for part in ("crossentropy", "bce", "nll"))


def _labels(split: Split) -> NDArray[np.int64]:
    many = split.targets.shape[1] > 1
    return split.targets.argmax(axis=1) if many else split.targets[:, 0].astype(np.int64)


def _probabilities(split: Split, kind: Kind, bounded: bool) -> NDArray[np.float64] | None:
    logits = split.outputs
    if not np.isfinite(logits).all():
        return None
    if kind == "binary":
        # Outputs within 0 and 1 have gone through a sigmoid already. Clipped: exp overflows above
        # 709.
        one = logits if bounded else 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return np.concatenate([1 - one, one], axis=1)
    # Subtracting the maximum keeps exp from overflowing.
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
    return probs


def _classes(watch: Recording, task: Task, train: Split, validation: Split | None) -> None:
    k = 2 if task.kind == "binary" else train.outputs.shape[1]
    names = watch.classes if watch.classes and len(watch.classes) == k else None
    task.names = names or tuple(f"class {i}" for i in range(k))
    labels = _labels(train)
    counts = np.bincount(labels, minlength=k).astype(np.float64)
    task.class_counts_k = counts
    prior = counts / max(1, counts.sum())
    task.is_log_loss = _is_log_loss(watch)
    if task.is_log_loss:
        # The entropy of the labels is the log loss of the best constant prediction.
        task.chance = max(1e-3, float(-(prior[prior > 0] * np.log(prior[prior > 0])).sum()))
        # Balancing weights make the classes equally likely: the log of their number.
        if getattr(watch.criterion, "weight", None) is not None:
            task.chance = math.log(k)
    bounded = bool(train.outputs.min() >= 0 and train.outputs.max() <= 1)
    known = _labels(validation) if validation is not None else np.zeros(0, np.int64)
    left_out, other = _baseline(train, np.eye(k)[labels], validation, k)
    # The baseline is fitted on a part: what is judged beside it is the same part.
    part = len(left_out) or len(labels)
    train = Split(train.outputs[:part], train.targets[:part], None)
    labels = labels[:part]
    task.train = Predictions(labels, _probabilities(train, task.kind, bounded), left_out)
    if validation is not None:
        probs = _probabilities(validation, task.kind, bounded)
        task.validation = Predictions(known, probs, other)
    for name, p in (("train", task.train), ("validation", task.validation)):
        if p is not None and p.probs_nk is not None and len(p.y_true_n):
            task.scores[name] = float((p.probs_nk.argmax(axis=1) == p.y_true_n).mean())
    if len(left_out):
        task.scores["baseline"] = float((left_out.argmax(axis=1) == labels).mean())
        if len(known) and len(other):
            task.scores["baseline validation"] = float((other.argmax(axis=1) == known).mean())


def _baseline(
    train: Split, targets_nk: NDArray[np.float64], validation: Split | None, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the baseline's scores on the first MAX_FITTED training and all validation rows."""
    n = min(MAX_FITTED, len(train.outputs))
    other = validation.rows if validation is not None else None
    if (
        train.rows is None
        or n < 10
        # An autoencoder's: copying the inputs is no task.
        or np.array_equal(train.rows, targets_nk)
        or (other is not None and other.shape[1] != train.rows.shape[1])
    ):
        return np.zeros((0, k)), np.zeros((0, k))
    if other is None:
        other = train.rows[:0]
    return kernel_baseline(train.rows[:n], targets_nk[:n], other)


def _values(watch: Recording, task: Task, train: Split, validation: Split | None) -> None:
    # Of training, for validation too: a constant prediction knows no validation target.
    centre = train.targets.mean(axis=0)
    if watch.link is not None:
        shape = watch.outputs.target_shape[1:]
        wanted = torch.from_numpy(train.targets).float().reshape(-1, *shape)
        constant = torch.from_numpy(np.broadcast_to(centre, train.targets.shape).copy())
        try:
            task.chance = float(
                watch.link.criterion(constant.float().reshape(wanted.shape), wanted)
            )
        except (RuntimeError, TypeError, ValueError):
            task.chance = math.nan
    left_out, other = _baseline(train, train.targets, validation, train.targets.shape[1])
    if len(left_out):
        task.scores["baseline"] = _r2(train.targets[: len(left_out)], left_out, centre)
    task.scores["train"] = _r2(train.targets, train.outputs, centre)
    if validation is not None and len(validation.targets):
        task.scores["validation"] = _r2(validation.targets, validation.outputs, centre)
        if len(other):
            task.scores["baseline validation"] = _r2(validation.targets, other, centre)
    for name, split, values in (("train", train, left_out), ("validation", validation, other)):
        losses = None if split is None or not len(values) else _losses(watch, split, values)
        if losses is not None:
            task.losses[name] = losses


def _losses(
    watch: Recording, split: Split, baseline: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Return the loss of the network's outputs and of a baseline's, of the same examples."""
    link, n = watch.link, len(baseline)
    if link is None:
        return None
    wanted = torch.from_numpy(split.targets[:n]).float().reshape(n, *watch.outputs.target_shape[1:])
    outputs = torch.from_numpy(split.outputs[:n]).float()
    try:
        own = link.criterion(link.transform(outputs).reshape(wanted.shape), wanted)
        other = link.criterion(torch.from_numpy(baseline).float().reshape(wanted.shape), wanted)
        found = float(own.mean()), float(other.mean())
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None
    return found if np.isfinite(found).all() else None


def _r2(
    y: NDArray[np.float64], predicted: NDArray[np.float64], centre: NDArray[np.float64]
) -> float:
    """Return the fraction of the squared deviation from the training mean that is explained."""
    if y.shape != predicted.shape or not np.isfinite(predicted).all():
        return math.nan
    return 1 - float(((y - predicted) ** 2).sum() / max(float(((y - centre) ** 2).sum()), 1e-12))
