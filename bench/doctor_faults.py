"""The faults that bench/doctor.py plants in trainings, and how each is planted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image, ImageFilter

from mien.data.dataset import Dataset
from mien.train.loop.augment import augment
from mien.train.networks import registry

Change = Callable[[Dataset, np.random.Generator], Dataset]

AUGMENT = {"flip": 0.5, "rotation": 10, "shift": 0.05, "scale": 0.1}
POSTER = {
    "network": {"name": "poster", "width": 12, "hidden": 64, "conv_batch_norm": True},
    "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"name": "constant"},
    "augment": AUGMENT,
    "fit": {"epochs": 10, "batch_size": 32, "threads": 1},
}
SMALL = {
    "network": {"name": "small", "widths": [8, 16, 32, 64], "blocks": [1, 1, 1]},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "cosine", "warmup_epochs": 1},
    "augment": AUGMENT,
    "fit": {"epochs": 10, "batch_size": 32, "threads": 1},
}
BASES = {"poster": POSTER, "small": SMALL}
PLAIN = {"conv_batch_norm": False, "batch_norm": False, "dropout": 0.0}
NO_CHANGE = {"flip": 0.0, "rotation": 0.0, "shift": 0.0, "scale": 0.0}


@dataclass(frozen=True)
class Fault:
    """A fault: the findings that count as correct, and how it is planted."""

    names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    base: str = "poster"
    trick: str = ""


def keep(n: int, split: str = "train") -> Change:
    def change(data: Dataset, rng: np.random.Generator) -> Dataset:
        rows = np.flatnonzero(data.splits_n == split)
        dropped = rng.permutation(rows)[n:]
        return data.subset(np.setdiff1d(np.arange(len(data)), dropped))

    return change


def mislabel(fraction: float, splits: tuple[str, ...] = ("train", "validation")) -> Change:
    def change(data: Dataset, rng: np.random.Generator) -> Dataset:
        labels = data.labels_n.copy()
        rows = np.flatnonzero(np.isin(data.splits_n, splits) & (rng.random(len(data)) < fraction))
        labels[rows] = (labels[rows] + rng.integers(1, 3, len(rows))) % 3
        return replace(data, labels_n=labels)

    return change


def shuffle_labels(split: str) -> Change:
    def change(data: Dataset, rng: np.random.Generator) -> Dataset:
        rows = np.flatnonzero(data.splits_n == split)
        labels = data.labels_n.copy()
        labels[rows] = labels[rng.permutation(rows)]
        return replace(data, labels_n=labels)

    return change


def rare(data: Dataset, rng: np.random.Generator) -> Dataset:
    train = data.splits_n == "train"
    lost = train & (data.labels_n > 0) & (rng.random(len(data)) < 0.96)
    return data.subset(~lost)


def leak(data: Dataset, rng: np.random.Generator) -> Dataset:
    held = np.flatnonzero(data.splits_n == "validation")
    chosen = rng.permutation(held)[: len(held) // 4]
    rows = rng.permutation(np.flatnonzero(data.splits_n == "train"))[: len(chosen)]
    images = np.array(data.images_nhw)
    copies = images[chosen]
    copies[::2] = copies[::2, :, ::-1]
    images[rows] = np.clip(copies * 1.05 + 3, 0, 255).astype(np.uint8)
    labels = data.labels_n.copy()
    labels[rows] = labels[chosen]
    return replace(data, images_nhw=images, labels_n=labels)


def darken(data: Dataset, _: np.random.Generator) -> Dataset:
    return replace(data, images_nhw=(np.array(data.images_nhw) // 85).astype(np.uint8))


def grey_out(data: Dataset, rng: np.random.Generator) -> Dataset:
    images = np.array(data.images_nhw)
    images[rng.random(len(images)) < 0.6] = 128
    return replace(data, images_nhw=images)


def negative(data: Dataset, _: np.random.Generator) -> Dataset:
    images = np.array(data.images_nhw)
    held = data.splits_n == "validation"
    images[held] = 255 - images[held]
    return replace(data, images_nhw=images)


FAULTS: dict[str, Fault] = {
    "lr too large (Adam)": Fault(("learning-rate-too-high", "diverged"), {"optimizer.lr": 0.05}),
    "lr too large (SGD)": Fault(
        ("learning-rate-too-high", "diverged"),
        {"optimizer.lr": 3.0, "network.dropout": 0.0},
        base="small",
    ),
    "lr too small (Adam)": Fault(("learning-rate-too-low",), {"optimizer.lr": 3e-6}),
    "lr too small (SGD)": Fault(("learning-rate-too-low",), {"optimizer.lr": 2e-5}, base="small"),
    "diverged": Fault(
        ("diverged",),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "optimizer.name": "sgd",
            "optimizer.lr": 30.0,
        },
    ),
    "overfitting": Fault(
        ("overfitting", "model-too-large"),
        {
            **{f"augment.{k}": v for k, v in NO_CHANGE.items()},
            "network.dropout": 0.0,
            "fit.epochs": 60,
        },
        keep(250),
    ),
    "too complex": Fault(
        ("model-too-large",),
        {
            **{f"augment.{k}": v for k, v in NO_CHANGE.items()},
            "network.dropout": 0.0,
            "network.width": 24,
            "network.hidden": 512,
            "fit.epochs": 15,
        },
        keep(300),
    ),
    "too small": Fault(
        ("model-too-small", "underfitting"),
        {
            "network.width": 1,
            "network.hidden": 3,
            "network.hidden_layers": 1,
            "network.depth": 4,
            "network.dropout": 0.0,
        },
    ),
    "underfitting": Fault(
        ("underfitting",),
        {"optimizer.weight_decay": 0.5, "optimizer.name": "sgd", "optimizer.lr": 0.05},
    ),
    "too few epochs": Fault(
        ("underfitting", "learning-rate-too-low"), {"fit.epochs": 1}, keep(640)
    ),
    "vanishing gradients": Fault(
        ("vanishing-gradients",),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "network.activation": "sigmoid",
            "network.hidden_layers": 6,
        },
    ),
    "exploding gradients": Fault(
        ("exploding-gradients", "diverged"),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "network.activation": "relu",
            "network.hidden_layers": 6,
            "optimizer.name": "sgd",
            "optimizer.lr": 1e-4,
        },
        trick="large weights",
    ),
    "dead units": Fault(
        ("dead-units",),
        {**{f"network.{k}": v for k, v in PLAIN.items()}, "network.activation": "relu"},
        trick="negative biases",
    ),
    "label noise": Fault(("label-noise",), {}, mislabel(0.3)),
    "label noise in training": Fault(("label-noise",), {}, mislabel(0.3, ("train",))),
    "labels shuffled": Fault(("shuffled-labels",), {}, shuffle_labels("train")),
    "imbalance": Fault(("class-imbalance",), {}, rare),
    "leak": Fault(("data-leakage",), {}, leak),
    "wrong scale": Fault(("invalid-inputs",), {"network.normalise": "none"}, darken),
    "constant inputs": Fault(("invalid-inputs",), {}, grey_out),
    "validation differs": Fault(("domain-shift",), {"network.normalise": "dataset"}, negative),
    "validation too small": Fault(("validation-too-small",), {}, keep(40, "validation")),
    "not repeatable": Fault(("not-reproducible",), {"fit.epochs": 4}, trick="unseeded noise"),
}


def swap_in_validation(data: Dataset, _: np.random.Generator) -> Dataset:
    labels = data.labels_n.copy()
    held = data.splits_n == "validation"
    labels[held] = np.array([2, 1, 0])[labels[held]]
    return replace(data, labels_n=labels)


def one_way_noise(data: Dataset, rng: np.random.Generator) -> Dataset:
    labels = data.labels_n.copy()
    labels[(labels == 2) & (rng.random(len(labels)) < 0.45)] = 1
    return replace(data, labels_n=labels)


def noise_for_images(data: Dataset, rng: np.random.Generator) -> Dataset:
    shape = data.images_nhw.shape
    return replace(data, images_nhw=rng.integers(0, 256, shape).astype(np.uint8))


def one_image(data: Dataset, _: np.random.Generator) -> Dataset:
    return replace(data, images_nhw=np.repeat(data.images_nhw[:1], len(data), axis=0))


def blur_validation(data: Dataset, _: np.random.Generator) -> Dataset:
    images = np.array(data.images_nhw)
    for row in np.flatnonzero(data.splits_n == "validation"):
        blurred = Image.fromarray(images[row]).filter(ImageFilter.GaussianBlur(3))
        images[row] = np.asarray(blurred)
    return replace(data, images_nhw=images)


def validate_on_training(data: Dataset, rng: np.random.Generator) -> Dataset:
    held = np.flatnonzero(data.splits_n == "validation")
    seen = rng.choice(np.flatnonzero(data.splits_n == "train"), len(held))
    images, labels = np.array(data.images_nhw), data.labels_n.copy()
    images[held], labels[held] = images[seen], labels[seen]
    return replace(data, images_nhw=images, labels_n=labels)


def same_people(data: Dataset, rng: np.random.Generator) -> Dataset:
    people = np.array([f"person {i}" for i in rng.integers(0, 40, len(data))], dtype=object)
    return replace(data, subjects_n=people)


def lose_class(data: Dataset, _: np.random.Generator) -> Dataset:
    return data.subset(~((data.splits_n == "train") & (data.labels_n == 2)))


FURTHER: dict[str, Fault] = {
    "validation labels swapped": Fault(("shuffled-labels",), {}, swap_in_validation),
    "validation labels shuffled": Fault(("shuffled-labels",), {}, shuffle_labels("validation")),
    "one class half mislabelled": Fault(("label-noise",), {}, one_way_noise),
    "dropout 0.95": Fault(("underfitting", "model-too-small"), {"network.dropout": 0.95}),
    "augmented beyond recognition": Fault(
        ("underfitting",),
        {"augment.rotation": 180, "augment.scale": 0.6, "augment.shift": 0.5,
         "augment.erase": 1.0, "augment.erase_size": 0.9},
    ),
    "momentum 0.99": Fault(
        ("learning-rate-too-high", "diverged"),
        {"optimizer.momentum": 0.99, "optimizer.lr": 0.5}, base="small",
    ),
    "steps kill ReLU": Fault(
        ("learning-rate-too-high", "diverged", "dead-units"),
        {**{f"network.{k}": v for k, v in PLAIN.items()}, "network.activation": "relu",
         "optimizer.lr": 0.1},
    ),
    "poster's lr without batch norm": Fault(
        ("learning-rate-too-high", "diverged"),
        {**{f"network.{k}": v for k, v in PLAIN.items()}, "optimizer.lr": 0.03},
    ),
    "eight tanh layers": Fault(
        ("vanishing-gradients", "dead-units", "learning-rate-too-high"),
        {**{f"network.{k}": v for k, v in PLAIN.items()}, "network.activation": "tanh",
         "network.hidden_layers": 8},
        trick="large weights",
    ),
    "100 epochs on 400 images": Fault(
        ("overfitting", "model-too-large"), {"fit.epochs": 100}, keep(400)
    ),
    "warm-up that never ends": Fault(
        ("learning-rate-too-low", "underfitting"),
        {"optimizer.lr": 5e-4, "schedule.name": "cosine", "schedule.warmup_epochs": 1000,
         "fit.epochs": 10},
        base="small",
    ),
    "images are noise": Fault(
        ("shuffled-labels", "invalid-inputs", "overfitting"), {}, noise_for_images
    ),
    "one image everywhere": Fault(
        ("invalid-inputs", "shuffled-labels", "data-leakage"), {}, one_image
    ),
    "validation blurred": Fault(("domain-shift",), {}, blur_validation),
    "validated on training": Fault(("data-leakage",), {}, validate_on_training),
    "the same people": Fault(("data-leakage",), {}, same_people),
    "class missing": Fault(("class-imbalance",), {}, lose_class),
    "sixteen batches of two": Fault(
        ("batch-norm-statistics", "underfitting", "learning-rate-too-high"),
        {"fit.batch_size": 2, "fit.epochs": 2}, keep(400),
    ),
    "everything decays": Fault(
        ("underfitting",),
        {"optimizer.name": "adamw", "optimizer.weight_decay": 30.0, "optimizer.lr": 1e-3},
    ),
    "far too small": Fault(
        ("model-too-small", "underfitting"),
        {"network.width": 1, "network.depth": 2, "network.hidden": 2, "network.dropout": 0.0,
         "optimizer.lr": 3e-3},
    ),
}  # fmt: skip
"""Planted once, after rules and thresholds stood: what the rules were not made for."""

ALL = FAULTS | FURTHER


@contextlib.contextmanager
def unseeded_noise() -> Any:
    from mien.train.loop import stepper as module

    real = augment

    def noisy(pixels: Any, config: Any, generator: Any) -> Any:
        return real(pixels, config, generator) + torch.from_numpy(
            np.random.default_rng().normal(size=pixels.shape).astype(np.float32)
        )

    with patch.object(module, "augment", noisy):
        yield


def initialised(change: Callable[[torch.nn.Module], None]) -> Callable[[], Any]:
    @contextlib.contextmanager
    def trick() -> Any:
        from mien.train.loop import initial_state as module

        def build(*args: Any, **kwargs: Any) -> Any:
            model = registry.build_model(*args, **kwargs)
            with torch.no_grad():
                change(model)
            return model

        with patch.object(module, "build_model", build):
            yield

    return trick


def enlarge(model: torch.nn.Module) -> None:
    for p in model.parameters():
        if p.ndim > 1:
            p.mul_(4)


def kill_units(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias[: len(module.bias) * 7 // 10] = -30.0


TRICKS: dict[str, Callable[[], Any]] = {
    "": contextlib.nullcontext,
    "unseeded noise": unseeded_noise,
    "large weights": initialised(enlarge),
    "negative biases": initialised(kill_units),
}
