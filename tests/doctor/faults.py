"""A healthy training in numbers, and one planted fault for each rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mien.doctor.evidence import Evidence, PixelStatistics, Predictions
from mien.doctor.programs.losses import Contrastive, Mixed, Plateau
from mien.doctor.programs.measurements import (
    Alignment,
    Causes,
    ClassLike,
    ClassWeight,
    Collapse,
    CommonToken,
    Foreground,
    Lag,
    Penalty,
    Positions,
    Progress,
    Repetition,
    Reset,
    Settings,
)
from mien.doctor.programs.program import (
    Broadcast,
    Leak,
    Lookahead,
    Mixing,
    OutputStatistics,
    Program,
)
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


def program(**changes: Any) -> Program:
    """A sound watched loop."""
    logits = OutputStatistics(3, -4.0, 5.0, 3.0, 2.0, "", half=False)
    return replace(Program(outputs=logits), **changes)


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


PROGRAMS: dict[str, dict[str, Any]] = {
    "optimizer-not-stepped": {"optimizer_steps": 0, "settings": Settings(weights_changed=False)},
    "optimizer-replaced": {"optimizer_steps": 0},
    "unused-optimizer": {"settings": Settings(unused_optimizers=("Adam number 1 (e.weight)",))},
    "gradients-discarded": {"discarded_passes": 16},
    "momentum-too-high": {"settings": Settings(momentum=0.9999)},
    "targets-out-of-range": {"loss_name": "BCEWithLogitsLoss", "target_low": -1.0},
    "class-weights-reversed": {
        "settings": Settings(weights=(ClassWeight("no", 900, 0.9), ClassWeight("yes", 100, 0.1)))
    },
    "label-smoothing-too-strong": {"settings": Settings(smoothing=0.9)},
    "penalty-too-strong": {
        "settings": Settings(penalty=Penalty(4.2, 12, "absolute", 0.01), shrinkage=0.1)
    },
    "weights-reset": {"progress": Progress(reset=Reset(9, 1.4, 0.4, 2.2, 2.3))},
    "few-examples": {
        "progress": Progress(distinct=30),
        "train_score": 1.0,
        "validation_score": 0.7,
    },
    "stuck-at-zero": {"progress": Progress(stuck_at_zero=("0.A", "0.B"))},
    "validated-model-lags": {"progress": Progress(lag=Lag(2.3, 0.2, 2.2))},
    "initial-loss-too-high": {
        "progress": Progress(uniform_loss=2.48, first_loss=46.0, last_loss=4.4)
    },
    "tokens-unknown": {"common_token": CommonToken(1, 0.96, 0.95, 13, 300)},
    "background-only": {"foreground": Foreground(0.016, 0.0, 10_000)},
    "targets-are-classes": {
        "causes": Causes(class_like=ClassLike(10, 0.0, 9.0, 600, 0.97, 0.5, 0.4, 0.12))
    },
    "reads-padding": {
        "causes": Causes(positions=Positions(128, 12, 0.9, 0.4, seen=0.0, seen_at_end=0.0)),
        "train_score": 0.5,
        "baseline_score": 0.9,
    },
    "inputs-ignored": {
        "causes": Causes(positions=Positions(128, 12, unused=11, tried=12)),
        "train_score": 0.5,
        "baseline_score": 0.9,
    },
    "order-ignored": {
        "causes": Causes(positions=Positions(128, 12, ignores_order=True, attends=True)),
        "train_score": 0.5,
        "baseline_score": 0.9,
    },
    "contrastive-temperature": {
        "causes": Causes(contrastive=Contrastive(64, 4.157, 1.9, 0.1, 50.0))
    },
    "losses-mixed": {"causes": Causes(mixed=Mixed(40, 1.0, -0.95, ("g.0.weight",)))},
    "gradients-accumulate": {"carried_gradients": 0.9},
    "parameters-not-optimized": {"not_optimized": ("0.weight", "0.bias")},
    "parameters-in-two-optimizers": {"held_twice": ("D.0.weight", "D.0.bias")},
    "frozen-parameters": {"frozen": ("0.weight",)},
    "unregistered-parameters": {"unregistered": ("layers",)},
    "no-gradient": {"without_gradient": ("0.weight",)},
    "trained-in-eval-mode": {"eval_mode_steps": 0.9},
    "evaluated-in-train-mode": {"train_mode_evaluations": 10},
    "learning-rate-vanishes": {"rates": (1e-3,) * 4 + (1e-9,) * 6},
    "scheduler-steps": {"scheduler": ("OneCycleLR was planned for 900 steps and stepped 9 times",)},
    "clipping-always": {"clip_ratio": 0.01, "gradient_norms": (1.0,) * 10},
    "memory-grows": {"memory_growth_mb": 900.0, "memory_fraction": 0.7},
    "input-pipeline-stalls": {"wait_fraction": 0.9, "wait_seconds": 0.3},
    "mixed-precision-underflow": {
        "outputs": OutputStatistics(3, -4.0, 5.0, 3.0, 2.0, "", half=True),
        "zero_gradients": 0.9,
    },
    "loss-activation-mismatch": {
        "outputs": OutputStatistics(3, 0.0, 1.0, 1e-7, 1.5, "Softmax", half=False)
    },
    "no-nonlinearity": {"consecutive_layers": ("0 and 1",)},
    "hidden-softmax": {"hidden_softmax": ("1",)},
    "poor-initialization": {"same_direction": ("0.weight",)},
    "saturated-activations": {"saturated": {"1": 0.8}},
    "dropout-too-strong": {"dropout": {"2": 0.9}, "dropout_loss_ratio": 3.0},
    "batch-norm-small-batch": {"batch_norms": ("1",), "batch_size": 1},
    "batch-size-of-one": {"batch_size": 1},
    "weight-decay-on-norms": {"shrunk_norms": {"1": 0.1}},
    "positions-mixed": {"reshaped": "view(n, 4, 10) instead of transpose(1, 2)"},
    "masks-misaligned": {"alignment": Alignment("transposed", 0.55, 0.93, 300)},
    "examples-mixed": {"mixing": Mixing(16, 16, 0.8, 1.3)},
    "targets-broadcast": {
        "broadcast": Broadcast((32, 1), (32,), (32, 32), 1.02, 0.97, 32, is_reproduced=True)
    },
    "stochastic-evaluation": {"repetition": Repetition(32, 2.79, 0.72, "dropout", "a.py, line 3")},
    "future-leak": {"lookahead": Lookahead(32, 480, 450, 2.1, 0.9)},
    "target-leakage": {"leak": Leak((30,), True, 1.0, 0.95, 400, 31, False, True)},
    "collapsed-outputs": {"collapse": Collapse(512, 0.001, 0.7, False, "targets")},
    "missing-bias": {"bias_free": ("0", "2")},
    "nonfinite-inputs": {"nonfinite_inputs": 0.1},
    "targets-are-inputs": {"targets_are_inputs": True, "tokens": True},
    "data-not-shuffled": {"class_runs": 3.0},
    "no-validation": {"evaluations": 0, "validations": 0},
    "preprocessing-differs": {"input_shift": 3.0},
    "augmented-validation": {"varying_validation": True},
    "label-encoding": {"label_offset": 1},
}
"""What each fault changes in a sound watched loop."""


def mostly_common() -> Predictions:
    """Predictions on nine tenths of one class, which is nearly all that is predicted."""
    truth = np.repeat([0, 1, 2], [900, 50, 50])
    given = np.where(np.arange(1000) % 5 == 0, truth, 0)
    return Predictions(truth, np.eye(3)[given] + 0.01, np.eye(3)[truth] + 0.01)


def prefers(label: int, given: Predictions) -> Predictions:
    """The same predictions, but every second example of another class is taken for `label`."""
    assert given.probs_nk is not None
    probs = given.probs_nk.copy()
    taken = np.flatnonzero(given.y_true_n != label)[::2]
    probs[taken] = np.eye(3)[label] + 0.01
    return replace(given, probs_nk=probs)


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
        "history": [metrics(i, loss=0.3, train_loss=1.4) for i in range(1, EPOCHS + 1)],
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
    **{name: {"program": program(**changes)} for name, changes in PROGRAMS.items()},
    "scheduler-mode": {
        "program": program(
            causes=Causes(plateau=Plateau("max", 1, 0, 10, 4)), rates=(0.1, 0.01, 1e-3, 1e-4, 1e-5)
        ),
        "history": [
            metrics(i, validation_loss=1 / i, validation_accuracy=0.9 - 0.1 / i)
            for i in range(1, EPOCHS + 1)
        ],
    },
    "class-weights-too-strong": {
        "program": program(
            settings=Settings(
                weights=tuple(ClassWeight("abc"[i], 300, (1.0, 1.0, 90.0)[i], i) for i in range(3))
            )
        ),
        "validation": prefers(2, predictions(1000, 0.9, 2)),
    },
    "accuracy-misleads": {"validation": mostly_common(), "program": program()},
    "class-confusion": {
        "validation": finds(1, 0.2, predictions(1000, 0.95, 2)),
        "program": program(),
    },
    "loss-not-decreasing": {"signals": measured(**FLAT), "program": program()},
    "loss-unbounded": {
        "signals": [epoch(i, losses=(1 - 1e4 * i,) * 8) for i in range(EPOCHS)],
        "program": program(),
    },
    "targets-not-scaled": {
        "program": program(
            kind="regression",
            target_low=1e4,
            target_high=9e5,
            train_score=-1.2,
            baseline_score=0.7,
        ),
        "recipe": recipe(),
    },
    "weight-decay-too-strong": {
        "program": program(),
        "recipe": recipe(optimizer={"name": "adam", "lr": 1e-3, "weight_decay": 2.0}),
    },
    "loss-summed": {
        "signals": measured(gain=0.2, worse=0.3),
        "program": program(settings=Settings(reduction="sum", is_plain_sgd=True)),
    },
    "validation-loss-rises": {
        "program": program(kind="regression"),
        "history": [
            metrics(i, validation_loss=0.9 if i == 2 else 1.6) for i in range(1, EPOCHS + 1)
        ],
    },
}
