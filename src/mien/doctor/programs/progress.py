"""What a watched training came to: weights that return, few examples, models that lag behind.

Read for the report, from kept examples and losses; only the weights around the end of an epoch are
copied while the loop runs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.doctor.programs.inspection import held_by, is_lazy, root_mean_square
from mien.doctor.programs.measurements import Course, Lag, Progress, Reset
from mien.doctor.programs.probe import untouched
from mien.doctor.programs.settings import criterion_setting
from mien.doctor.programs.trees import map_tensors, rows, tensors

if TYPE_CHECKING:
    from typing import Any

    from mien.doctor.programs.link import Link
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.sample import Sample

JUMP = 0.3
"""Change of the weights around the end of an epoch, over their size, that one step cannot make."""
MAX_JUMPS = 16
"""Ends of epochs around which weights are copied."""
MIN_RESETS = 2
MOST = 0.8
"""Fraction of the epochs' ends that must show a jump."""
TRACKED, TRACKED_ENTRIES = 3, 2048
MIN_STEPS = 20


def fingerprint(model: nn.Module) -> Tensor | None:
    """Return a copy of the first entries of the smallest trainable weights, all in one row.

    Returns:
        None if there are none.
    """
    small = sorted(
        (p for p in model.parameters() if p.requires_grad and not is_lazy(p) and p.ndim > 1),
        key=lambda p: p.numel(),
    )[:TRACKED]
    # A model may be spread over several devices.
    parts = [p.detach().reshape(-1)[:TRACKED_ENTRIES] for p in small if p.device == small[0].device]
    return torch.cat(parts) if parts else None


def jump(before: Tensor, after: Tensor) -> float:
    """Return the norm of the change of two fingerprints over that of the first."""
    if before.shape != after.shape:
        return 0.0
    first, second = before.double(), after.double()
    return float((second - first).norm() / max(float(first.norm()), 1e-12))


def progress_of(watch: Recording) -> Progress:
    """Return what a watched training came to."""
    losses = watch.known_losses()
    return Progress(
        reset=_reset(watch, losses),
        distinct=_distinct_in_epoch(watch),
        same_batch=_same_batch(watch.train),
        validation=len(_keys(watch.validation.sample)),
        stuck_at_zero=_stuck_at_zero(watch),
        lag=_lag(watch, losses),
        uniform_loss=_uniform_loss(watch),
        first_loss=float(np.min(losses[:3])) if losses else math.nan,
        last_loss=float(np.median(losses[-16:])) if losses else math.nan,
        course=_course(watch, losses),
    )


def _course(watch: Recording, losses: list[float]) -> Course | None:
    """Return how far the steps could bring the loss, and whether it was still falling."""
    values = np.array(losses)
    # Of a loss that changes sign a fraction says nothing.
    if len(values) < MIN_STEPS or not np.isfinite(values).all() or not values.min() > 0:
        return None
    steps = [
        -row.predicted / row.loss
        for row in watch.rows
        if row.loss > 0 and math.isfinite(row.predicted)
    ]
    if not steps:
        return None
    changes = [abs(row.change) / row.loss for row in watch.rows if row.change and row.loss > 0]
    last = values[len(values) // 2 :]
    place = np.arange(len(last)) - (len(last) - 1) / 2
    slope = float(place @ last / (place @ place))
    error = last - last.mean() - slope * place
    spread = float(np.sqrt(error @ error / max(1, len(last) - 2) / (place @ place)))
    return Course(
        reach=float(np.median(steps)) * len(values),
        fall=-slope * len(last) / float(last.mean()),
        certainty=-slope / max(spread, 1e-12),
        kept=float(np.mean(values[-8:]) / np.mean(values[:3])),
        moved=max(changes, default=math.inf) * len(values),
    )


def _reset(watch: Recording, losses: list[float]) -> Reset | None:
    """Return how weights and losses jump at the ends of epochs; None unless most show both.

    The loss alone also rises where the data are in order, the weights alone where an average of
    them is validated.
    """
    ends = [(step, jump(*pair)) for step, *pair in watch.jumps if 0 < step < len(losses)]
    far = [(step, size) for step, size in ends if size > JUMP]
    if len(far) < max(MIN_RESETS, MOST * len(ends)):
        return None
    # A quarter of an epoch at most: the loss falls within it.
    width = max(1, min(4, min(step for step, _ in far) // 4))
    pairs = [
        (np.mean(losses[step - width : step]), np.mean(losses[step : step + width]))
        for step, _ in far
    ]
    before, after = (float(np.mean([pair[i] for pair in pairs])) for i in range(2))
    first = float(np.mean(losses[:width]))
    rises = float(np.mean([b > a for a, b in pairs]))
    if not first > before or after - before < 0.5 * (first - before) or rises < MOST:
        return None
    return Reset(len(far), float(np.median([size for _, size in far])), before, after, first)


def _keys(sample: Sample) -> set[bytes]:
    """Return the distinct examples of a sample, as the bytes of their first tensor."""
    found: set[bytes] = set()
    for batch in sample.inputs:
        first = next((t for t in tensors(batch) if t.ndim), None)
        if first is None or first.is_sparse:
            return set()
        flat = first.detach().reshape(len(first), -1).cpu()
        found |= {row.tobytes() for row in flat.double().numpy()}
    return found


def _distinct_in_epoch(watch: Recording) -> int:
    """Return the distinct examples of the first epoch, if it is over and was kept as a whole."""
    ended = bool(watch.boundaries and watch.boundaries[-1] > watch.boundaries[0] >= 0)
    if not ended or watch.train.is_full:
        return 0
    return len(_keys(watch.train))


def _same_batch(sample: Sample) -> bool:
    batches = [next(tensors(batch), None) for batch in sample.inputs]
    first = batches[0] if batches else None
    # The last one may have been cut to what is kept.
    known = batches[:-1]
    return (
        first is not None
        and len(known) >= MIN_STEPS
        and all(b is not None and b.shape == first.shape and torch.equal(b, first) for b in known)
    )


def _stuck_at_zero(watch: Recording) -> tuple[str, ...]:
    held = held_by(*watch.optimizers)
    if watch.steps < MIN_STEPS or not watch.optimizer_steps:
        return ()
    return tuple(
        name
        for name, p in watch.bare.named_parameters()
        if p.requires_grad and not is_lazy(p) and p.ndim > 1 and id(p) in held
        and watch.initial.get(name) == 0 and root_mean_square(p) == 0
        and (name in watch.had_gradient or p.grad is not None)
    )  # fmt: skip


def _batch(watch: Recording) -> tuple[Any, Any, Link] | None:
    """Return a kept training batch and how its loss is computed; None if there is none."""
    if watch.link is None or not watch.train.inputs or not rows(watch.train.inputs[0]):
        return None
    return watch.train.inputs[0], watch.train.targets[0], watch.link


def _lag(watch: Recording, losses: list[float]) -> Lag | None:
    other, found = watch.other, _batch(watch)
    if other is None or found is None or not losses:
        return None
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (watch.bare, other)]
    if shapes[0] != shapes[1]:
        return None  # another network by design, such as a teacher
    both = [_loss(watch, model, found) for model in (watch.bare, other)]
    if both[0] is None or both[1] is None:
        return None
    return Lag(float(np.mean(losses[:3])), both[0], both[1])


def _loss(watch: Recording, model: nn.Module, found: tuple[Any, Any, Link]) -> float | None:
    inputs, targets, link = found
    watch.is_busy = True
    try:
        with untouched(model, watch.device):
            output = watch.predict(model, map_tensors(inputs, lambda t: t))
            labels = map_tensors(targets, lambda t: t.to(watch.device))
            return None if output is None else float(link.loss(output, labels))
    except Exception:  # noqa: BLE001 - the user's model and criterion may raise any
        return None
    finally:
        watch.is_busy = False


def _uniform_loss(watch: Recording) -> float | None:
    """Return the loss of outputs of 0, if it is the entropy of as many classes as there are."""
    found = _batch(watch)
    # A weight of the positive examples changes that loss from batch to batch.
    if found is None or criterion_setting(watch.criterion, "pos_weight") is not None:
        return None
    inputs, targets, link = found
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            output = watch.predict(watch.bare, map_tensors(inputs, lambda t: t))
            labels = map_tensors(targets, lambda t: t.to(watch.device))
            if output is None or output.ndim < 2:
                return None
            value = float(link.loss(torch.zeros_like(output), labels))
    except Exception:  # noqa: BLE001 - as above
        return None
    finally:
        watch.is_busy = False
    # The logarithm shows that it is a cross-entropy, however the criterion is called.
    known = {math.log(2), *(math.log(k) for k in output.shape[1:] if k > 1)}
    return value if any(abs(value - k) < 1e-4 for k in known) else None
