"""Measures the effect of correcting for the training prior on accuracy and recall per class.

    python bench/prior.py --data datasets/fer2013

For each model, on the consensus labels of the validation split, from logits under the prior of the
training data:
- tau: tau * log(training prior) is subtracted from the logits (Menon et al. 2021,
  arXiv:2007.07314; tau = 1 is Saerens et al. 2002 for a uniform prior),
- bias: a constant is added to the logit of `sad` only.
Compare balanced accuracy and recalls with the row tau = 0. Nothing is fitted, but choosing the best
row selects it on validation data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from default_prior import LABELS, prior_of, table_of, truth
from mien.data.dataset import load_dataset
from mien.evaluate.bootstrap import headline_estimates
from mien.evaluate.metrics import Rows, confusion_matrix
from mien.evaluate.predictions import PredictionTable
from mien.intervals import Estimate, wilson
from mien.model.classifier import softmax

TAUS = (0.0, 0.25, 0.5, 0.75, 1.0)
BIASES = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--models", nargs="+", default=["mien-tiny", "mien-small", "mien-base"])
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    prior_k = np.array(list(prior_of(dataset, LABELS).values()))
    print(
        "training prior:", ", ".join(f"{a} {p:.4f}" for a, p in zip(LABELS, prior_k, strict=True))
    )
    print(
        "| model | shift | n | accuracy | balanced accuracy | recall " + " | ".join(LABELS), end=" "
    )
    print("| log loss | balanced log loss |\n" + "| --- " * 10 + "|")
    for model in args.models:
        table = table_of(model, dataset)
        for tau in TAUS:
            print_row(model, f"tau {tau:g}", table, -tau * np.log(prior_k))
        for bias in BIASES:
            print_row(model, f"sad +{bias:g}", table, bias * (np.array(LABELS) == "sad"))


def print_row(model: str, shift: str, table: PredictionTable, shift_k: NDArray[np.float64]) -> None:
    """Print the figures of one model with `shift_k`, float64 [k], added to its logits."""
    y_true_n = truth(table)
    probs_nk = softmax((table.logits_nk + shift_k).astype(np.float32))
    rows = Rows.of(y_true_n, probs_nk)
    accuracy, balanced = headline_estimates(rows, table.groups_n)[:2]
    hits_k = np.diag(confusion_matrix(y_true_n, rows.y_pred_n, rows.classes))
    recalls = [wilson(hits, n) for hits, n in zip(hits_k, rows.support_k, strict=True)]
    balanced_loss = np.mean([rows.log_loss_n[y_true_n == k].mean() for k in range(rows.classes)])
    cells = [model, shift, str(len(y_true_n)), words(accuracy), words(balanced)]
    cells += [words(recall) for recall in recalls]
    print(
        "| " + " | ".join([*cells, f"{rows.log_loss_n.mean():.4f}", f"{balanced_loss:.4f}"]) + " |"
    )


def words(estimate: Estimate) -> str:
    """Return a figure with its 95% interval."""
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


if __name__ == "__main__":
    main()
