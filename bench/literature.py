"""Prints accuracy in the literature's protocols, beside the published figures.

    python bench/literature.py --data datasets/fer2013 --model mien-small --model runs/ferplus8-001

FERPlus-8 under three rules (majority, plurality, probability: see mien.evaluate.protocols) and
FER2013-7 (raw labels), all on PublicTest, which is validation: epochs and models were chosen on it.
Each is given for all of PublicTest ('all') and for its images without a duplicate or near-duplicate
in Training ('no duplicates'). A model that did not learn a protocol's classes has no row there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mien.cli.evaluate import load_scorer
from mien.data.dataset import Dataset, load_dataset
from mien.errors import ConfigError
from mien.evaluate.predictions import Scorer, predict_table
from mien.evaluate.protocols import RULES, Score, ferplus_targets, raw_targets, score
from mien.evaluate.protocols import seen_in_training as seen
from mien.intervals import Estimate
from mien.labels import EIGHT, SEVEN
from mien.model.resolve import resolve

PUBLISHED = {
    "FERPlus-8 majority": "VGG13, majority labels (Barsoum 2016) 83.9, probability labels 85.0; "
    "ResNet18 without and with face pre-training (SCN, 2020) 82.4 and 86.8",
    "FERPlus-8 plurality": "MAE on faces 90.2 and DDAMFN 90.74; their rule was not checked",
    "FERPlus-8 probability": "none: Barsoum 2016 trains with these labels, evaluates by majority",
    "FER2013-7 raw": "CNN+SVM (winner, 2013) 71.16; VGG19 70.80, DenseNet121 73.16, ResNet152 "
    "73.22, RMN 74.14 (RMN, 2020); TinyFER-Lite (0.93M parameters) 67.07",
}
NOTE = """
Ours: PublicTest (validation). Theirs: taken as PrivateTest, as the protocol has it (TinyFER-Lite
was chosen on validation; RMN averages test-time augmentations), so no row is on the same split as
the figures beside it. None is known to have removed duplicates between the splits: count them as
leaky. Training-side leak was not measured: mien's training excludes Training's duplicates of
PublicTest, and no model was trained with them. 'no duplicates' drops the images of PublicTest that
have a duplicate or near-duplicate in Training."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="FER2013 with FERPlus's votes")
    parser.add_argument(
        "--model", type=Path, action="append", required=True, help="ONNX file, run or shipped name"
    )
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    split = dataset.split("validation")
    clean = ~seen(dataset, split)
    print("| model | protocol | images | n | accuracy | balanced accuracy | macro F1 | recalls |")
    print("| --- " * 8 + "|")
    for model in args.model:
        for labels, names in (
            (EIGHT, [f"FERPlus-8 {rule}" for rule in RULES]),
            (SEVEN, ["FER2013-7 raw"]),
        ):
            scorer = scorer_of(model, labels)
            if scorer is None:
                print(
                    f"| {model.name} | {names[0].split()[0]} | classes not learnt "
                    + "| - " * 5
                    + "|"
                )
                continue
            table = predict_table(scorer, split, labels)
            for name in names:
                y_true_n = targets(split, name)
                for images, kept in (("all", np.ones(len(split), bool)), ("no duplicates", clean)):
                    found = score(
                        y_true_n[kept], table.logits_nk[kept], table.groups_n[kept], labels
                    )
                    print(row(model.name, name, images, found), flush=True)
    print("\n| protocol | published accuracy, % (PrivateTest, leaky) |\n| --- | --- |")
    for name, figures in PUBLISHED.items():
        print(f"| {name} | {figures} |")
    print(NOTE)


def scorer_of(model: Path, labels: tuple[str, ...]) -> Scorer | None:
    """Return the model with outputs for `labels`; None where it did not learn them."""
    if not resolve(model).is_run:
        scorer = load_scorer(model, labels)
        return scorer if set(labels) <= set(scorer.labels) else None
    from mien.train.run.folder import load_scorer as load_run

    try:
        return load_run(model, labels=labels)
    except ConfigError as error:
        if "does not learn" not in str(error):
            raise
        return None


def targets(split: Dataset, protocol: str) -> np.ndarray:
    """Return the ground truth of a protocol, int64 [n], -1 for images it removes."""
    rule = protocol.split()[1]
    return raw_targets(split) if rule == "raw" else ferplus_targets(split, rule)


def row(model: str, protocol: str, images: str, found: Score) -> str:
    """Return a row of the table."""
    recalls = ", ".join(f"{k.label} {k.recall.value:.3f} ({k.n})" for k in found.classes)
    figures = (found.accuracy, found.balanced_accuracy, found.macro_f1)
    cells = [model, protocol, images, f"{found.n:,}", *map(words, figures), recalls]
    return "| " + " | ".join(cells) + " |"


def words(estimate: Estimate) -> str:
    """Return a figure with its 95% interval."""
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


if __name__ == "__main__":
    main()
