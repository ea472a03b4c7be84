"""Kept examples as rows of outputs and targets: one for each example, or for sampled positions.

A segmentation has an output for each pixel, a sequence model for each token. A few positions of
each example are enough to judge them, and they cost as little as one output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.doctor.programs.alignment import turned_targets
from mien.doctor.programs.baseline import MAX_FITTED, kernel_baseline
from mien.doctor.programs.examples import distinct_rows
from mien.doctor.programs.neighbourhoods import neighbourhoods
from mien.doctor.programs.settings import criterion_setting
from mien.doctor.programs.split import Split
from mien.doctor.programs.trees import features, rows, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.sample import Sample

SAMPLED = 2000
"""Positions sampled of a split, unless MIN_EACH of each example are more."""
MIN_EACH, MAX_EACH = 4, 64
MIN_POSITIONS = 4
"""Outputs of an example from which they are positions, not parts of one prediction."""
IGNORED = -100
"""Class index that PyTorch's losses ignore by default."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of dense outputs: scores [n, p, k], targets [n, p] or [n, p, j], form of p."""

    inputs: Tensor
    scores: Tensor
    targets: Tensor
    grid: tuple[int, ...]


def split_of(watch: Recording, sample: Sample, outputs: list[Tensor] | None) -> Split | None:
    """Return outputs and targets of a kept sample; None if they have no common form."""
    if not outputs:
        return None
    # Of large outputs the first batches alone were kept.
    targets = [next(tensors(x), None) for x in sample.targets[: len(outputs)]]
    inputs = sample.inputs[: len(outputs)]
    known = [t.cpu() for t in targets if t is not None and t.ndim]
    if len(known) < len(outputs) or any(o.ndim == 0 for o in outputs):
        return None
    counts = [rows(x) for x in inputs]
    if all(
        o.ndim <= 2 and t.ndim <= 2 and len(o) == len(t) == n
        for o, t, n in zip(outputs, known, counts, strict=True)
    ):
        return _one_row_each(inputs, outputs, known)
    batches = [dense_batch(watch, *parts) for parts in zip(inputs, outputs, known, strict=True)]
    found = [b for b in batches if b is not None]
    return _sampled(watch, found) if found and len(found) == len(batches) else None


def _one_row_each(inputs: list[Any], outputs: list[Tensor], known: list[Tensor]) -> Split:
    targets = torch.cat([t.reshape(len(t), -1) for t in known]).double().numpy()
    values = torch.cat([o.reshape(len(o), -1) for o in outputs]).double().numpy()
    found = features(inputs)
    if found is not None:
        # A small data set is seen several times: each example must count once. The kept examples
        # may be in the order of their classes; the baseline takes a part.
        kept = np.random.default_rng(0).permutation(distinct_rows(found, targets))
        values, targets, found = values[kept], targets[kept], found[kept]
    return Split(values, targets, found)


def dense_batch(watch: Recording, inputs: Any, output: Tensor, targets: Tensor) -> Batch | None:
    """Return a batch whose outputs are one for each position; None if that is not its form.

    Args:
        watch: of the loop.
        inputs: of the batch, n examples.
        output: of the model, in any of the layouts that losses take.
        targets: of the batch: class indices, or labels of 0 and 1 with a dimension for each.
    """
    first = next((t for t in tensors(inputs) if t.ndim), None)
    n = 0 if first is None else len(first)
    if first is None or n == 0:
        return None
    try:
        if watch.link is not None:
            scores, wanted = watch.link.layout(output), watch.link.convert(targets)
        else:
            scores, wanted = output, targets
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    original = tuple(targets.shape[1:]) if len(targets) == n else ()
    found = _laid_out(scores, wanted, n, original)
    if found is None or found[0].shape[1] < MIN_POSITIONS:
        return None
    return Batch(first.cpu(), *found)


def _laid_out(
    scores: Tensor, wanted: Tensor, n: int, original: tuple[int, ...]
) -> tuple[Tensor, Tensor, tuple[int, ...]] | None:
    """Return scores [n, p, k], targets [n, p, ...] and the form of the positions.

    Args:
        scores: as the loss takes them, or the model's.
        wanted: the same of the targets.
        n: examples.
        original: form of an example's targets as the loop has them; empty if unknown.
    """
    whole = not wanted.is_floating_point()
    form = tuple(d for d in original if d > 1)
    if scores.shape == wanted.shape:  # a value for each output, such as a mask's
        if len(scores) % n:
            return None
        if scores.ndim < 4 or len(scores) != n:
            each = scores.numel() // n
            grid = form if math.prod(form) == each else (each,)
            return scores.reshape(n, each, 1), wanted.reshape(n, each, 1), grid
        moved = [x.flatten(2).transpose(1, 2) for x in (scores, wanted)]
        return moved[0], moved[1], tuple(scores.shape[2:])
    return _of_classes(scores, wanted, n, form) if whole else None


def _of_classes(
    scores: Tensor, wanted: Tensor, n: int, form: tuple[int, ...]
) -> tuple[Tensor, Tensor, tuple[int, ...]] | None:
    """Return the same where targets are class indices; `form` is that of an example's targets."""
    if wanted.ndim > 2 and wanted.shape[1] == 1 and wanted.ndim == scores.ndim:
        wanted = wanted.squeeze(1)
    if wanted.ndim > 1 and len(scores) == len(wanted) == n and scores.ndim == wanted.ndim + 1:
        grid = tuple(wanted.shape[1:])
        if scores.shape[2:] == wanted.shape[1:]:
            return scores.flatten(2).transpose(1, 2), wanted.flatten(1), grid
        if scores.shape[1:-1] == wanted.shape[1:]:
            return scores.flatten(1, -2), wanted.flatten(1), grid
    if scores.ndim == 2 and len(scores) == wanted.numel() and len(scores) % n == 0:
        each = len(scores) // n
        grid = form if math.prod(form) == each else (each,)
        return scores.reshape(n, each, -1), wanted.reshape(n, each), grid
    return None


def _ignored(watch: Recording, batches: list[Batch]) -> int:
    """Return the class index that the loss ignores."""
    given = criterion_setting(watch.criterion, "ignore_index")
    if isinstance(given, int):
        return given
    lowest = min(int(b.targets.min()) for b in batches if b.targets.numel())
    # A function of the loop's own may ignore another negative number.
    return lowest if lowest < 0 else IGNORED


def _sampled(watch: Recording, batches: list[Batch]) -> Split | None:
    k = batches[0].scores.shape[2]
    if any(b.scores.shape[2] != k or b.targets.ndim != batches[0].targets.ndim for b in batches):
        return None
    classes = batches[0].targets.ndim == 2
    ignored = _ignored(watch, batches) if classes else IGNORED
    counts = np.zeros(max(k, 2))
    generator = torch.Generator().manual_seed(0)
    total = sum(len(b.scores) for b in batches)
    each = min(MAX_EACH, max(MIN_EACH, SAMPLED // max(1, total)))
    parts: list[tuple[NDArray[Any], ...]] = []
    inputs: list[Tensor | None] = []
    turned: list[dict[str, NDArray[np.int64]]] = []
    for b in batches:
        known = b.targets != ignored if classes else torch.isfinite(b.targets).all(dim=2)
        labels = b.targets[known]
        if classes and labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < k:
            return None
        if classes or k == 1:
            inside = labels.reshape(-1).long().clamp(0, len(counts) - 1)
            counts += np.bincount(inside.numpy(), minlength=len(counts))
        # Random keys: the smallest ones choose, of the positions that count.
        keys = torch.rand(known.shape, generator=generator).masked_fill_(~known, 2.0)
        chosen, places = keys.topk(min(each, keys.shape[1]), dim=1, largest=False)
        example, order = (chosen < 2).nonzero(as_tuple=True)
        place = places[example, order]
        inputs.append(neighbourhoods(b.inputs, example, place, b.grid))
        if classes or k == 1:
            turned.append(turned_targets(b.targets, b.grid, example, place))
        parts.append((
            b.scores[example, place].double().numpy(),
            b.targets[example, place].reshape(len(example), -1).double().numpy(),
            order.numpy(),
        ))  # fmt: skip
    found = _ordered(parts, inputs, turned)
    found.counts_k, found.ignored = counts, ignored
    found.each = float(np.median([b.scores.shape[1] for b in batches]))
    return found


def _ordered(
    parts: list[tuple[NDArray[Any], ...]], inputs: list[Tensor | None],
    turned: list[dict[str, NDArray[np.int64]]],
) -> Split:  # fmt: skip
    """Return the sampled positions, the first one of each example before the second ones."""
    values, targets, order = (np.concatenate(x) for x in zip(*parts, strict=True))
    # The baseline takes the first ones: those of different examples tell more.
    shuffled = np.random.default_rng(0).permutation(len(order))
    kept = shuffled[np.argsort(order[shuffled], kind="stable")]
    known = [x for x in inputs if x is not None]
    found = None
    if known and len(known) == len(inputs) and len({x.shape[1] for x in known}) == 1:
        found = torch.cat(known).double().numpy()[kept]
    # Ways that all batches allow: a batch may hold images of another form.
    names = set.intersection(*(set(part) for part in turned)) if turned else set()
    return Split(values[kept], targets[kept], found, turned={
        name: np.concatenate([part[name] for part in turned])[kept] for name in sorted(names)
    })  # fmt: skip


def baseline_scores(
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
