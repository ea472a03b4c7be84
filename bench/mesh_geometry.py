"""Do distances and angles of the face mesh say more than mien-small sees?

    python bench/mesh_geometry.py --data datasets/fer2013 --points points.npz [--model mien-small]

POINTS comes from bench/face_mesh.py. Features of each face: named distances and angles (mouth,
brows, lids, nose), in units of the distance between the eyes, and the points of lips, brows, lids
and cheeks after a rigid 3D alignment to the average face (least squares, Umeyama 1991), reduced to
40 principal components. Small classifiers (64 hidden units and a linear path) get

- the model's logits, or its embedding, with and without these features: what they predict is
  added to the model's logits, and starts at 0,
- the features alone.

They are trained on the training split and evaluated on the validation split; with logits they are
also cross-fitted on the validation split, in five folds that keep duplicates together: logits on
images that the model was trained on are surer than on others, so a classifier trained on those
underrates what stands beside them. Compare the paired differences; nothing is chosen on validation.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from face_mesh import RIGID, USABLE
from mien.data.dataset import load_dataset
from mien.data.ground_truth import consensus_targets
from mien.labels import THREE
from mien.model.classifier import Classifier
from mien.model.embedder import Embedder
from mien.predict.prior import prior_shift
from mien.study.statistics import paired

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Features = NDArray[np.float32]

COMPONENTS, HIDDEN, EPOCHS, BATCH, FOLDS, RESAMPLES = 40, 64, 20, 256, 5, 500
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 336, 296, 334, 293, 300, 285, 295, 282, 283, 276)
LIDS = (33, 160, 159, 158, 133, 153, 145, 144, 362, 385, 386, 387, 263, 373, 374, 380)
CHEEKS = (50, 205, 206, 207, 280, 425, 426, 427, 48, 278, 2, 98, 327, 152, 175, 199)
EXPRESSIVE = (*LIPS, *BROWS, *LIDS, *CHEEKS)
SIDES = (
    {"corner": 61, "inner": 133, "outer": 33, "upper": 159, "lower": 145, "brow_in": 55,
     "brow_mid": 52, "brow_out": 46, "wing": 98, "cheek": 50, "lip": 40, "chin": 84},
    {"corner": 291, "inner": 362, "outer": 263, "upper": 386, "lower": 374, "brow_in": 285,
     "brow_mid": 282, "brow_out": 276, "wing": 327, "cheek": 280, "lip": 270, "chin": 314},
)  # fmt: skip
"""Points of either half of the face."""


def named_features(points_np3: NDArray[np.float32]) -> Features:
    """Return distances and angles, float32 [n, f], of points in the average face's frame.

    Args:
        points_np3: rigidly aligned; the distance between the eyes' outer corners is about 1.
    """

    def distance(a: int, b: int) -> Features:
        found: Features = np.linalg.norm(points_np3[:, a] - points_np3[:, b], axis=1)
        return found

    def above(a: int, b: int) -> Features:
        return points_np3[:, b, 1] - points_np3[:, a, 1]

    columns: list[NDArray[Any]] = [
        distance(61, 291), distance(78, 308), distance(13, 14), distance(0, 17), distance(0, 13),
        distance(14, 17), distance(2, 0), distance(17, 152), distance(55, 285), distance(98, 327),
        distance(13, 14) / np.maximum(distance(78, 308), 0.05),
    ]  # fmt: skip
    halves: list[list[NDArray[Any]]] = []
    for side in SIDES:
        middle = (points_np3[:, 13] + points_np3[:, 14]) / 2
        corner = points_np3[:, side["corner"]] - middle
        lid = distance(side["upper"], side["lower"])
        halves.append([
            -corner[:, 1], np.arctan2(-corner[:, 1], np.abs(corner[:, 0])), corner[:, 2],
            above(side["corner"], 0), above(side["corner"], 17), distance(side["corner"], 2),
            above(side["corner"], side["outer"]), lid,
            lid / np.maximum(distance(side["inner"], side["outer"]), 0.05),
            above(side["brow_in"], side["inner"]), above(side["brow_mid"], side["upper"]),
            above(side["brow_out"], side["outer"]), above(side["brow_in"], side["brow_out"]),
            above(side["brow_in"], side["brow_mid"]), distance(side["wing"], side["corner"]),
            distance(side["cheek"], side["lower"]), above(side["lip"], side["corner"]),
            above(side["chin"], side["corner"]),
        ])  # fmt: skip
    left, right = np.stack(halves[0], axis=1), np.stack(halves[1], axis=1)
    # A face and its mirror image have the same expression.
    both = [(left + right) / 2, np.abs(left - right)]
    found: Features = np.concatenate([np.stack(columns, axis=1), *both], axis=1).astype(np.float32)
    return found


def aligned(points_np3: NDArray[np.float32], average_p3: NDArray[np.float32]) -> Features:
    """Return the points rotated, scaled and shifted in 3D so that RIGID fits the average face's."""
    rigid = list(RIGID)
    target = average_p3[rigid] - average_p3[rigid].mean(axis=0)
    own = points_np3[:, rigid]
    middle = own.mean(axis=1, keepdims=True)
    left, values, right = np.linalg.svd(np.einsum("pi,npj->nij", target, own - middle))
    # A rotation, never a reflection.
    sign = np.ones_like(values)
    sign[:, -1] = np.sign(np.linalg.det(left @ right))
    turn = (left * sign[:, None]) @ right
    size = (values * sign).sum(axis=1) / ((own - middle) ** 2).sum(axis=(1, 2))
    turned = np.einsum("nij,npj->npi", turn, points_np3 - middle) * size[:, None, None]
    placed: Features = (turned + average_p3[rigid].mean(axis=0)).astype(np.float32)
    return placed


def geometry(points_np3: NDArray[np.float32], fitted_n: NDArray[np.bool_]) -> Features:
    """Return all features of each face, float32 [n, f], standardised.

    Args:
        points_np3: float32 [n, 468, 3].
        fitted_n: faces that decide the average face, the components and the scales.
    """
    average = points_np3[fitted_n].mean(axis=0)
    average = (average - average[list(RIGID)].mean(axis=0)) / np.linalg.norm(
        average[33] - average[263]
    )
    for _ in range(3):  # generalised Procrustes analysis: the average of aligned faces
        placed = aligned(points_np3, average)
        average = placed[fitted_n].mean(axis=0)
        average /= np.linalg.norm(average[33] - average[263])
    flat = placed[:, list(EXPRESSIVE)].reshape(len(placed), -1)
    flat = flat - flat[fitted_n].mean(axis=0)
    _, _, components = np.linalg.svd(flat[fitted_n][:4000], full_matrices=False)
    values = np.concatenate([named_features(placed), flat @ components[:COMPONENTS].T], axis=1)
    return standardised(values, fitted_n)


def standardised(values_nf: Features, fitted_n: NDArray[np.bool_]) -> Features:
    """Return the columns with mean 0 and deviation 1 over the fitted faces, within 5 deviations."""
    mean, deviation = values_nf[fitted_n].mean(axis=0), values_nf[fitted_n].std(axis=0)
    scaled: Features = np.clip((values_nf - mean) / (deviation + 1e-6), -5, 5).astype(np.float32)
    return scaled


class Small(nn.Module):
    """A hidden layer beside a linear path: float32 [n, f] → logits [n, 3]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, len(THREE))
        last = nn.Linear(HIDDEN, len(THREE))
        self.deep = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Dropout(0.3), last)
        for layer in (self.linear, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        found: torch.Tensor = self.linear(x) + self.deep(x)
        return found


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a small classifier gets: features, float32 [n, f], and logits to correct, [n, 3]."""

    features_nf: Features
    logits_nk: Features


def trained_probs(
    inputs: Inputs,
    targets_nk: NDArray[np.float32],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float64]:
    """Train on the rows `train`; return the probabilities of the rows `test`, float64 [n, 3]."""
    torch.manual_seed(seed)
    x, y = torch.from_numpy(inputs.features_nf), torch.from_numpy(targets_nk)
    start, own = torch.from_numpy(inputs.logits_nk), torch.from_numpy(train)
    model = Small(x.shape[1])
    steps = EPOCHS * max(len(train) // BATCH, 1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        chosen = own[torch.randint(len(own), (BATCH,))]
        loss = functional.cross_entropy(model(x[chosen]) + start[chosen], y[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    rows = torch.from_numpy(test)
    with torch.no_grad():
        return torch.softmax((model.eval()(x[rows]) + start[rows]).double(), dim=1).numpy()


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of both splits that the raters agree on.

    Attributes:
        targets_nk: fractions of the votes for THREE, float32 [n, 3].
        y_true_n: consensus label, int64 [n].
        train: rows of the training split.
        test: rows of the validation split.
        groups_n: duplicates share a number.
    """

    targets_nk: NDArray[np.float32]
    y_true_n: NDArray[np.int64]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    groups_n: NDArray[np.int64]

    @property
    def prior_k(self) -> NDArray[np.float64]:
        """Mean target of the training split."""
        prior: NDArray[np.float64] = self.targets_nk[self.train].mean(axis=0, dtype=np.float64)
        return prior


def on_training(faces: Faces, inputs: Inputs, seed: int) -> NDArray[np.float64]:
    """Return the validation split's probabilities of a classifier trained on the training split."""
    return trained_probs(inputs, faces.targets_nk, faces.train, faces.test, seed)


def cross_fitted(faces: Faces, inputs: Inputs, seed: int) -> NDArray[np.float64]:
    """Return the validation split's probabilities by five folds of that split."""
    groups, members = np.unique(faces.groups_n[faces.test], return_inverse=True)
    fold_n = np.random.default_rng(seed).permutation(len(groups))[members] % FOLDS
    probs = np.zeros((len(faces.test), len(THREE)))
    for fold in range(FOLDS):
        train, test = faces.test[fold_n != fold], faces.test[fold_n == fold]
        probs[fold_n == fold] = trained_probs(inputs, faces.targets_nk, train, test, seed)
    return probs


def measures(
    faces: Faces, probs_nk: NDArray[np.float64], weight_n: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return accuracy and log loss, then balanced accuracy and recall of sad under equal priors."""
    y_true_n, n = faces.y_true_n[faces.test], np.arange(len(probs_nk))
    hit_n = probs_nk.argmax(axis=1) == y_true_n
    even_n = (probs_nk / faces.prior_k).argmax(axis=1) == y_true_n
    recalls = [np.average(even_n[y_true_n == k], weights=weight_n[y_true_n == k]) for k in range(3)]
    loss_n = -np.log(np.clip(probs_nk[n, y_true_n], 1e-9, None))
    return np.array([
        np.average(hit_n, weights=weight_n), np.average(loss_n, weights=weight_n),
        np.mean(recalls), recalls[THREE.index("sad")],
    ])  # fmt: skip


def compare(
    faces: Faces, name: str, first: list[NDArray[np.float64]], second: list[NDArray[np.float64]]
) -> None:
    """Print the paired differences: mean over seeds, intervals by resampling faces and by seeds."""
    n = len(faces.test)
    rng = np.random.default_rng(0)
    whole = np.ones(n)

    def difference(weight_n: NDArray[np.float64]) -> NDArray[np.float64]:
        pairs = zip(first, second, strict=True)
        mean: NDArray[np.float64] = np.mean(
            [measures(faces, a, weight_n) - measures(faces, b, weight_n) for a, b in pairs], axis=0
        )
        return mean

    # Groups of duplicates are resampled as one.
    groups, members = np.unique(faces.groups_n[faces.test], return_inverse=True)
    even = np.full(len(groups), 1 / len(groups))
    draws = np.stack([
        difference(rng.multinomial(len(groups), even)[members].astype(float))
        for _ in range(RESAMPLES)
    ])  # fmt: skip
    value, (low, high) = difference(whole), np.quantile(draws, (0.025, 0.975), axis=0)
    cells = []
    for i, (title, unit) in enumerate(
        (("accuracy", 100), ("log loss", 1), ("balanced, equal priors", 100), ("sad", 100))
    ):
        own, theirs = ([float(measures(faces, p, whole)[i]) for p in of] for of in (first, second))
        seeds = paired(own, theirs).mean
        cells.append(
            f"{title} {value[i] * unit:+.4f} ({low[i] * unit:+.4f} to {high[i] * unit:+.4f}; "
            f"seeds {seeds.low * unit:+.4f} to {seeds.high * unit:+.4f})"
        )
    print(f"  {name}: " + "; ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--points", type=Path, required=True, help="file of bench/face_mesh.py")
    parser.add_argument("--model", default="mien-small")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    faces, crops, points, scores = load(args.data, args.points)
    usable_n = scores > USABLE
    train_n = np.isin(np.arange(len(scores)), faces.train)
    shapes = geometry(points, usable_n & train_n)
    # Where no face was found, the features are the average's, and a column says so.
    shapes = np.concatenate(
        [shapes * usable_n[:, None], usable_n[:, None]], axis=1, dtype=np.float32
    )
    model = Classifier.load(args.model, threads=1)
    logits = model.logits(crops)
    if (back := prior_shift(model.info, "training")) is not None:
        logits = logits + back.offset_k
    logits = logits - logits.mean(axis=1, keepdims=True)
    scaled = standardised(logits, train_n)
    embedding = standardised(Embedder.load(args.model, threads=1).embed(crops), train_n)
    for title, rows in (("training", faces.train), ("validation", faces.test)):
        hit = (predictions(model, crops[rows]) == faces.y_true_n[rows]).mean()
        print(
            f"{args.model}, {title}: {hit:.4f} of {len(rows):,}; usable {usable_n[rows].mean():.4f}"
        )
    zeros = np.zeros_like(logits)
    cells = {
        "geometry": Inputs(shapes, zeros),
        "logits": Inputs(scaled, logits),
        "embedding": Inputs(embedding, logits),
        "logits + geometry": Inputs(np.concatenate([scaled, shapes], axis=1), logits),
        "embedding + geometry": Inputs(np.concatenate([embedding, shapes], axis=1), logits),
    }
    ways: dict[str, Callable[[Faces, Inputs, int], NDArray[np.float64]]] = {
        "trained on the training split": on_training,
        "cross-fitted on the validation split": cross_fitted,
    }
    whole = np.ones(len(faces.test))
    for way, train in ways.items():
        print(
            f"{way}, n = {len(faces.test):,}, {args.seeds} seeds: "
            "accuracy, log loss; equal priors: balanced accuracy, recall of sad"
        )
        found = {
            name: [train(faces, x, seed) for seed in range(args.seeds)] for name, x in cells.items()
        }
        for name, probs in found.items():
            mean = np.mean([measures(faces, p, whole) for p in probs], axis=0)
            print(f"  {name}: " + ", ".join(f"{v:.4f}" for v in mean))
        for name in ("logits", "embedding"):
            compare(faces, f"geometry beside {name}", found[f"{name} + geometry"], found[name])


def predictions(model: Classifier, crops_nhw: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the model's predictions under its own prior."""
    predicted: NDArray[np.int64] = model.logits(crops_nhw).argmax(axis=1)
    return predicted


def load(
    data: Path, file: Path
) -> tuple[Faces, NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return the faces, their crops, points and scores, in the order of the file."""
    dataset = load_dataset(data)
    with np.load(file) as values:
        if str(values["fingerprint"]) != dataset.fingerprint:
            raise SystemExit(f"{file} is of other data than {data}")
        rows, points, scores = values["rows"], values["points"], values["scores"]
    part = dataset.subset(rows)
    assert part.votes_nk is not None
    votes = part.votes_nk[:, [part.vote_names.index(label) for label in THREE]]
    faces = Faces(
        (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32),
        consensus_targets(part.votes_nk, part.vote_names, THREE),
        np.flatnonzero(part.splits_n == "train"), np.flatnonzero(part.splits_n == "validation"),
        part.groups_n,
    )  # fmt: skip
    return faces, np.ascontiguousarray(part.images_nhw), points, scores


if __name__ == "__main__":
    main()
