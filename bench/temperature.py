"""Temperatures fitted on few faces: does a prior on the temperature help the others?

    python bench/temperature.py --data datasets/fer2013 [--model mien-small] [--repeats 40]

Fits on n random faces of the validation split with a consensus label and measures the log loss on
all others, with the prior of `mien export` and without. The logits are those of the model, and the
same doubled (a network that is too sure); 'easy' keeps a seventh of the errors.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from default_prior import table_of, truth
from mien.data.dataset import load_dataset
from mien.publish.export import fit_temperature

SIZES = (30, 100, 300, 1000)
KEPT = 0.15


def log_loss(logits_nk: NDArray[np.float32], y_true_n: NDArray[np.int64]) -> float:
    """Return the mean log loss."""
    top_n = logits_nk.max(axis=1)
    sums_n = np.log(np.exp(logits_nk - top_n[:, None]).sum(axis=1)) + top_n
    return float((sums_n - logits_nk[np.arange(len(y_true_n)), y_true_n]).mean())


def compare(
    logits_nk: NDArray[np.float32], y_true_n: NDArray[np.int64], n: int, repeats: int
) -> NDArray[np.float64]:
    """Return [repeats, 2, 2]: log loss of the others and temperature, without prior and with."""
    found = []
    rng = np.random.default_rng(n)
    for _ in range(repeats):
        order = rng.permutation(len(y_true_n))
        few, others = order[:n], order[n:]
        fitted = [
            fit_temperature(logits_nk[few], y_true_n[few], spread)
            for spread in (math.inf, math.log(2))
        ]
        found.append([(log_loss(logits_nk[others] / t, y_true_n[others]), t) for t in fitted])
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--model", default="mien-small", help="shipped model or file")
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    table = table_of(args.model, load_dataset(args.data))
    y_true_n = truth(table)
    known = y_true_n >= 0
    logits_nk, y_true_n = table.logits_nk[known].astype(np.float32), y_true_n[known]
    rng = np.random.default_rng(0)
    wrong = logits_nk.argmax(axis=1) != y_true_n
    easy = ~wrong | (rng.random(len(wrong)) < KEPT)
    print("| logits | n | log loss without, with the prior | difference, 95% interval of the mean "
          "| temperature without, with |\n| --- | --- | --- | --- | --- |")  # fmt: skip
    for name, kept in (("all", np.ones_like(easy)), ("easy", easy)):
        for scale in (1, 2):
            for n in SIZES:
                found = compare(logits_nk[kept] * scale, y_true_n[kept], n, args.repeats)
                loss, t = found[:, :, 0], np.median(found[:, :, 1], axis=0)
                gain = loss[:, 1] - loss[:, 0]
                half = 1.96 * gain.std(ddof=1) / math.sqrt(len(gain))
                mean = gain.mean()
                cells = (
                    f"{name}, x{scale}",
                    f"{n}",
                    f"{loss[:, 0].mean():.4f}, {loss[:, 1].mean():.4f}",
                    f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})",
                    f"{t[0]:.2f}, {t[1]:.2f}",
                )
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
