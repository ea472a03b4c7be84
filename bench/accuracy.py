"""Compares the accuracy of models on one dataset, each with the first.

    python bench/accuracy.py --data DATA [--models mien-small mine.onnx runs/x] [--split validation]
                             [--labels three] [--json FILE]

DATA is a dataset folder, or anything that `mien data import` reads (class folders, a CSV, an
.npz); then all of its images are evaluated, with duplicates resampled together. Models are shipped
names (default: all), ONNX files and run folders. Compare the paired differences and their 95%
intervals, not two separate accuracies: the paired intervals are narrower.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.cli.evaluate import load_scorer
from mien.data.dataset import Dataset, load_dataset
from mien.data.duplicates import find_duplicates
from mien.data.sources.registry import read_source
from mien.evaluate.bootstrap import paired_accuracy
from mien.evaluate.evaluate import grade
from mien.evaluate.predictions import PredictionTable, predict_table
from mien.labels import label_set
from mien.model.resolve import shipped_models


def graded_faces(data: Path, split: str) -> Dataset:
    if (data / "dataset.json").exists():
        return load_dataset(data).split(split)
    found = read_source(data)
    groups_n = find_duplicates(found.images_nhw).groups_n
    return replace(found, splits_n=np.full(len(found), "test"), groups_n=groups_n)


def hits(table: PredictionTable, y_true_n: np.ndarray) -> np.ndarray:
    known = y_true_n >= 0
    right: np.ndarray = table.logits_nk[known].argmax(axis=1) == y_true_n[known]
    return right.astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=list(shipped_models()))
    parser.add_argument("--split", default="validation")
    parser.add_argument("--labels", default="three")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    faces = graded_faces(arguments.data, arguments.split)
    labels = label_set(arguments.labels)
    print(f"{faces.name}: {len(faces):,} faces, labels {', '.join(labels)}")
    print("| model | truth | n | accuracy | macro F1 | calibration error | to the first |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    first: dict[str, np.ndarray] = {}
    for model in arguments.models:
        table = predict_table(load_scorer(Path(model)), faces, labels)
        for name, right in (("consensus", table.consensus_n), ("raw", table.raw_n)):
            metrics = None if right is None else grade(table, right)
            if right is None or metrics is None:
                continue
            own = hits(table, right)
            gain = paired_accuracy(own, first.setdefault(name, own), faces.groups_n[right >= 0])
            shown = [
                f"{metrics.headlines[key].value:.4f} ({metrics.headlines[key].low:.4f} to "
                f"{metrics.headlines[key].high:.4f})"
                for key in ("accuracy", "macro_f1", "calibration_error")
            ]
            points = f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
            cells = [model, name, f"{metrics.n:,}", *shown, points]
            print("| " + " | ".join(cells) + " |", flush=True)
            headlines = {k: e.to_dict() for k, e in metrics.headlines.items()}
            rows.append({"model": model, "truth": name, "n": metrics.n, **headlines,
                         "gain": gain.to_dict()})  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
