"""A healthy training in numbers, and one planted fault for each rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mien.doctor.evidence import Evidence, PixelStatistics, Predictions
from mien.train.loop.signals import EpochSignals, LayerSignals
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.metrics import EpochMetrics

EPOCHS = 10
LAYERS = ("body.0.weight", "body.3.weight", "body.6.weight")


def predictions(
    n: int, right: float, seed: int, baseline: float = 0.8, noise: float = 0.0
) -> Predictions:
    """Predictions of accuracy `right`, confident ones more often right; `noise` of labels wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    labels = truth.copy()
    wrong = rng.random(n) < noise
    labels[wrong] = (labels[wrong] + 1) % 3

    def scores(accuracy: float) -> Any:
        sure = rng.random(n)
        given = np.where(sure > 1 - accuracy, truth, (truth + 1) % 3)
        return np.eye(3)[given] * (0.2 + 0.8 * sure[:, None]) + 0.01

    return Predictions(labels, scores(right), scores(baseline))


def never_predicts(label: int, given: Predictions) -> Predictions:
    """The same predictions, but never `label`."""
    assert given.probs_nk is not None
    probs = given.probs_nk.copy()
    probs[:, label] = 0.0
    return replace(given, probs_nk=probs)


def epoch(number: int, **changes: Any) -> EpochSignals:
    level = 1.0 / (number + 1)
    values: dict[str, Any] = {
        "epoch": number,
        "lr": 1e-3,
        "losses": tuple(level + 0.001 * i for i in range(8, 0, -1)),
        "peaks": tuple(level + 0.1 for _ in range(8)),
        "measured": 5,
        "gain": 0.85,
        "worse": 0.0,
        "gradient_norm": 2.0,
        "layers": {name: LayerSignals(0.01, 0.1, 2e-3) for name in LAYERS},
        "stuck": {"body.2": 0.0},
    }
    return EpochSignals(**{**values, **changes})


def metrics(number: int, **changes: Any) -> EpochMetrics:
    values: dict[str, Any] = {
        "epoch": number, "lr": 1e-3, "loss": 0.5, "train_loss": 0.4, "train_accuracy": 0.9,
        "validation_loss": 0.45, "validation_accuracy": 0.88, "validation_n": 1000, "gap": 0.02,
        "seconds": 1.0, "images_per_second": 1000.0,
    }  # fmt: skip
    return EpochMetrics(**{**values, **changes})


def healthy(**changes: Any) -> Evidence:
    rng = np.random.default_rng(0)
    pixels = PixelStatistics(0.0, 1.0, 0.0, rng.normal(120, 20, 500), rng.normal(50, 9, 500))
    values: dict[str, Any] = {
        "recipe": recipe_from_dict({"name": "healthy", "network": {"name": "poster"}}),
        "status": "finished",
        "reason": "",
        "history": [metrics(i) for i in range(1, EPOCHS + 1)],
        "signals": [epoch(i) for i in range(1, EPOCHS + 1)],
        "images": 3000,
        "parameters": 100_000,
        "class_counts_k": np.array([1000.0, 1200.0, 800.0]),
        "train": predictions(2000, 0.9, 1),
        "validation": predictions(1000, 0.88, 2),
        "pixels": {"train": pixels, "validation": pixels},
        "domain_shift_auc": 0.5,
        "duplicates": (0.0, 400),
        "shared_subjects": 0,
        "is_reproducible": True,
        "initial": dict.fromkeys(LAYERS, 0.09),
    }
    return Evidence(**{**values, **changes})


def measured(**changes: Any) -> list[EpochSignals]:
    return [epoch(i, **changes) for i in range(1, EPOCHS + 1)]


def finds(label: int, fraction: float, given: Predictions) -> Predictions:
    """The same predictions, but of the class `label` only `fraction` are found."""
    assert given.probs_nk is not None
    probs = given.probs_nk.copy()
    own = np.flatnonzero(given.y_true_n == label)
    probs[own] = np.eye(3)[np.where(np.arange(len(own)) < fraction * len(own), label, 0)] + 0.01
    return replace(given, probs_nk=probs)


def recipe(**changes: Any) -> Any:
    return recipe_from_dict({"name": "x", "network": {"name": "poster"}, **changes})


FLAT = {"losses": (1.0,) * 8, "peaks": (1.1,) * 8}
FAULTS: dict[str, dict[str, Any]] = {
    "diverged": {
        "status": "failed",
        "reason": "the loss became nan in epoch 2",
        "history": [metrics(1)],
        "signals": [epoch(1)],
    },
    "learning-rate-too-high": {"signals": measured(gain=0.2, worse=0.3)},
    "learning-rate-too-low": {
        "signals": measured(
            gain=0.999, layers={n: LayerSignals(0.01, 0.1, 1e-5) for n in LAYERS}, **FLAT
        )
    },
    "exploding-gradients": {"signals": measured(gradient_norm=400.0)},
    "vanishing-gradients": {
        "signals": measured(
            layers={n: LayerSignals(10.0 ** (3 * i - 9), 0.1, 1e-3) for i, n in enumerate(LAYERS)}
        )
    },
    "dead-units": {"signals": measured(stuck={"body.2": 0.1, "body.5": 0.8})},
    "batch-norm-statistics": {
        "history": [metrics(i, loss=0.3, train_loss=1.4) for i in range(1, EPOCHS + 1)]
    },
    "invalid-inputs": {
        "pixels": {
            split: PixelStatistics(0.01, 0.005, 0.0, np.ones(9), np.ones(9))
            for split in ("train", "validation")
        }
    },
    "shuffled-labels": {
        "train": predictions(2000, 1 / 3, 3, baseline=1 / 3),
        "validation": predictions(1000, 1 / 3, 4, baseline=1 / 3),
    },
    "data-leakage": {"duplicates": (0.1, 400)},
    "domain-shift": {"domain_shift_auc": 0.95},
    "label-noise": {
        "train": predictions(2000, 0.9, 5, noise=0.3),
        "validation": predictions(1000, 0.9, 6, noise=0.3),
    },
    "class-imbalance": {"class_counts_k": np.array([2000.0, 0.0, 900.0])},
    "class-never-predicted": {"validation": never_predicts(2, predictions(1000, 0.88, 2))},
    "class-recall": {
        "train": finds(2, 0.5, predictions(2000, 0.9, 1)),
        "validation": finds(2, 0.5, predictions(1000, 0.88, 2)),
    },
    "validation-too-small": {
        "history": [metrics(i, validation_n=40) for i in range(1, EPOCHS + 1)]
    },
    "validation-class-counts": {
        "validation": replace(a := predictions(1000, 0.88, 2), y_true_n=np.minimum(a.y_true_n, 1)),
    },
    "not-reproducible": {"is_reproducible": False},
    "overfitting": {
        "train": predictions(2000, 1.0, 7),
        "validation": predictions(1000, 0.75, 8),
    },
    "model-too-large": {
        "train": predictions(2000, 1.0, 7),
        "validation": predictions(1000, 0.75, 8),
        "parameters": 3_000_000,
    },
    "model-too-small": {
        "parameters": 500,
        "signals": measured(**FLAT),
        "train": predictions(2000, 0.75, 9),
        "validation": predictions(1000, 0.75, 10),
    },
    "underfitting": {
        "train": predictions(2000, 0.6, 11),
        "validation": predictions(1000, 0.6, 12),
    },
}
