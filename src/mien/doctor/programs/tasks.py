"""What kind of task a watched loop learns, from its outputs, its targets and its loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.doctor.evidence import Predictions
from mien.doctor.programs.alignment import alignment_of
from mien.doctor.programs.examples import targets_are_inputs
from mien.doctor.programs.fits import fit_of
from mien.doctor.programs.lookahead import predicts_next
from mien.doctor.programs.optimizers import has_separate_losses
from mien.doctor.programs.reduction import loss_scale
from mien.doctor.programs.several import constant_losses, judge_labels, sigmoid
from mien.doctor.programs.split import Split
from mien.doctor.programs.splits import baseline_scores, split_of
from mien.doctor.programs.task import Task
from mien.doctor.programs.trees import is_tokens, tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mien.doctor.programs.program import Kind
    from mien.doctor.programs.recording import Recording


SEVERAL = ("bce", "multilabel", "focal", "asymmetric")
"""Parts of the names of losses for several labels at once."""
SQUARED = ("mse", "l1loss", "huber")
MAX_CLASSES = 64
"""Classes of a position up to which each counts: more are tokens or codes."""


def task_of(watch: Recording, outputs: Mapping[str, list[Tensor] | None]) -> Task:
    """Return the task, with the predictions of network and baseline on the kept examples."""
    task = Task(examples=watch.train.count)
    train = split_of(watch, watch.train, outputs["train"])
    validation = split_of(watch, watch.validation.sample, outputs["validation"])
    if train is not None and len(train.outputs):
        if validation is not None and validation.is_dense != train.is_dense:
            validation = None
        task.kind = _kind(watch, train)
        task.each, task.ignored = train.each, train.ignored
        task.loss_scale = loss_scale(watch, outputs["train"], train)
        if task.kind in ("classification", "binary", "dense classification"):
            _classes(watch, task, train, validation)
        elif task.kind == "multi-label":
            judge_labels(watch, task, train, validation)
        elif task.kind == "regression":
            _values(watch, task, train, validation)
    task.chance = _chance(watch, task)
    return task


def _chance(watch: Recording, task: Task) -> float:
    """Return the loss of a constant prediction; without one, of the first step.

    A critic's loss or the negative log-likelihood of a density has no zero, so that no factor of it
    says anything.
    """
    losses = [v for v in watch.known_losses() if math.isfinite(v)]
    chance = task.chance
    if math.isnan(chance):
        chance = losses[0] if losses else math.nan
    return chance if chance > 0 and min(losses, default=0.0) >= 0 else math.nan


def _kind(watch: Recording, split: Split) -> Kind:
    first = next(tensors(watch.train.targets))
    units, columns = split.outputs.shape[1], split.targets.shape[1]
    whole = bool((split.targets == np.round(split.targets)).all())
    binary = bool(np.isin(split.targets, (0.0, 1.0)).all())
    name = _loss_name(watch)
    # A generator's targets are all 1: what it learns is not in them.
    if has_separate_losses(watch) and bool((split.targets == split.targets[:1]).all()):
        return "other"
    probabilistic = any(part in name for part in ("cross", "bce", "nll", "margin", "focal"))
    if split.is_dense:
        return _dense_kind(watch, split, name, binary=binary)
    if not first.is_floating_point() and columns == 1 and units > 1 and whole:
        # Labels beyond the outputs, such as an ignored -100, are no classes.
        inside = split.targets.min(initial=0) >= 0 and split.targets.max(initial=0) < units
        return "classification" if inside else "other"
    if binary and columns == units > 1:
        # One-hot targets; rows with several ones are a multi-label task.
        if bool((split.targets.sum(axis=1) == 1).all()):
            return "classification"
        # An autoencoder's of black and white images copies its inputs.
        if any(part in name for part in SEVERAL) and not targets_are_inputs(watch.train):
            return "multi-label"
    return _kind_of_values(watch, split, name, probabilistic=probabilistic)


def _kind_of_values(watch: Recording, split: Split, name: str, *, probabilistic: bool) -> Kind:
    """Return the task of targets that are no classes of several outputs."""
    first = next(tensors(watch.train.targets))
    units, columns = split.outputs.shape[1], split.targets.shape[1]
    binary = bool(np.isin(split.targets, (0.0, 1.0)).all())
    # Targets that are all 0 belong to a loss without labels, such as a residual's.
    both = not first.is_floating_point() or len(np.unique(split.targets)) == 2
    if binary and columns == 1 and units == 1 and (probabilistic or (not name and both)):
        return "binary"
    # Targets that are all equal have no variance to explain: they stand for a loss without any.
    if columns == units and not probabilistic and np.ptp(split.targets, axis=0).any():
        return "regression"
    return "other"


def _dense_kind(watch: Recording, split: Split, name: str, *, binary: bool) -> Kind:
    """Return the task of outputs with a value for each position."""
    units, columns = split.outputs.shape[1], split.targets.shape[1]
    if units > 1 and columns == 1:
        return "dense classification"
    # Of values the rules for regressions need whole examples.
    if not binary or any(part in name for part in SQUARED) or targets_are_inputs(watch.train):
        return "other"
    if columns > 1 and bool((split.targets.sum(axis=1) == 1).all()) and "bce" not in name:
        return "dense classification"
    return "multi-label" if columns > 1 else "dense classification"


def _loss_name(watch: Recording) -> str:
    """Return the loss's class or function, in small letters without '_'; '' if unknown."""
    criterion = watch.criterion
    if watch.link is not None:
        found = watch.link.name
    elif criterion is None:
        return ""
    else:
        found = getattr(criterion, "__name__", type(criterion).__name__)
    return found.lower().replace("_", "").replace("binarycrossentropy", "bce")


def _ids(watch: Recording) -> float:
    """Return the ids of the largest embedding; infinity where inputs are no token ids."""
    first = next(tensors(watch.train.inputs), None)
    if first is None or not is_tokens(first):
        return math.inf
    found = [m.num_embeddings for m in watch.bare.modules() if isinstance(m, nn.Embedding)]
    return max(found, default=math.inf)


def _is_log_loss(watch: Recording) -> bool:
    name = _loss_name(watch)
    return any(part in name for part in ("crossentropy", "bce", "nll"))


def _labels(split: Split) -> NDArray[np.int64]:
    many = split.targets.shape[1] > 1
    return split.targets.argmax(axis=1) if many else split.targets[:, 0].astype(np.int64)


def _probabilities(split: Split, bounded: bool) -> NDArray[np.float64] | None:
    logits = split.outputs
    if not np.isfinite(logits).all():
        return None
    if logits.shape[1] == 1:
        one = sigmoid(logits, bounded)
        return np.concatenate([1 - one, one], axis=1)
    # Subtracting the maximum keeps exp from overflowing.
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
    return probs


def _classes(watch: Recording, task: Task, train: Split, validation: Split | None) -> None:
    k = max(2, train.outputs.shape[1])
    names = watch.classes if watch.classes and len(watch.classes) == k else None
    mask = train.is_dense and train.outputs.shape[1] == 1
    usual = ("background", "foreground") if mask else tuple(f"class {i}" for i in range(k))
    task.names = names or usual
    labels = _labels(train)
    counts = np.bincount(labels, minlength=k).astype(np.float64)
    if train.counts_k is not None and train.targets.shape[1] == 1:
        counts = train.counts_k  # of all positions, not of the sampled ones alone
    task.class_counts_k = counts
    prior = counts / max(1, counts.sum())
    tokens = k > MAX_CLASSES or k >= _ids(watch) or predicts_next(watch.train)
    task.vocabulary = train.is_dense and tokens
    if task.vocabulary or targets_are_inputs(watch.train):
        train.rows = None  # what lies around a position is no baseline: it may be the target
    task.is_log_loss = _is_log_loss(watch)
    if task.is_log_loss:
        one_hot = train.targets.shape[1] > 1
        chance, uniform = _constant_losses(watch, prior, one_hot=one_hot)
        task.chance, task.uniform = chance * task.loss_scale, uniform * task.loss_scale
    bounded = bool(train.outputs.min() >= 0 and train.outputs.max() <= 1)
    known = _labels(validation) if validation is not None else np.zeros(0, np.int64)
    left_out, other = baseline_scores(train, np.eye(k)[labels], validation, k)
    task.alignment = alignment_of(train, prior)
    # The baseline is fitted on a part: what is judged beside it is the same part.
    part = len(left_out) or len(labels)
    part_of_train = Split(train.outputs[:part], train.targets[:part], None)
    labels = labels[:part]
    constant = prior if train.is_dense else None
    task.train = Predictions(
        labels, _probabilities(part_of_train, bounded), left_out, _repeated(constant, part)
    )
    if validation is not None:
        probs = _probabilities(validation, bounded)
        task.validation = Predictions(known, probs, other, _repeated(constant, len(known)))
    task.add_accuracies()


def _constant_losses(
    watch: Recording, prior: NDArray[np.float64], *, one_hot: bool
) -> tuple[float, float]:
    """Return the log loss of the best constant prediction, and of equal probabilities."""
    if "bce" in _loss_name(watch):
        # Of one-hot targets each class is a decision of its own.
        chance, uniform = constant_losses(watch, prior if one_hot else prior[1:])
        return max(1e-3, chance), uniform
    # Balancing weights make the classes equally likely: the log of their number.
    if getattr(watch.criterion, "weight", None) is not None:
        return math.log(len(prior)), math.log(len(prior))
    entropy = float(-(prior[prior > 0] * np.log(prior[prior > 0])).sum())
    return max(1e-3, entropy), math.log(len(prior))


def _repeated(row: NDArray[np.float64] | None, count: int) -> NDArray[np.float64] | None:
    return None if row is None else np.broadcast_to(row, (count, len(row)))


def _values(watch: Recording, task: Task, train: Split, validation: Split | None) -> None:
    # Of training, for validation too: a constant prediction knows no validation target.
    centre = train.targets.mean(axis=0)
    if watch.link is not None:
        shape = watch.outputs.target_shape[1:]
        wanted = torch.from_numpy(train.targets).float().reshape(-1, *shape)
        constant = torch.from_numpy(np.broadcast_to(centre, train.targets.shape).copy())
        try:
            value = watch.link.criterion(_as_predictions(watch, constant.float(), wanted), wanted)
            task.chance = float(torch.as_tensor(value).mean())
            if task.loss_scale > 1:  # a sum, of all kept examples
                task.chance *= task.loss_scale / train.targets.size
        except Exception:  # noqa: BLE001 - the user's criterion may raise any
            task.chance = math.nan
    left_out, other = baseline_scores(train, train.targets, validation, train.targets.shape[1])
    if len(left_out):
        task.scores["baseline"] = _r2(train.targets[: len(left_out)], left_out, centre)
    task.scores["train"] = _r2(train.targets, train.outputs, centre)
    if validation is not None and len(validation.targets):
        task.scores["validation"] = _r2(validation.targets, validation.outputs, centre)
        if len(other):
            task.scores["baseline validation"] = _r2(validation.targets, other, centre)
            task.fit = fit_of(
                task.scores["train"], validation.targets, validation.outputs, other, centre
            )
            task.scores["held baseline"] = _held_baseline(validation)
    for name, split, values in (("train", train, left_out), ("validation", validation, other)):
        losses = None if split is None or not len(values) else _losses(watch, split, values)
        if losses is not None:
            task.losses[name] = losses


def _held_baseline(validation: Split) -> float:
    """Return the R² of a baseline that is fitted on validation, for each example without it."""
    fitted, _ = baseline_scores(validation, validation.targets, None, validation.targets.shape[1])
    known = validation.targets[: len(fitted)]
    return _r2(known, fitted, known.mean(axis=0)) if len(fitted) else math.nan


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
        own = link.criterion(_as_predictions(watch, link.transform(outputs), wanted), wanted)
        values = torch.from_numpy(baseline).float()
        other = link.criterion(_as_predictions(watch, values, wanted), wanted)
        found = float(own.mean()), float(other.mean())
    except Exception:  # noqa: BLE001 - the user's criterion may raise any
        return None
    return found if np.isfinite(found).all() else None


def _as_predictions(watch: Recording, values: Tensor, wanted: Tensor) -> Tensor:
    """Return values in the shape of the predictions, which a criterion may squeeze itself."""
    shape = (len(wanted), *watch.outputs.shape[1:])
    return values.reshape(shape if math.prod(shape) == values.numel() else wanted.shape)


def _r2(
    y: NDArray[np.float64], predicted: NDArray[np.float64], centre: NDArray[np.float64]
) -> float:
    """Return the fraction of the squared deviation from the training mean that is explained."""
    if y.shape != predicted.shape or not np.isfinite(predicted).all():
        return math.nan
    return 1 - float(((y - predicted) ** 2).sum() / max(float(((y - centre) ** 2).sum()), 1e-12))
