"""Compares face crops for training: 48 or 64 pixels, upright box or aligned by landmarks.

    python bench/crops.py --data DIR --out RUNS [--recipe recipes/tiny.toml] [--train 4000]
                          [--seeds 3] [--epochs 16]

Each variant trains the recipe on the same number of images, sampled by the seed, and is evaluated
on the whole validation split, prepared as its training images:

    48 pixels  as in the dataset
    64 pixels  the same, enlarged
    aligned    by the similarity transform that brings the landmarks of MTCNN's third network
               closest to the average face's (least squares, Umeyama 1991); an image with a low
               face score is left unchanged

Compare the paired differences of accuracy and their intervals over seeds. Finished trainings are
reused.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.data.dataset import Dataset, load_dataset
from mien.predict.detectors.mtcnn import Mtcnn
from mien.study.cell import read_result, run_training
from mien.study.plan import Training
from mien.study.statistics import mean_interval, paired
from mien.train.loop.align_pretraining import MIN_SCORE
from mien.train.recipe.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MARGIN = 24
"""Pixels by which edges are repeated, for what comes from outside the image."""


def enlarged(images_nhw: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the images with sides of `side` pixels, uint8 [n, side, side]."""
    size, how = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(i).resize(size, how)) for i in images_nhw])


def similarity(
    source_p2: NDArray[np.float64], target_p2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the similarity, float64 [2, 3], that brings source points nearest to the target's."""
    # Turning and scaling is one product of complex numbers.
    source, target = (p @ np.array([1, 1j]) for p in (source_p2, target_p2))
    centred = source - source.mean()
    factor = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    shift = target.mean() - factor * source.mean()
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def turned(images_nhw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the images with their landmarks where the average face has them."""
    points, scores = Mtcnn().face_landmarks(images_nhw)
    points, sure = points * images_nhw.shape[1], scores > MIN_SCORE
    average = points[sure].mean(axis=0).astype(np.float64)
    print(f"landmarks believed in {sure.mean():.1%} of {len(sure):,} images")
    side = images_nhw.shape[1]
    result = images_nhw.copy()
    for i in np.flatnonzero(sure):
        # Pillow asks where each pixel of the result comes from.
        back = similarity(average, points[i].astype(np.float64))
        back[:, 2] += MARGIN
        padded = Image.fromarray(np.pad(images_nhw[i], MARGIN, mode="edge"))
        moved = padded.transform(
            (side, side), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC
        )
        result[i] = np.asarray(moved)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/tiny.toml"))
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=16)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    images = np.asarray(dataset.images_nhw)
    cells: dict[str, Callable[[], NDArray[np.uint8]]] = {
        "as they are": lambda: images,
        "64 pixels": lambda: enlarged(images, 64),
        "turned": lambda: turned(images),
    }
    accuracy: dict[str, list[float]] = {}
    for name, change in cells.items():
        changed = replace(dataset, images_nhw=change())
        folder = arguments.out / name.replace(" ", "-")
        accuracy[name] = [one(changed, folder, seed, arguments) for seed in range(arguments.seeds)]
    print(f"{arguments.train:,} training images, {arguments.seeds} seeds")
    for name, values in accuracy.items():
        mean, beside = mean_interval(values), paired(values, accuracy["as they are"])
        by = beside.mean
        print(
            f"{name:12} {mean.value:.2%} ({mean.low:.2%} to {mean.high:.2%}); against as they are "
            f"{by.value * 100:+.2f} points ({by.low * 100:+.2f} to {by.high * 100:+.2f}), "
            f"p = {beside.p_value:.2g}"
        )


def one(dataset: Dataset, folder: Path, seed: int, arguments: argparse.Namespace) -> float:
    """Return the accuracy of one training, made unless its result is there."""
    own = [f"fit.seed={seed}", f"fit.epochs={arguments.epochs}"]
    recipe = load_recipe(arguments.recipe, [*own, "fit.threads=1", "fit.device=cpu"])
    training = Training(recipe, arguments.train, 0)
    result = read_result(folder, training.key, dataset.fingerprint)
    if result is None:
        result = run_training(training, dataset, folder)
    accuracy = float(result.measures["accuracy"] or 0)
    n, seconds = result.validation_n, result.seconds
    print(f"{folder.name}, seed {seed}: {accuracy:.2%} of {n:,}, {seconds:.0f} s", flush=True)
    return accuracy


if __name__ == "__main__":
    main()
