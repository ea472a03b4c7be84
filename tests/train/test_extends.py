"""Inheritance of recipes (`extends`), and recipes saved by earlier versions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError
from mien.train.loop.fit import fit
from mien.train.networks.registry import NETWORKS, network_options
from mien.train.recipe.recipe import load_recipe, recipe_from_dict
from mien.train.recipe.schema import upgraded
from mien.train.run.folder import create_run, load_scorer, open_run
from tests.train.test_fit import assert_same, start

RECIPES = Path(__file__).parents[2] / "recipes"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_own_keys_override_the_parents_table_by_table(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", "name = 'A'\nlabels = 'seven'\n[fit]\nepochs = 3\nseed = 4\n"
          "[optimizer]\nlr = 0.5\n")  # fmt: skip
    write(tmp_path / "b.toml", "extends = 'a.toml'\n[fit]\nepochs = 5\n")
    write(tmp_path / "deep/c.toml", "extends = '../b.toml'\n[fit]\nseed = 6\n")
    recipe = load_recipe(tmp_path / "deep/c.toml", ["fit.threads=2"])
    assert (recipe.name, recipe.labels, recipe.optimizer.lr) == ("c", "seven", 0.5)
    assert (recipe.fit.epochs, recipe.fit.seed, recipe.fit.threads) == (5, 6, 2)


def test_a_shipped_recipe_is_extended_by_its_name(tmp_path: Path) -> None:
    own = load_recipe(write(tmp_path / "mine.toml", "extends = 'small'\n[fit]\nepochs = 2\n"))
    small = load_recipe(RECIPES / "small.toml")
    expected = small.to_dict()
    expected["name"], expected["fit"]["epochs"] = "mine", 2
    assert own.to_dict() == expected


def test_another_networks_options_are_not_inherited(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", "[network]\nname = 'small'\nmirror = true\nwidths = [8, 8, 8, 8]\n")
    other = load_recipe(
        write(tmp_path / "b.toml", "extends = 'a.toml'\n[network]\nname = 'poster'\nwidth = 4\n")
    )
    assert (other.network.mirror, other.network.options) == (True, {"width": 4})
    same = load_recipe(
        write(tmp_path / "c.toml", "extends = 'a.toml'\n[network]\nname = 'small'\ndropout = 0.5\n")
    )
    assert same.network.options == {"widths": [8, 8, 8, 8], "dropout": 0.5}


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({"r": "extends = 'r.toml'"}, "r.toml: extends forms a cycle: r.toml -> r.toml", "remove"),
        (
            {"r": "extends = 's.toml'", "s": "extends = 't.toml'", "t": "extends = 's.toml'"},
            "t.toml: extends forms a cycle: r.toml -> s.toml -> t.toml -> s.toml",
            "remove extends from one",
        ),
        ({"r": "extends = 'smal'"}, "r.toml: extends = 'smal' is neither a file nor a",
         "did you mean 'small'?"),
        ({"r": "extends = ['a', 'b']"}, "extends must be one recipe, got ['a', 'b']", "small"),
        ({"r": "extends = ''"}, "extends must be one recipe, got ''", "small"),
        ({"r": "extends = 's.toml'", "s": "labels = "}, "s.toml is not valid TOML", "correct"),
        ({"r": "extends = 's.toml'", "s": "[fit]\nepoch = 3"}, "unknown setting fit.epoch",
         "did you mean 'epochs'?"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, files: dict[str, str], message: str, hint: str) -> None:
    for name, text in files.items():
        write(tmp_path / f"{name}.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "r.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["tiny", "small", "base", "face-resnet", "poster"])
def test_a_recipe_trains_the_network_of_its_name(name: str) -> None:
    network = load_recipe(RECIPES / f"{name}.toml").network
    assert network.name == name
    defaults = asdict(NETWORKS[name].options())
    assert asdict(network_options(name, network.options)) == defaults


def test_the_saved_recipe_is_complete(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn)
    saved = json.loads((run.path / "config.json").read_text())["recipe"]
    assert "extends" not in saved
    every = {"name", "normalise", "mirror", "align", *asdict(NETWORKS["poster"].options())}
    assert set(saved["network"]) == every
    assert saved["network"]["hidden_layers"] == 2
    assert saved.keys() == recipe_from_dict(saved).to_dict().keys()


OLD: dict[str, Any] = {
    "name": "old", "labels": "three", "also": "seven", "targets": {"classes": "eight"},
    "network": {"name": "base", "squeeze": 0.5, "normalise": "picture"},
    "fit": {"average": 0.9, "first_size": 0.67, "start": "mien-small"},
    "distil": {"teachers": ["runs/a"], "weight": 0.25, "views": True},
}  # fmt: skip


def test_a_recipe_of_schema_1_is_upgraded() -> None:
    recipe = recipe_from_dict(upgraded(OLD, 1))
    assert recipe.extra_labels == "seven"
    fit_ = recipe.fit
    assert (fit_.ema_decay, fit_.initial_size, fit_.init_from) == (0.9, 0.67, "mien-small")
    distillation = recipe.distillation
    assert (distillation.teachers, distillation.weight, distillation.on_augmented) == (
        ("runs/a",),
        0.25,
        True,
    )
    assert (recipe.network.name, recipe.network.options) == ("large", {"squeeze": 0.5})
    assert recipe.network.normalise == "image"
    small = recipe_from_dict(upgraded({**OLD, "network": {"name": "small", "dropout": 0.1}}, 1))
    options = network_options("small", small.network.options)
    assert asdict(options) == asdict(NETWORKS["base"].options()) | {"dropout": 0.1}
    assert upgraded(recipe.to_dict(), 2) == recipe.to_dict()


def test_a_run_folder_of_schema_1_predicts_and_resumes_alike(
    tmp_path: Path, drawn: Dataset
) -> None:
    settings: dict[str, Any] = {
        "name": "r", "network": {"name": "large", "widths": [4, 4, 8], "blocks": [1, 1]},
        "schedule": {"name": "constant"},
    }  # fmt: skip
    fit_ = {"epochs": 4, "batch_size": 32, "ema_decay": 0.9, "threads": 1, "device": "cpu"}
    whole, cut = (
        create_run(tmp_path / name, recipe_from_dict({**settings, "fit": values}), drawn, tmp_path)
        for name, values in (("whole", fit_), ("cut", {**fit_, "epochs": 2}))
    )
    for run in (whole, cut):
        fit(run, drawn)
    file = cut.path / "config.json"
    config = json.loads(file.read_text())
    recipe = config["recipe"]
    recipe["fit"] |= {"epochs": 4, "average": recipe["fit"].pop("ema_decay"),
                      "start": recipe["fit"].pop("init_from")}  # fmt: skip
    recipe["network"] = {"name": "base", "widths": [4, 4, 8], "blocks": [1, 1]}
    recipe["also"] = recipe.pop("extra_labels")
    file.write_text(json.dumps({**config, "schema": 1}))
    images = drawn.split("validation").images_nhw
    assert np.isfinite(load_scorer(cut.path).logits(images)).all()
    fit(open_run(cut.path), drawn)
    assert_same(whole, cut)
