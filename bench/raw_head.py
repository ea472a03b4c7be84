"""FER2013's own seven labels from mien-base's frozen features: only a last layer is trained.

    python bench/run_from_model.py base --from mien-base --data datasets/fer2013 --out runs/base
    python bench/raw_head.py --data datasets/fer2013 --runs runs/base

The cheapest fine-tuning on the raw labels: the runs' networks give features of each training image,
mirrored at random, and softmax regression learns the seven labels from them (label smoothing 0.1,
20 epochs, chosen before any result). Accuracy on PublicTest (validation), with and without
test-time flips (mean logits of a face and its mirror image), for all images and for those without
a duplicate in Training. The training split has no duplicate of a validation image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from literature import words
from mien.data.dataset import Dataset, load_dataset
from mien.evaluate.protocols import raw_targets, score, seen_in_training
from mien.labels import SEVEN
from mien.train.loop.distillation import PooledFeatures
from mien.train.run.folder import load_scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS, BATCH, RATE, SMOOTHING = 20, 256, 2e-3, 0.1


@torch.no_grad()
def features(runs: list[Path], crops_nhw: NDArray[np.uint8]) -> torch.Tensor:
    """Return the pooled features of all runs' networks, float32 [n, d], for one view of each."""
    columns = []
    for run in runs:
        model = load_scorer(run).model
        model.mirror = False
        parts = []
        with PooledFeatures(model) as pooled:
            for start in range(0, len(crops_nhw), BATCH):
                model(torch.from_numpy(crops_nhw[start : start + BATCH])[:, None].float())
                parts.append(pooled.last.flatten(1))
        columns.append(torch.cat(parts))
    return torch.cat(columns, dim=1)


def trained_head(x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Linear:
    """Return softmax regression from standardised features to the seven labels."""
    torch.manual_seed(seed)
    head = nn.Linear(x.shape[1], len(SEVEN))
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        chosen = torch.randint(len(x), (BATCH,))
        loss = functional.cross_entropy(head(x[chosen]), y[chosen], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head


def images_of(split: Dataset) -> NDArray[np.uint8]:
    return np.ascontiguousarray(split.images_nhw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="runs of networks")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(args.data)
    train, test = dataset.split("train"), dataset.split("validation")
    y_train = raw_targets(train)
    crops = images_of(train)[y_train >= 0]
    flipped = np.random.default_rng(0).random(len(crops)) < 0.5
    crops[flipped] = crops[flipped][:, :, ::-1]
    x = features(args.runs, crops)
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    views = [images_of(test), np.ascontiguousarray(images_of(test)[:, :, ::-1])]
    shown = [(features(args.runs, view) - mean) / deviation for view in views]
    clean = ~seen_in_training(dataset, test)
    y_true = raw_targets(test)
    y = torch.from_numpy(y_train[y_train >= 0])
    for seed in range(args.seeds):
        head = trained_head((x - mean) / deviation, y, seed)
        with torch.no_grad():
            one, other = (head(view).numpy() for view in shown)
        for title, logits in (("one view", one), ("flips", (one + other) / 2)):
            for images, kept in (("all", np.ones(len(test), bool)), ("no duplicates", clean)):
                found = score(y_true[kept], logits[kept], test.groups_n[kept], SEVEN)
                print(
                    f"seed {seed}, {title}, {images}: n = {found.n:,}, {words(found.accuracy)}, "
                    f"balanced {words(found.balanced_accuracy)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
