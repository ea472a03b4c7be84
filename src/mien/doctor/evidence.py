"""What the doctor looks at: everything about a run in numbers, gathered once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.data.duplicates import duplicate_fraction
from mien.doctor.baseline import Opinion, describe, hog_baseline
from mien.errors import MienError
from mien.train.loop.fit import right_answers
from mien.train.loop.loader import make_examples
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model
from mien.train.run.folder import load_scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.loop.find_lr import RangeTest
    from mien.train.loop.signals import EpochSignals
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics

SAMPLE = 2000
"""Training images looked at, and validation images."""
PROBED = 400
"""Validation images whose copies are looked for in training."""
COPY = 0.9
"""Least correlation of fine detail that makes a copy here: stricter than on import, where a
false copy costs an image and not an alarm."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered for a sample of a split, and what would have been right.

    Attributes:
        y_true_n: int64 [n].
        probs_nk: float64 [n, k] by the network's last weights; None where it has none.
        opinion_nk: scores of the reference, float64 [n, k].
    """

    y_true_n: NDArray[np.int64]
    probs_nk: NDArray[np.float64] | None
    opinion_nk: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pixels of a split, as the network gets them.

    Attributes:
        mean: of the normalised pixels.
        std: of the normalised pixels.
        blank: share of images without any contrast.
        brightness_n: mean of each sampled image, 0 to 255.
        contrast_n: deviation of each sampled image, 0 to 255.
    """

    mean: float
    std: float
    blank: float
    brightness_n: NDArray[np.float64]
    contrast_n: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run in numbers.

    Attributes:
        recipe: that was trained.
        status: of the run: 'finished', 'failed', ...
        reason: why it failed; '' where it did not.
        history: the finished epochs.
        signals: what was measured in each epoch, the failed one too.
        images: training images that were learnt from.
        parameters: of the network.
        mass_k: how much of each learnt class training holds, float64 [k].
        train: answers on a sample of the training images.
        validation: answers on the validation images.
        inputs: 'train' and 'validation'.
        apart: how well the reference tells training from validation images (area under the
            curve, left out); 0.5 is not at all.
        copied: share of validation images with a copy in training, and how many were probed.
        shared_subjects: known subjects that are in training and in validation.
        repeats: whether the first steps, taken again, give the same weights; None where unknown.
        initial: root mean square of each weight before the training, by name; empty where it
            began with another run's weights.
        range_test: of learning rates with this recipe; None where none was made.
    """

    recipe: Recipe
    status: str
    reason: str
    history: list[EpochMetrics]
    signals: list[EpochSignals]
    images: int
    parameters: int
    mass_k: NDArray[np.float64]
    train: Answers
    validation: Answers
    inputs: dict[str, Inputs]
    apart: float
    copied: tuple[float, int]
    shared_subjects: int
    repeats: bool | None = None
    initial: dict[str, float] = field(default_factory=dict)
    range_test: RangeTest | None = None


def gather(run: RunFolder, dataset: Dataset) -> Evidence:
    """Look at a run and its data; takes a few seconds, and no training.

    Raises:
        DataError: the data cannot be trained on with the run's recipe.
        RunFolderError: the run folder is damaged.
    """
    recipe, status = run.recipe, run.read_status()
    train, validation = (dataset.split(name) for name in ("train", "validation"))
    learnt = make_examples(train, recipe)
    rng = np.random.default_rng(recipe.fit.seed)
    seen, held = (_graded(part, recipe, rng) for part in (train, validation))
    seen_rows, seen_right = seen
    held_rows, held_right = held
    seen_pixels = np.ascontiguousarray(train.images_nhw[seen_rows])
    held_pixels = np.ascontiguousarray(validation.images_nhw[held_rows])
    classes = len(recipe.answer_labels)
    opinion = hog_baseline(seen_pixels, seen_right, held_pixels, classes)
    probs = [_network_answers(run, pixels) for pixels in (seen_pixels, held_pixels)]
    subjects = [set(part.subjects_n.tolist()) - {""} for part in (train, validation)]
    probed = held_pixels[:PROBED]
    parameters, initial = _fresh_network(run)
    return Evidence(
        recipe=recipe,
        status=str(status.get("status", "unknown")),
        reason=str(status.get("reason", "")),
        history=run.read_metrics(),
        signals=run.read_signals(),
        images=len(learnt),
        parameters=parameters,
        initial=initial,
        mass_k=(learnt.targets_nk * learnt.weights_n[:, None]).sum(dim=0).double().numpy(),
        train=_answers(seen_right, probs[0], opinion, left_out=True),
        validation=_answers(held_right, probs[1], opinion, left_out=False),
        inputs={
            "train": _inputs(run, seen_pixels, train),
            "validation": _inputs(run, held_pixels, train),
        },
        apart=_apart(seen_pixels, held_pixels),
        copied=(duplicate_fraction(probed, train.images_nhw, COPY), len(probed)),
        shared_subjects=len(subjects[0] & subjects[1]),
    )


def _graded(
    part: Dataset, recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return up to SAMPLE rows with a right answer, and those answers."""
    right = right_answers(part, recipe)
    rows = rng.permutation(np.flatnonzero(right >= 0))[:SAMPLE]
    return rows, right[rows]


def _answers(
    y_true_n: NDArray[np.int64],
    probs_nk: NDArray[np.float64] | None,
    opinion: Opinion,
    *,
    left_out: bool,
) -> Answers:
    scores = opinion.left_out_nk if left_out else opinion.validation_mk
    return Answers(y_true_n, probs_nk, scores)


def _network_answers(run: RunFolder, pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    try:
        scorer = load_scorer(run.path, "last")
    except MienError:
        return None  # no epoch was finished: that is for the rules to say
    logits = scorer.logits(pixels).astype(np.float64)
    if not np.isfinite(logits).all():
        return None
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
    return probs


def _fresh_network(run: RunFolder) -> tuple[int, dict[str, float]]:
    """Return the parameters of the run's network, and the size of each weight at its start."""
    recipe = run.recipe
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = build_model(
            recipe.network,
            normalise=Normalise(recipe.network.normalise),
            input_size=run.input_size,
            classes=len(recipe.learnt_labels),
        )
        initial = {n: float(p.square().mean().sqrt()) for n, p in model.named_parameters()}
    if run.recipe.fit.warm:
        initial = {}  # it began with weights that may be gone
    return sum(p.numel() for p in model.parameters()), initial


def _inputs(run: RunFolder, pixels: NDArray[np.uint8], train: Dataset) -> Inputs:
    normalise = Normalise.fitted(run.recipe.network.normalise, train.images_nhw[:SAMPLE])
    with torch.no_grad():
        values = normalise(torch.from_numpy(pixels[:500])[:, None].float())
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    deviation = flat.std(axis=1)
    return Inputs(
        mean=float(values.mean()),
        std=float(values.std()),
        blank=float((deviation < 1.0).mean()),
        brightness_n=flat.mean(axis=1),
        contrast_n=deviation,
    )


def _apart(train: NDArray[np.uint8], validation: NDArray[np.uint8]) -> float:
    """Return the area under the curve of a reference that tells the two splits apart.

    A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545), on features that
    keep brightness, contrast and sharpness, each image left out of the fit that judges it.
    """
    count = min(len(train), len(validation), 600)
    features = [_look(part[:count]) for part in (train, validation)]
    x = np.concatenate(features)
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    y = np.repeat([-1.0, 1.0], count)
    gram = x.T @ x + 0.1 * len(x) * np.eye(x.shape[1])
    hat = x @ np.linalg.solve(gram, x.T)
    left_out = y - (y - hat @ y) / np.maximum(1 - np.diag(hat), 1e-3)
    ranks = np.empty(len(y))
    ranks[np.argsort(left_out, kind="stable")] = np.arange(1, len(y) + 1)
    area = (ranks[count:].sum() - count * (count + 1) / 2) / count**2
    return float(area)


def _look(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return grey levels, contrast, sharpness and means of regions, float64 [n, d]."""
    x = pixels.astype(np.float64)
    flat = x.reshape(len(x), -1)
    quantiles = np.quantile(flat, [0.02, 0.25, 0.5, 0.75, 0.98], axis=1).T
    fine = (
        np.abs(np.diff(x, axis=1)).mean(axis=(1, 2)),
        np.abs(np.diff(x, axis=2)).mean(axis=(1, 2)),
    )
    second = np.abs(np.diff(x, 2, axis=1)).mean(axis=(1, 2))
    columns = [quantiles, flat.std(axis=1)[:, None], np.stack([*fine, second], axis=1)]
    columns.append(describe(pixels).reshape(len(x), -1)[:, ::7])
    return np.concatenate(columns, axis=1)
