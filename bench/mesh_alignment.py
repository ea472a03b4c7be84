"""Is MediaPipe's face mesh a better teacher of the alignment than MTCNN's five landmarks?

    python bench/mesh_alignment.py --data datasets/fer2013 --points points.npz --out runs/mesh
                                   [--train 4000] [--seeds 3] [--epochs 16] [--steps 2000]

POINTS comes from bench/face_mesh.py. mien-tiny's recipe with `network.align=8`, as in the ablation,
is trained on the same images, sampled by the seed, once for each teacher of the alignment:

    mtcnn  five landmarks of MTCNN's third network (what `mien train` uses)
    five   the mesh's points at the same five places
    rigid  17 points of the mesh that expressions move least

Compare the paired differences of accuracy and balanced accuracy over seeds on the consensus of the
validation split. Finished trainings are reused. The alignment's training has `--steps` steps for
every teacher, half of a recipe's by default.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch

from face_mesh import RIGID, RIGID_MIRRORED, USABLE, five_landmarks
from mien.data.dataset import Dataset, load_dataset
from mien.study.cell import read_result, run_training
from mien.study.plan import Training
from mien.study.statistics import mean_interval, paired
from mien.train.loop.align_pretraining import MIRRORED, LandmarkTeacher, fit_alignment
from mien.train.recipe.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

MEASURES = ("accuracy", "balanced_accuracy")


def teachers(dataset: Dataset, file: Path) -> dict[str, LandmarkTeacher | None]:
    """Return the teachers by name."""
    with np.load(file) as values:
        if str(values["fingerprint"]) != dataset.fingerprint:
            raise SystemExit(f"{file} is of other data than the dataset")
        rows, points, scores = values["rows"], values["points"], values["scores"]
    crops = np.asarray(dataset.images_nhw)[rows]
    # Duplicates share their points: the network gives the same pixels the same points.
    places = {crop.tobytes(): place for place, crop in enumerate(crops)}

    def lookup(points_np2: np.ndarray) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        def find(pixels: Tensor) -> tuple[Tensor, Tensor]:
            found = np.array([places[image.numpy().tobytes()] for image in pixels[:, 0]])
            usable = scores[found] > USABLE
            chosen = torch.from_numpy(points_np2[found[usable]] * 2 - 1).float()
            return pixels[torch.from_numpy(usable)], chosen

        return find

    return {
        "mtcnn": None,
        "five": LandmarkTeacher(lookup(five_landmarks(points)), MIRRORED),
        "rigid": LandmarkTeacher(
            lookup(points[:, list(RIGID), :2]), tuple(RIGID.index(i) for i in RIGID_MIRRORED)
        ),
    }


def one(
    dataset: Dataset,
    folder: Path,
    teacher: LandmarkTeacher | None,
    seed: int,
    args: argparse.Namespace,
) -> dict[str, float]:
    """Return the measures of one training, made unless its result is there."""
    settings = {
        "labels": "three", "network.align": 8, "fit.seed": seed, "fit.epochs": args.epochs,
        "fit.threads": 1, "fit.device": "cpu",
    }  # fmt: skip
    own = [f"{key}={value}" for key, value in settings.items()]
    training = Training(load_recipe(Path("recipes/tiny.toml"), [*own, *args.set]), args.train, 0)
    result = read_result(folder, training.key, dataset.fingerprint)
    if result is None:
        fit_it = partial(fit_alignment, teacher=teacher, steps=args.steps)
        with mock.patch("mien.train.loop.initial_state.fit_alignment", fit_it):
            result = run_training(training, dataset, folder)
    found = {name: float(result.measures[name] or 0) for name in MEASURES}
    print(
        f"{folder.name}, seed {seed}: "
        + ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        + f" of {result.validation_n:,}, {result.seconds:.0f} s",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--points", type=Path, required=True, help="file of bench/face_mesh.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--set", nargs="*", default=[], help="settings of all trainings")
    parser.add_argument("--only", nargs="+", default=["mtcnn", "rigid", "five"])
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    known = teachers(dataset, args.points)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in args.only}
    # Seed by seed, so that an interrupted comparison is still paired.
    for seed in range(args.seeds):
        for name in args.only:
            found[name].append(one(dataset, args.out / name, known[name], seed, args))
    print(f"{args.train:,} training images, {args.seeds} seeds, {args.steps} steps")
    for name, values in found.items():
        for measure in MEASURES:
            own, theirs = ([v[measure] for v in of] for of in (values, found[args.only[0]]))
            mean, beside = mean_interval(own), paired(own, theirs)
            by = beside.mean
            print(
                f"{name:6} {measure} {mean.value:.4f} ({mean.low:.4f} to {mean.high:.4f}); against "
                f"{args.only[0]} {by.value * 100:+.2f} points ({by.low * 100:+.2f} to "
                f"{by.high * 100:+.2f}), p = {beside.p_value:.2g}"
            )


if __name__ == "__main__":
    main()
