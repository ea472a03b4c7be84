"""Trains the alignment of a finished model once more, on another teacher's landmarks.

    python bench/run_from_model.py small --from mien-small --data datasets/fer2013 --out runs/small
    python bench/refit_alignment.py --run runs/small --data datasets/fer2013 --points points.npz
        [--seeds 3] [--steps 4000] [--only five rigid mtcnn] [--write runs/refitted]

The classifier stays as it is, so the new alignment is trained for the frame that it is used to:
the landmarks of an aligned face are the medians of training faces under the present alignment. Per
teacher (see bench/mesh_alignment.py) and seed: accuracy under the training prior with its paired
difference to the present alignment, and accuracy, balanced accuracy and recall of sad under the
prior that bench/default_prior.py would choose, on the consensus of the validation split. --write
saves the run of the first teacher and seed with its new alignment.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from default_prior import LABELS, RARE, choose, metrics, prior_of, truth
from mesh_alignment import teachers
from mesh_precision import matched_average, network_similarities
from mien.data.dataset import Dataset, load_dataset
from mien.evaluate.predictions import PredictionTable, predict_table
from mien.publish.export import fit_temperature
from mien.train.loop.align_pretraining import (
    MIRRORED,
    STEPS,
    LandmarkTeacher,
    fit_alignment,
    mtcnn_landmarks,
)
from mien.train.networks.align import SpatialTransformer
from mien.train.networks.registry import Model
from mien.train.run.checkpoint import save_checkpoint
from mien.train.run.folder import RunScorer, load_scorer, open_run

MATCHED, RESAMPLES = 3000, 2000


def in_frame_of(model: Model, teacher: LandmarkTeacher, pixels: torch.Tensor) -> LandmarkTeacher:
    """Return the teacher with the landmarks that the model's aligned faces have."""
    chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:MATCHED]
    faces, points = teacher.find(pixels[chosen])
    rows_n23 = network_similarities(model, faces[:, 0].numpy())
    average = matched_average((points.double().numpy() + 1) / 2, rows_n23)
    return replace(teacher, target_p2=torch.from_numpy(average).float())


def table_of(scorer: RunScorer[Model], dataset: Dataset) -> PredictionTable:
    """Return the calibrated predictions on the validation images with a consensus label."""
    table = predict_table(scorer, dataset.split("validation"), LABELS)
    kept = truth(table) >= 0
    logits_nk, y_true_n = table.logits_nk[kept], truth(table)[kept]
    return replace(
        table, logits_nk=logits_nk / fit_temperature(logits_nk, y_true_n), raw_n=table.raw_n[kept],
        consensus_n=y_true_n, groups_n=table.groups_n[kept], sources_n=table.sources_n[kept],
    )  # fmt: skip


def hits(table: PredictionTable) -> NDArray[np.float64]:
    """Return 1 where the prediction under the training prior is right, [n]."""
    found: NDArray[np.float64] = table.logits_nk.argmax(axis=1) == truth(table)
    return found.astype(float)


def print_scores(
    name: str, table: PredictionTable, training_k: NDArray[np.float64], own_n: NDArray[np.float64]
) -> None:
    """Print the figures of an alignment beside the hits of the present one."""
    gain_n = hits(table) - own_n
    n = len(gain_n)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES) @ gain_n / n
    low, high = np.quantile(draws, (0.025, 0.975)) * 100
    accuracy, recall_k, loss = metrics(table, training_k, training_k)
    prior_k = choose(table, training_k)
    chosen, chosen_k, _ = metrics(table, training_k, prior_k)
    print(
        f"{name}: training prior {accuracy:.4f} ({gain_n.mean() * 100:+.2f}, {low:+.2f} to "
        f"{high:+.2f} points), balanced {recall_k.mean():.4f}, balanced log loss {loss:.4f}; prior "
        f"{' / '.join(f'{p:.3f}' for p in prior_k)}: {chosen:.4f}, balanced {chosen_k.mean():.4f}, "
        f"sad {chosen_k[RARE]:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--run", type=Path, required=True, help="run with network.align")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--points", type=Path, required=True, help="file of bench/face_mesh.py")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", nargs="+", default=["five", "rigid", "mtcnn"])
    parser.add_argument("--write", type=Path, help="new run folder, of the first teacher and seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(args.data)
    training_k = np.array([prior_of(dataset, LABELS)[label] for label in LABELS])
    own = load_scorer(args.run)
    first = table_of(own, dataset)
    print_scores("present", first, training_k, hits(first))
    with np.load(args.points) as values:
        rows = values["rows"]
    crops = np.asarray(dataset.images_nhw)
    train = rows[np.asarray(dataset.splits_n)[rows] == "train"]
    pixels = torch.from_numpy(crops[train])[:, None]
    known = teachers(dataset, args.points)
    for name in args.only:
        teacher = known[name] or LandmarkTeacher(mtcnn_landmarks, MIRRORED)
        teacher = in_frame_of(own.model, teacher, pixels)
        for seed in range(args.seeds):
            scorer = load_scorer(args.run)
            assert own.model.align is not None
            scorer.model.align = new_alignment(own.model.align, seed)
            off = fit_alignment(
                scorer.model.align, scorer.model.normalise, pixels, seed, teacher=teacher,
                steps=args.steps,
            )  # fmt: skip
            scorer.model.align.eval()
            table = table_of(scorer, dataset)
            print_scores(f"{name}, seed {seed}, off {off:.4f}", table, training_k, hits(first))
            if args.write and (name, seed) == (args.only[0], 0):
                write(scorer.model, args.run, args.write)


def new_alignment(present: SpatialTransformer, seed: int) -> SpatialTransformer:
    """Return a spatial transformer of the same size with random weights."""
    torch.manual_seed(seed)
    first = present.features[0]
    assert isinstance(first, torch.nn.Conv2d)
    return SpatialTransformer(first.out_channels)


def write(model: Model, run: Path, out: Path) -> None:
    """Write a copy of the run folder with the weights of `model` as its best checkpoint."""
    shutil.copytree(run, out)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    state = {"epoch": 0, "best_epoch": 0, "metrics": {}}
    save_checkpoint(open_run(out).checkpoints, "best", weights, state)


if __name__ == "__main__":
    main()
