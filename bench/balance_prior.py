"""Does training that does not neglect a class help where the prior is corrected anyway?

    python bench/balance_prior.py --data datasets/fer2013 --out runs/balance [--seeds 5]

Repeats cells of recipes/study/balance.toml (mien-tiny's recipe, 4,000 images sampled by each seed,
16 epochs) and evaluates each network on the consensus of the validation split:

    unchanged  its own logits, as the study does
    prior      the odds of sad multiplied by one of bench/default_prior.py's factors, which one half
               of the faces chooses and the other measures, 200 times (highest accuracy plus
               balanced accuracy), after one temperature

Compare the paired differences over seeds from the recipe. Finished trainings are reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from default_prior import LABELS, prior_of
from ensembles import cross_fitted, figures, score
from mien.data.dataset import Dataset, load_dataset
from mien.evaluate.predictions import predict_table
from mien.study.cell import random_subset
from mien.study.plan import Training
from mien.study.statistics import mean_interval, paired
from mien.train.loop.fit import fit
from mien.train.recipe.recipe import load_recipe
from mien.train.run.folder import create_run, load_scorer

CELLS = {
    "recipe": [],
    "square-root sampling": ["fit.sampling=square_root"],
    "logit adjustment 1": ["loss.logit_adjustment=1.0"],
}
COLUMNS = ("accuracy", "balanced accuracy", "accuracy, prior", "balanced accuracy, prior", "sum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--set", nargs="*", default=[], help="settings of all cells")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    found: dict[str, list[np.ndarray]] = {name: [] for name in CELLS}
    for seed in range(args.seeds):
        for name, settings in CELLS.items():
            folder = args.out / f"{name.replace(' ', '-')}-{seed}"
            found[name].append(measures(dataset, folder, [*settings, *args.set], seed))
            print(
                f"{name}, seed {seed}: " + ", ".join(f"{v:.4f}" for v in found[name][-1]),
                flush=True,
            )
    print(f"| cell | {' | '.join(COLUMNS)} |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for name, values in found.items():
        cells = []
        for column in range(len(COLUMNS)):
            own, theirs = ([float(v[column]) for v in of] for of in (values, found["recipe"]))
            mean, by = mean_interval(own), paired(own, theirs)
            cells.append(
                f"{mean.value:.4f} ({mean.low:.4f} to {mean.high:.4f}), {by.mean.value * 100:+.2f} "
                f"({by.mean.low * 100:+.2f} to {by.mean.high * 100:+.2f})"
            )
        print(f"| {name} | {' | '.join(cells)} |")


def measures(dataset: Dataset, folder: Path, settings: list[str], seed: int) -> np.ndarray:
    """Return the figures of COLUMNS of one training, made unless its logits are there."""
    logits_file = folder.with_suffix(".npz")
    if not logits_file.exists():
        fixed = ["labels=three", "fit.epochs=16", f"fit.seed={seed}", "fit.threads=1",
                 "fit.device=cpu"]  # fmt: skip
        recipe = load_recipe(Path("recipes/tiny.toml"), [*fixed, *settings])
        part = random_subset(dataset, Training(recipe, 4000, 0))
        fit(create_run(folder, recipe, part, folder), part)
        table = predict_table(load_scorer(folder), part.split("validation"), LABELS)
        assert table.consensus_n is not None
        np.savez(logits_file, logits=table.logits_nk, y_true=table.consensus_n)
    with np.load(logits_file) as values:
        logits_nk, y_true_n = values["logits"], values["y_true"]
    logits_nk, y_true_n = logits_nk[y_true_n >= 0], y_true_n[y_true_n >= 0]
    hit_n = logits_nk.argmax(axis=1) == y_true_n
    plain = [one[0] for one in figures(hit_n[None], y_true_n)]
    training = prior_of(dataset, LABELS)
    training_k = np.array([training[label] for label in LABELS])
    corrected = cross_fitted([score(logits_nk, y_true_n, training_k)], y_true_n)
    return np.array([*plain, *corrected, sum(corrected)])


if __name__ == "__main__":
    main()
