"""Chooses the class prior of the shipped models' outputs, and writes it into model files.

    python bench/default_prior.py --data datasets/fer2013
    python bench/default_prior.py --data datasets/fer2013 --write mien-small --out models/

Priors of one parameter are compared: the odds of `sad` are multiplied by 1 to 3.5, while happy
and neutral keep the ratio that they have in training. Chosen is the prior with the highest sum of
accuracy and balanced accuracy. Per model: accuracy, balanced accuracy, recalls and balanced log
loss under the training prior, the chosen one and a uniform one, and the calibration error (15
bins, plug-in) of faces that are weighted to have that prior. All of it is on the consensus labels
of the validation split: the choice is made on validation.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import Dataset, load_dataset
from mien.evaluate.metrics import BINS
from mien.evaluate.predictions import PredictionTable, predict_table
from mien.intervals import wilson
from mien.model.classifier import Classifier, softmax
from mien.model.resolve import model_content
from mien.predict.prior import prior_shift
from mien.publish.prior import training_prior, with_output_prior
from mien.publish.quantize import compare_accuracy
from mien.publish.rewrite import with_info, write_model

LABELS = ("happy", "neutral", "sad")
RARE = LABELS.index("sad")
COLUMNS = (
    "model", "prior happy / neutral / sad", "accuracy", "balanced accuracy",
    "recall happy / neutral / sad", "balanced log loss", "calibration error",
)  # fmt: skip
FACTORS = np.round(np.arange(1.0, 3.51, 0.1), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--models", nargs="+", default=["mien-tiny", "mien-small", "mien-base"])
    parser.add_argument("--write", help="model to write with its chosen prior, into --out")
    parser.add_argument("--float", help="float32 form of an int8 model, to measure its loss again")
    parser.add_argument("--out", type=Path, default=Path("models"))
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    training = prior_of(dataset, LABELS)
    training_k = np.array([training[label] for label in LABELS])
    if args.write:
        table = table_of(args.write, dataset)
        write(args.write, dataset, choose(table, training_k), args.out, args.float)
        return
    print(f"| {' | '.join(COLUMNS)} |\n" + "| --- " * len(COLUMNS) + "|")
    for model in args.models:
        table = table_of(model, dataset)
        for prior_k in (training_k, choose(table, training_k), np.full(3, 1 / 3)):
            print_row(model, table, training_k, prior_k)


def prior_of(dataset: Dataset, labels: tuple[str, ...]) -> dict[str, float]:
    """Return the class prior of the training split, which has an image of each label."""
    prior = training_prior(dataset.split("train"), labels)
    assert prior is not None
    return prior


def table_of(model: str, dataset: Dataset) -> PredictionTable:
    """Return the predictions with a consensus label, under the prior of the training data."""
    classifier = Classifier.load(Path(model), threads=1)
    table = predict_table(classifier, dataset.split("validation"), LABELS)
    logits_nk = table.logits_nk
    if (back := prior_shift(classifier.info, "training")) is not None:
        logits_nk = logits_nk + back.offset_k
    assert table.consensus_n is not None
    kept = table.consensus_n >= 0
    return replace(
        table, logits_nk=logits_nk[kept], raw_n=table.raw_n[kept],
        consensus_n=table.consensus_n[kept], groups_n=table.groups_n[kept],
        sources_n=table.sources_n[kept],
    )  # fmt: skip


def choose(table: PredictionTable, training_k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the prior, float64 [k], by the rule in the module's docstring."""
    scored = []
    for factor in FACTORS:
        prior_k = training_k.copy()
        prior_k[RARE] *= factor
        prior_k = (prior_k / prior_k.sum()).round(3)
        prior_k /= prior_k.sum()
        accuracy, recall_k, _ = metrics(table, training_k, prior_k)
        scored.append((accuracy + recall_k.mean(), prior_k))
    best: NDArray[np.float64] = max(scored, key=lambda one: float(one[0]))[1]
    return best


def metrics(
    table: PredictionTable, training_k: NDArray[np.float64], prior_k: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], float]:
    """Return accuracy, recall of each class and balanced log loss under a prior."""
    probs_nk = corrected(table, training_k, prior_k)
    y_true_n = truth(table)
    hit_n = probs_nk.argmax(axis=1) == y_true_n
    loss_n = -np.log(probs_nk[np.arange(len(y_true_n)), y_true_n])
    of = [y_true_n == k for k in range(len(LABELS))]
    recall_k = np.array([hit_n[rows].mean() for rows in of])
    return float(hit_n.mean()), recall_k, float(np.mean([loss_n[rows].mean() for rows in of]))


def corrected(
    table: PredictionTable, training_k: NDArray[np.float64], prior_k: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the probabilities under a prior, float32 [n, k]."""
    return softmax((table.logits_nk + np.log(prior_k / training_k)).astype(np.float32))


def truth(table: PredictionTable) -> NDArray[np.int64]:
    """Return the consensus labels, int64 [n]."""
    assert table.consensus_n is not None
    return table.consensus_n


def weighted_calibration_error(
    table: PredictionTable, training_k: NDArray[np.float64], prior_k: NDArray[np.float64]
) -> float:
    """Return the calibration error of faces that are weighted to have the prior."""
    probs_nk, y_true_n = corrected(table, training_k, prior_k), truth(table)
    frequency_k = np.bincount(y_true_n, minlength=len(LABELS)) / len(y_true_n)
    weight_n = (prior_k / frequency_k)[y_true_n] / len(y_true_n)
    confidence_n = probs_nk.max(axis=1)
    gap_n = weight_n * (confidence_n - (probs_nk.argmax(axis=1) == y_true_n))
    bins_n = np.clip(np.ceil(confidence_n * BINS).astype(int) - 1, 0, BINS - 1)
    return float(np.abs(np.bincount(bins_n, gap_n, BINS)).sum())


def print_row(
    model: str,
    table: PredictionTable,
    training_k: NDArray[np.float64],
    prior_k: NDArray[np.float64],
) -> None:
    """Print one row of the Markdown table."""
    accuracy, recall_k, loss = metrics(table, training_k, prior_k)
    y_true_n = truth(table)
    n = len(y_true_n)
    rare = wilson(round(recall_k[RARE] * (y_true_n == RARE).sum()), (y_true_n == RARE).sum())
    whole = wilson(round(accuracy * n), n)
    print(
        f"| {model} | {' / '.join(f'{p:.3f}' for p in prior_k)} | {accuracy:.4f} "
        f"({whole.low:.4f} to {whole.high:.4f}) | {recall_k.mean():.4f} | "
        f"{recall_k[0]:.3f} / {recall_k[1]:.3f} / {recall_k[2]:.3f} ({rare.low:.3f} to "
        f"{rare.high:.3f}) | {loss:.4f} | "
        f"{weighted_calibration_error(table, training_k, prior_k):.4f} |"
    )


def write(
    model: str, dataset: Dataset, prior_k: NDArray[np.float64], out: Path, full: str | None
) -> None:
    """Write a shipped model with its training priors and the chosen output prior.

    An int8 model has a prior of its own, for quantization moves the logits of rare classes too;
    its loss of accuracy is measured again, against the float32 form `full` as it is shipped.
    """
    content, name = model_content(model)
    info = Classifier.from_bytes(content, name=name).info
    heads = tuple(
        replace(head, training_prior=prior_of(dataset, head.labels)) for head in info.heads
    )
    info = replace(info, training_prior=prior_of(dataset, info.labels), heads=heads)
    prior = dict(zip(LABELS, prior_k.tolist(), strict=True))
    content, info = with_output_prior(with_info(content, info), info, prior)
    classifier = Classifier.from_bytes(content, name=name)
    if full is not None:
        by, n, loss, changed = compare_accuracy(Classifier.load(full), classifier, dataset)
        measured = {"by": by, "n": n, "loss": loss.to_dict(), "changed": round(changed, 6)}
        info = replace(info, quantized={**info.quantized, **measured})
        classifier = Classifier(classifier.session, info)
        print(f"loss of accuracy: {loss}")
    path = out / f"{info.name}.onnx"
    write_model(classifier, content, path, dataset, "validation", "")
    print(f"{path}: prior {info.prior}")


if __name__ == "__main__":
    main()
