"""Writes a run folder whose weights are the mean of a run's and of another model's.

    python bench/average_weights.py runs/small-002 --with mien-small --out runs/small-mean
    mien export runs/small-mean mien-small.onnx --data datasets/fer2013

Networks that were fine-tuned from the same weights can be averaged weight by weight: the mean
costs one network's time and often predicts better than either ('model soups', Wortsman et al.
2022, arXiv:2203.05482; with the initial weights, Wortsman et al. 2021, arXiv:2109.01903). The
alignment's weights are frozen, so they are the same in all of them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from mien.errors import ConfigError
from mien.train.loop.pretrained import read_pretrained
from mien.train.run.checkpoint import save_checkpoint
from mien.train.run.folder import load_scorer, open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path, help="run folder; its recipe describes the mean")
    text = "run folders, model files or shipped models of the same network"
    parser.add_argument("--with", dest="others", nargs="+", required=True, help=text)
    parser.add_argument("--out", type=Path, required=True, help="new run folder")
    args = parser.parse_args()
    average_weights(args.run, args.others, args.out)
    print(f"{args.out}: mean of {1 + len(args.others)} networks")


def average_weights(run: Path, others: list[str], out: Path) -> None:
    """Write a copy of `run` whose best checkpoint is the mean of its weights and the others'.

    Raises:
        ConfigError: the networks or the learnt labels differ.
        FileExistsError: `out` exists.
    """
    scorer = load_scorer(run)
    own, labels = scorer.model.state_dict(), open_run(run).recipe.learnt_labels
    sources = [read_pretrained(other) for other in others]
    for other, source in zip(others, sources, strict=True):
        strangers = [
            name for name, value in source.weights.items()
            if name not in own or own[name].shape != value.shape
        ]  # fmt: skip
        if strangers or source.labels != labels:
            raise ConfigError(f"{other} has another network than {run}, or other labels", hint="")
    mean = {}
    for name, value in own.items():
        # A graph lacks what evaluation does not use, such as the counters of normalisations.
        values = [value, *(s.weights[name] for s in sources if name in s.weights)]
        mean[f"model.{name}"] = torch.stack(values).double().mean(0).to(value.dtype)
    shutil.copytree(run, out)
    state = {"epoch": scorer.epoch, "best_epoch": scorer.epoch, "metrics": {}}
    save_checkpoint(out / "checkpoints", "best", mean, state)


if __name__ == "__main__":
    main()
