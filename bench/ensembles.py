"""Compares every ensemble of some models, the mean of their logits, with a reference model.

    python bench/ensembles.py --data datasets/fer2013 --members mien-small runs/a.onnx runs/b.onnx

Members are model files or shipped models of one network each; their logits count before the
temperature, as in `mien export --with`. Per ensemble, on the consensus labels of the validation
split:

- accuracy, balanced accuracy and recall of sad under the prior that `bench/default_prior.py` would
  choose, and their differences from the reference, in points, with 95% bootstrap intervals;
- cross-fitted: the prior is chosen on one half of the faces and measured on the other, 200 times;
- log loss, which needs no decision, minus the reference's, with its 95% bootstrap interval.

The last line chooses the ensemble on one half too, by accuracy plus balanced accuracy: that is
what the search over all ensembles is worth on faces that it has not seen. It compares with the
reference's cross-fitted figures. Intervals are not corrected for the number of ensembles.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from default_prior import FACTORS, LABELS, RARE, prior_of, table_of, truth
from mien.data.dataset import load_dataset
from mien.model.classifier import Classifier, softmax
from mien.publish.export import fit_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES, HALVINGS = 2000, 100
COLUMNS = (
    "ensemble", "accuracy", "balanced", "sad", "difference of accuracy", "of balanced accuracy",
    "cross-fitted accuracy", "balanced", "log loss", "difference of log loss",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scored:
    """An ensemble's hits under each prior, bool [f, n], and its log loss of each face, [n]."""

    hit_fn: NDArray[np.bool_]
    loss_n: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--members", nargs="+", required=True, help="models of one network each")
    parser.add_argument("--reference", default="mien-base", help="model to compare with")
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    training = prior_of(dataset, LABELS)
    training_k = np.array([training[label] for label in LABELS])
    tables = {model: table_of(model, dataset) for model in [args.reference, *args.members]}
    y_true_n = truth(tables[args.reference])
    raw = {
        model: table.logits_nk * Classifier.load(Path(model)).info.temperature
        for model, table in tables.items()
    }
    reference = score(raw[args.reference], y_true_n, training_k)
    groups = [c for k in range(len(args.members)) for c in combinations(args.members, k + 1)]
    scored = {
        " + ".join(Path(m).stem for m in group): score(
            np.mean([raw[m] for m in group], axis=0), y_true_n, training_k
        )
        for group in groups
    }
    print(f"| {' | '.join(COLUMNS)} |\n" + "| --- " * len(COLUMNS) + "|")
    print_row(args.reference, reference, reference, y_true_n)
    for name, one in scored.items():
        print_row(name, one, reference, y_true_n)
    accuracy, balanced = cross_fitted(list(scored.values()), y_true_n)
    print(f"chosen among {len(scored)} on the other half: {accuracy:.4f}, {balanced:.4f}")


def score(
    logits_nk: NDArray[np.floating], y_true_n: NDArray[np.int64], training_k: NDArray[np.float64]
) -> Scored:
    """Return what an ensemble gets right, calibrated by one temperature, under each prior."""
    logits_nk = logits_nk.astype(np.float32)
    logits_nk = logits_nk / fit_temperature(logits_nk, y_true_n)
    # The same priors as bench/default_prior.py: the odds of the rare class are multiplied.
    factor_fk = np.ones((len(FACTORS), len(training_k)))
    factor_fk[:, RARE] = FACTORS
    prior_fk = factor_fk * training_k
    prior_fk = (prior_fk / prior_fk.sum(axis=1, keepdims=True)).round(3)
    shifted_fnk = logits_nk + np.log(prior_fk / training_k)[:, None]
    hit_fn = shifted_fnk.argmax(axis=2) == y_true_n
    probs_nk = softmax(logits_nk)
    return Scored(hit_fn, -np.log(probs_nk[np.arange(len(y_true_n)), y_true_n].astype(float)))


def figures(
    hit_fn: NDArray[np.bool_], y_true_n: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracy and balanced accuracy under each prior, float64 [f]."""
    recalls = [hit_fn[:, y_true_n == k].mean(axis=1) for k in range(len(LABELS))]
    return hit_fn.mean(axis=1), np.mean(recalls, axis=0)


def cross_fitted(scored: list[Scored], y_true_n: NDArray[np.int64]) -> tuple[float, float]:
    """Return accuracy and balanced accuracy on halves that did not choose ensemble and prior."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(HALVINGS):
        first_n = np.zeros(len(y_true_n), dtype=bool)
        for k in range(len(LABELS)):
            own = rng.permutation(np.flatnonzero(y_true_n == k))
            first_n[own[: len(own) // 2]] = True
        for chooses_n in (first_n, ~first_n):
            best = (-1.0, 0.0, 0.0)
            for one in scored:
                total_f = np.sum(figures(one.hit_fn[:, chooses_n], y_true_n[chooses_n]), axis=0)
                f = int(total_f.argmax())
                if total_f[f] > best[0]:
                    rest = figures(one.hit_fn[f : f + 1, ~chooses_n], y_true_n[~chooses_n])
                    best = (float(total_f[f]), float(rest[0][0]), float(rest[1][0]))
            found.append(best[1:])
    accuracy, balanced = np.mean(found, axis=0)
    return float(accuracy), float(balanced)


def print_row(name: str, one: Scored, reference: Scored, y_true_n: NDArray[np.int64]) -> None:
    """Print one row of the Markdown table."""
    accuracy_f, balanced_f = figures(one.hit_fn, y_true_n)
    theirs_f = np.sum(figures(reference.hit_fn, y_true_n), axis=0)
    f, g = int((accuracy_f + balanced_f).argmax()), int(theirs_f.argmax())
    hits = np.array([one.hit_fn[f], reference.hit_fn[g]], dtype=float)
    # Each class is resampled on its own: balanced accuracy is a mean over classes.
    rng = np.random.default_rng(0)
    changes = []
    for k in range(len(LABELS)):
        own = np.flatnonzero(y_true_n == k)
        times = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), RESAMPLES)
        changes.append(times @ (hits[0] - hits[1])[own])
    size_k = np.bincount(y_true_n, minlength=len(LABELS))
    accuracy_b = np.sum(changes, axis=0) / size_k.sum()
    balanced_b = np.mean([c / n for c, n in zip(changes, size_k, strict=True)], axis=0)
    gain_n = one.loss_n - reference.loss_n
    n = len(gain_n)
    loss_b = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ gain_n / n
    accuracy, balanced = cross_fitted([one], y_true_n)
    print(
        f"| {name} | {accuracy_f[f]:.4f} | {balanced_f[f]:.4f} | "
        f"{one.hit_fn[f][y_true_n == RARE].mean():.3f} | "
        f"{points(accuracy_f[f] - hits[1].mean(), accuracy_b)} | "
        f"{points(balanced_f[f] - figures(reference.hit_fn, y_true_n)[1][g], balanced_b)} | "
        f"{accuracy:.4f} | {balanced:.4f} | {one.loss_n.mean():.4f} | "
        f"{gain_n.mean():+.4f} ({bounds(loss_b, '+.4f')}) |"
    )


def points(difference: float, resampled_b: NDArray[np.float64]) -> str:
    """Return a difference with its interval in points."""
    return f"{100 * difference:+.2f} ({bounds(100 * resampled_b, '+.2f')})"


def bounds(resampled_b: NDArray[np.float64], form: str) -> str:
    """Return the 95% interval of resampled values."""
    low, high = np.percentile(resampled_b, [2.5, 97.5])
    return f"{low:{form}} to {high:{form}}"


if __name__ == "__main__":
    main()
