"""Writes a run folder with the weights of a model file, whose own run was not kept.

    python bench/run_from_model.py base --from mien-base --data DIR --out runs/base-shipped
    mien export runs/base-shipped mine.onnx --with runs/small-001

An exported ensemble is a list of networks; the first one that fits the recipe's network is taken.
The weights have the precision of the file: fp16 for the shipped models. The run folder cannot be
resumed, but exported, evaluated, or named in `distillation.teachers`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from mien.data.dataset import load_dataset
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import make_examples
from mien.train.recipe.find import find_recipe
from mien.train.recipe.recipe import load_recipe
from mien.train.run.checkpoint import save_checkpoint
from mien.train.run.folder import create_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipe", type=Path, help="recipe with the network of the model")
    parser.add_argument("--from", dest="model", required=True, help="model file or shipped model")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--out", type=Path, required=True, help="new run folder")
    args = parser.parse_args()
    run_from_model(args.recipe, args.model, args.data, args.out)
    print(f"{args.out}: the weights of {args.model}")


def run_from_model(recipe_path: Path, model: str, data: Path, out: Path) -> None:
    """Write a run folder whose best checkpoint holds the weights of `model`.

    Raises:
        ConfigError: no network in `model` is the recipe's.
        RunFolderError: `out` exists.
    """
    recipe = load_recipe(find_recipe(recipe_path))
    # Weights of a model replace those of the recipe's own start.
    recipe = replace(recipe, fit=replace(recipe.fit, init_from=model, pretrained=""))
    dataset = load_dataset(data)
    run = create_run(out, recipe, dataset, data)
    examples = make_examples(dataset.split("train"), run.recipe)
    state = initial_state(run.recipe, examples, run.input_size, torch.device("cpu"))
    weights = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    # Epoch 0: no epoch was trained here.
    save_checkpoint(run.checkpoints, "best", weights, {"epoch": 0, "best_epoch": 0, "metrics": {}})


if __name__ == "__main__":
    main()
