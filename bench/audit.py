"""Measures the data audit on FER2013: time, memory, and recall of planted faults.

    python bench/audit.py --data fer2013.npz [--count 1400] [--seed 1] [--hog]

Planted are duplicates, wrong labels and non-faces. The thresholds were chosen on the plants of
seed 0; report other seeds. Compare recall and false alarms per kind with the table in docs/log.md,
and `--hog` (the baseline) with the shipped model's opinion.

Wrong labels are planted in PublicTest among faces on whose label the raters agree: the shipped
model was not trained on those. Non-faces are crops of two photographs of a landscape and a flower
(scikit-learn's samples), noise and text.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from copies import plant, report
from mien.data.audit.faces import DOUBTFUL
from mien.data.audit.wrong_labels import check_labels, predict_out_of_fold
from mien.data.duplicates import find_duplicates
from mien.data.ground_truth import consensus_targets
from mien.data.sources.arrays import read_arrays
from mien.doctor.baseline import hog_features
from mien.intervals import wilson
from mien.model.embedder import Embedder
from mien.predict.detectors.crops import CropFaces


def cost(data: Path) -> None:
    """Run `mien data audit`; print its output, time, memory and exact duplicates."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("mien")), "data", "audit", str(data)]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", folder], check=True, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
        with (Path(folder) / "audit.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    print(done.stdout)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"mien data audit: {seconds:.0f} s (below 180), {usage.ru_utime:.0f} s CPU")
    print(f"memory: at most {usage.ru_maxrss / 1e6:.2f} GB (below 2)")
    with np.load(data) as archive:
        contents = [image.tobytes() for image in archive["images"]]
    extra = len(contents) - len(set(contents))
    listed = sum(row["check"] == "exact-duplicate" for row in rows)
    print(f"exact copies listed: {listed:,} of {extra:,} (all)")


def wrong_labels(data: Path, hog: bool, seed: int) -> None:
    """Plant 5% wrong labels in PublicTest; print recall, and how often the raters agree."""
    collection = read_arrays(data, 48)
    assert collection.votes_nk is not None
    names, votes = collection.label_names, collection.votes_nk
    panel = consensus_targets(votes, collection.vote_names, names)
    held = collection.source_splits_n == "validation"
    clear = held & (panel == collection.labels_n) & (votes.max(axis=1) >= 8)
    rng = np.random.default_rng(seed)
    flipped = rng.choice(np.flatnonzero(clear), int(0.05 * held.sum()), replace=False)
    labels = collection.labels_n.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, len(names), len(flipped))) % len(names)
    groups = find_duplicates(collection.images_nhw).groups_n
    embedder = Embedder.load()
    methods = {"mien-small's features": embedder.embed(collection.images_nhw)}
    if hog:
        methods["oriented gradients"] = hog_features(collection.images_nhw).astype(np.float32)
    for method, features in methods.items():
        for what, given in (("with 5% planted", labels), ("as they are", collection.labels_n)):
            opinions = predict_out_of_fold(features, given, names, groups, collection.subjects_n)
            problems = [p for p in check_labels(opinions, given, names) if held[p.row]]
            rows = np.array([p.row for p in problems])
            known = panel[rows] >= 0
            wrong = (panel[rows] != given[rows]) & known
            sure = np.array([p.action == "relabel" for p in problems])
            fraction, certain = wilson(wrong.sum(), known.sum()), (wrong & sure).sum()
            print(
                f"{method}, PublicTest's labels {what}: {len(rows):,} likely wrong; the raters "
                f"agree in {fraction.value:.1%} ({fraction.low:.1%} to {fraction.high:.1%}, "
                f"n = {known.sum():,}); of those to relabel in {certain} of {(known & sure).sum()}"
            )
            if given is labels:
                hit = wilson(np.isin(flipped, rows).sum(), len(flipped))
                print(
                    f"  planted ones found: {hit.value:.1%} ({hit.low:.1%} to {hit.high:.1%}, "
                    f"n = {len(flipped)})"
                )


def faceless(data: Path, seed: int) -> None:
    """Print how many planted non-faces, and images of FER2013, are called non-faces."""
    finder = CropFaces()
    with np.load(data) as archive:
        images, votes = archive["images"], archive["votes"]
    scores = []
    for name, crops in (("planted non-faces", non_faces(seed)), ("FER2013", images)):
        scores.append(finder.scores(crops))
        doubtful = np.flatnonzero(scores[-1] < DOUBTFUL)
        missing = [i for i in doubtful if not finder.has_face(crops[i])]
        print(f"called faceless: {len(missing):,} of {len(crops):,} {name}")
    no_face = votes[:, 9]
    for who, chosen in (
        ("three or more raters call", no_face >= 3),
        ("a majority calls", no_face > votes.sum(axis=1) / 2),
    ):
        judged = np.flatnonzero(chosen)
        print(f"  of {len(judged)} that {who} no face: {np.isin(judged, missing).sum()}")
    planted = np.repeat([False, True], [len(part) for part in scores])
    area = roc_auc_score(planted, np.concatenate(scores))
    print(f"area under the curve of the scores: {area:.3f}")


def non_faces(seed: int) -> np.ndarray:
    rng, crops = np.random.default_rng(seed), []
    for photograph in load_sample_images().images:
        grey = Image.fromarray(photograph).convert("L")
        for _ in range(150):
            side = int(rng.integers(48, 300))
            left, top = (int(rng.integers(0, length - side + 1)) for length in grey.size)
            crops.append(grey.resize((48, 48), box=(left, top, left + side, top + side)))
    for _ in range(60):
        noise = rng.normal(128, 50, (int(rng.integers(3, 49)),) * 2)
        small = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
        crops.append(small.resize((48, 48), Image.Resampling.BILINEAR))
    for _ in range(60):
        text = Image.new("L", (48, 48), int(rng.integers(120, 255)))
        pen, font = ImageDraw.Draw(text), ImageFont.load_default(int(rng.integers(9, 20)))
        for top in range(0, 48, 16):
            letters = "".join(chr(c) for c in rng.integers(65, 91, 6))
            pen.text((2, top), letters, fill=int(rng.integers(0, 100)), font=font)
        crops.append(text)
    return np.stack([np.asarray(crop) for crop in crops])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1400, help="planted near copies")
    parser.add_argument("--seed", type=int, default=1, help="of what is planted")
    parser.add_argument("--hog", action="store_true", help="also labels by oriented gradients")
    arguments = parser.parse_args()
    cost(arguments.data)
    with np.load(arguments.data) as archive:
        images = archive["images"]
    report(plant(images, arguments.count, arguments.seed))
    wrong_labels(arguments.data, arguments.hog, arguments.seed)
    faceless(arguments.data, arguments.seed)


if __name__ == "__main__":
    main()
