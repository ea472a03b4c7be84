"""The evidence that the rules judge: everything about a run in numbers, gathered once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from mien.data.duplicates import duplicate_fraction
from mien.doctor.baseline import hog_baseline, hog_features
from mien.errors import MienError
from mien.train.loop.loader import make_examples
from mien.train.loop.validate import true_labels
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model
from mien.train.run.folder import load_scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.doctor.programs.program import Program
    from mien.train.loop.find_lr import RangeTest
    from mien.train.loop.signals import EpochSignals
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics

MAX_SAMPLED = 2000
"""Images sampled of each split, at most."""
MAX_SEARCHED = 400
"""Validation images that are searched for in training, at most."""
MIN_CORRELATION = 0.9
"""Correlation of fine detail from which an image is a duplicate. Stricter than on import, where a
false duplicate costs one image; here it would raise an alarm."""
MAX_COMPARED = 600
"""Images of each split that the classifier between the splits is fitted on, at most."""
MAX_NORMALISED = 500
"""Images whose normalised pixels are measured, at most."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Ground truth and predictions for a sample of a split.

    Attributes:
        y_true_n: ground truth, int64 [n].
        probs_nk: the network's, by its last weights, float64 [n, k]; None where they are not
            finite or no epoch was finished.
        baseline_nk: scores of the baseline, float64 [n, k]; on training images leave-one-out.
        constant_nk: scores of the best constant prediction, float64 [n, k]; None takes the most
            common class. Of several labels at once each has a constant of its own.
    """

    y_true_n: NDArray[np.int64]
    probs_nk: NDArray[np.float64] | None
    baseline_nk: NDArray[np.float64]
    constant_nk: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class PixelStatistics:
    """The pixels of a split's sample.

    Attributes:
        mean: of the pixels after the network's normalisation.
        std: their standard deviation.
        blank_fraction: fraction of images without contrast (standard deviation below 1 of 255).
        brightness_n: mean of each image, 0 to 255, float64 [n].
        contrast_n: standard deviation of each image, 0 to 255, float64 [n].
    """

    mean: float
    std: float
    blank_fraction: float
    brightness_n: NDArray[np.float64]
    contrast_n: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run in numbers.

    Attributes:
        recipe: of the run.
        status: of the run: 'finished', 'failed', ...
        reason: why it failed; '' where it did not.
        history: the finished epochs.
        signals: measurements of each epoch, the failed one too.
        images: training images.
        parameters: of the network.
        class_counts_k: training images of each learnt class, soft labels and weights counted in
            fractions, float64 [k].
        train: predictions on a sample of the training images.
        validation: predictions on a sample of the validation images.
        pixels: statistics of the 'train' and the 'validation' sample.
        domain_shift_auc: AUC of a linear classifier, leave-one-out, between training and
            validation images, 0 to 1; 0.5 is chance level, nan where a split is empty.
        duplicates: fraction of validation images with a duplicate in training, and how many
            were searched for.
        shared_subjects: known subjects that are in training and in validation.
        is_reproducible: whether the first steps, repeated, give the same weights; None where
            that cannot be known.
        initial: root mean square of each weight before the training, by name; empty where the
            training started from trained weights.
        range_test: learning-rate range test with this recipe; None where none was made.
        chance: loss of a constant prediction; nan takes the log of the number of classes, and 0 or
            less says that the loss has none.
        chance_is_start: whether that is the loss of the first steps, as where only a log is known.
        program: evidence of a watched loop; None for a run of mien's own.
    """

    recipe: Recipe
    status: str
    reason: str
    history: list[EpochMetrics]
    signals: list[EpochSignals]
    images: int
    parameters: int
    class_counts_k: NDArray[np.float64]
    train: Predictions
    validation: Predictions
    pixels: dict[str, PixelStatistics]
    domain_shift_auc: float
    duplicates: tuple[float, int]
    shared_subjects: int
    is_reproducible: bool | None = None
    initial: dict[str, float] = field(default_factory=dict)
    range_test: RangeTest | None = None
    chance: float = math.nan
    chance_is_start: bool = False
    program: Program | None = None


def gather(run: RunFolder, dataset: Dataset) -> Evidence:
    """Return the evidence of a run and its data; it takes a few seconds and trains nothing.

    Raises:
        DataError: the data do not fit the run's recipe.
        RunFolderError: the run folder is damaged.
    """
    recipe, status = run.recipe, run.read_status()
    train, validation = (dataset.split(name) for name in ("train", "validation"))
    learnt = make_examples(train, recipe)
    # Seeded, so that the same run always has the same findings.
    rng = np.random.default_rng(recipe.fit.seed)
    (train_rows, train_true), (held_rows, held_true) = (
        _labelled_sample(part, recipe, rng) for part in (train, validation)
    )
    train_pixels = np.ascontiguousarray(train.images_nhw[train_rows])
    held_pixels = np.ascontiguousarray(validation.images_nhw[held_rows])
    baseline = hog_baseline(train_pixels, train_true, held_pixels, len(recipe.predicted_labels))
    train_probs, held_probs = (
        _probabilities(run, pixels) for pixels in (train_pixels, held_pixels)
    )
    subjects = [set(part.subjects_n.tolist()) - {""} for part in (train, validation)]
    # The search compares with all training images, which takes long: a sample must do.
    searched = held_pixels[:MAX_SEARCHED]
    parameters, initial = _initial_network(run)
    return Evidence(
        recipe=recipe,
        status=str(status.get("status", "unknown")),
        reason=str(status.get("reason", "")),
        history=run.read_metrics(),
        signals=run.read_signals(),
        images=len(learnt),
        parameters=parameters,
        initial=initial,
        class_counts_k=(learnt.targets_nk * learnt.weights_n[:, None]).sum(dim=0).double().numpy(),
        train=Predictions(train_true, train_probs, baseline.leave_one_out_nk),
        validation=Predictions(held_true, held_probs, baseline.validation_mk),
        pixels={
            "train": _pixel_statistics(run, train_pixels, train),
            "validation": _pixel_statistics(run, held_pixels, train),
        },
        domain_shift_auc=_domain_shift_auc(train_pixels, held_pixels),
        duplicates=(duplicate_fraction(searched, train.images_nhw, MIN_CORRELATION), len(searched)),
        shared_subjects=len(subjects[0] & subjects[1]),
    )


def _labelled_sample(
    part: Dataset, recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return up to MAX_SAMPLED rows with a ground truth, and that ground truth."""
    y_true = true_labels(part, recipe)
    rows = rng.permutation(np.flatnonzero(y_true >= 0))[:MAX_SAMPLED]
    return rows, y_true[rows]


def _probabilities(run: RunFolder, pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    try:
        scorer = load_scorer(run.path, "last")
    except MienError:
        return None  # no epoch was finished, which the rules report
    logits = scorer.logits(pixels).astype(np.float64)
    if not np.isfinite(logits).all():
        return None
    # Subtracting the maximum keeps exp from overflowing.
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
    return probs


def _initial_network(run: RunFolder) -> tuple[int, dict[str, float]]:
    """Return the number of parameters, and the root mean square of each weight before training."""
    recipe = run.recipe
    # Initialisation uses random numbers: the caller's generator must stay as it was.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = build_model(
            recipe.network,
            normalise=Normalise(recipe.network.normalise),
            input_size=run.input_size,
            classes=len(recipe.learnt_labels),
        )
        initial = {n: float(p.square().mean().sqrt()) for n, p in model.named_parameters()}
    if run.recipe.fit.warm_start:
        initial = {}  # it started from trained weights, which may be gone
    return sum(p.numel() for p in model.parameters()), initial


def _pixel_statistics(run: RunFolder, pixels: NDArray[np.uint8], train: Dataset) -> PixelStatistics:
    normalise = Normalise.fitted(run.recipe.network.normalise, train.images_nhw[:MAX_SAMPLED])
    with torch.no_grad():
        values = normalise(torch.from_numpy(pixels[:MAX_NORMALISED])[:, None].float())
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    deviation = flat.std(axis=1)
    return PixelStatistics(
        mean=float(values.mean()),
        std=float(values.std()),
        blank_fraction=float((deviation < 1.0).mean()),
        brightness_n=flat.mean(axis=1),
        contrast_n=deviation,
    )


def _domain_shift_auc(train: NDArray[np.uint8], validation: NDArray[np.uint8]) -> float:
    """Return the AUC of a ridge classifier between the two splits, leave-one-out.

    A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545), on features that
    keep brightness, contrast and sharpness. The AUC is the Mann-Whitney U over all pairs.
    """
    # Equal numbers, so that the classifier cannot profit from guessing the larger split.
    count = min(len(train), len(validation), MAX_COMPARED)
    if count == 0:
        return float("nan")
    features = [_appearance_features(part[:count]) for part in (train, validation)]
    x = np.concatenate(features)
    # One penalty for all features needs features of one scale.
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    y = np.repeat([-1.0, 1.0], count)
    # The ridge keeps the system solvable with more features than images.
    gram = x.T @ x + 0.1 * len(x) * np.eye(x.shape[1])
    # The hat matrix maps targets to fitted values; its diagonal is each image's leverage.
    hat = x @ np.linalg.solve(gram, x.T)
    # Allen's PRESS residuals: each image is left out of the fit in closed form.
    scores = y - (y - hat @ y) / np.maximum(1 - np.diag(hat), 1e-3)
    return float(stats.mannwhitneyu(scores[count:], scores[:count]).statistic / count**2)


def _appearance_features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return grey levels, contrast, sharpness and HOG features of each image, float64 [n, d]."""
    x = pixels.astype(np.float64)
    flat = x.reshape(len(x), -1)
    quantiles = np.quantile(flat, [0.02, 0.25, 0.5, 0.75, 0.98], axis=1).T
    fine = (
        np.abs(np.diff(x, axis=1)).mean(axis=(1, 2)),
        np.abs(np.diff(x, axis=2)).mean(axis=(1, 2)),
    )
    second = np.abs(np.diff(x, 2, axis=1)).mean(axis=(1, 2))
    columns = [quantiles, flat.std(axis=1)[:, None], np.stack([*fine, second], axis=1)]
    # Every seventh HOG feature keeps the linear system small; shape matters least here.
    columns.append(hog_features(pixels).reshape(len(x), -1)[:, ::7])
    return np.concatenate(columns, axis=1)
