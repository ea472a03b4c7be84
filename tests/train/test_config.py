from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.train.networks.poster import PosterOptions
from mien.train.networks.registry import network_options
from mien.train.recipe.recipe import Recipe, load_recipe, recipe_from_dict

RECIPES = Path(__file__).parents[2] / "recipes"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_poster_recipe_is_the_poster_to_the_letter() -> None:
    recipe = load_recipe(RECIPES / "poster.toml")
    assert (recipe.optimizer.lr, recipe.fit.epochs, recipe.fit.batch_size) == (0.01, 8, 32)
    augment = recipe.augment
    assert augment.flip > 0 and augment.rotation > 0 and augment.blur > 0
    assert recipe.network.normalise == "dataset"
    options = network_options(recipe.network.name, recipe.network.options)
    assert isinstance(options, PosterOptions)
    assert options.activation == "leaky_relu"
    assert options.dropout > 0
    assert options.batch_norm


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_survives_its_saved_form(path: Path) -> None:
    recipe = load_recipe(path)
    network_options(recipe.network.name, recipe.network.options)
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_overrides_win_and_take_bare_words(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "[optimizer]\nlr = 0.1\n")
    recipe = load_recipe(
        path,
        ["optimizer.lr=0.001", "optimizer.name=adamw", "network.widths=[8,16]", "fit.epochs=3"],
    )
    assert recipe.optimizer.lr == 0.001
    assert recipe.optimizer.name == "adamw"
    assert recipe.network.options == {"widths": [8, 16]}
    assert recipe.fit.epochs == 3
    assert recipe.name == "r"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[optimiser]\nlr = 1\n", "unknown setting optimiser", "did you mean 'optimizer'?"),
        ("[optimizer]\nlrr = 1\n", "unknown setting optimizer.lrr", "did you mean 'lr'?"),
        (
            "[optimizer]\nlr = 'big'\n",
            "optimizer.lr must be a number or 'auto', got 'big'",
            "set ",
        ),
        (
            "[fit]\nepochs = 1.5\n",
            "fit.epochs must be a whole number, got 1.5",
            "set ",
        ),
        ("[fit]\nepochs = true\n", "fit.epochs must be a whole number, got True", "set fit"),
        (
            "[optimizer]\nname = 'sdg'\n",
            "optimizer.name: 'sdg' is not one of 'sgd',",
            "did you mean 'sgd'?",
        ),
        ("[optimizer]\nlr = inf\n", "optimizer.lr: inf is out of range", "above 0"),
        ("[optimizer]\nlr = 0\n", "optimizer.lr: 0.0 is out of range, must be above 0", "above 0"),
        ("[augment]\nflip = 2\n", "augment.flip: 2.0 is out of range 0 to 1", "from 0 to 1"),
        ("[fit]\nbatch_size = 1\n", "fit.batch_size: 1 is out of range, must be at least 2", "set"),
        ("[fit]\nthreads = -1\n", "fit.threads: -1 is out of range 0 to 256", "from 0 to 256"),
        ("[fit]\nseed = -1\n", "fit.seed: -1 is out of range, must be at least 0", "set"),
        ("[fit]\nepochs = 0\n", "fit.epochs: 0 is out of range, must be above 0", "set"),
        ("[optimizer]\nmomentum = nan\n", "optimizer.momentum: nan is out of range 0 to 1", "set"),
        (
            "[optimizer]\nweight_decay = -1\n",
            "optimizer.weight_decay: -1.0 is out of range",
            "at least 0",
        ),
        ("name = '../a'\n", "name must be a plain name, got '../a'", "letters"),
        ("name = ''\n", "name must be a plain name, got ''", "letters"),
        ("labels = 'thre'\n", "no label set is called 'thre'", "did you mean 'three'?"),
        ("fit = 3\n", "fit must be a table, got 3", "set fit to a table"),
        (
            "labels = 'seven'\n[targets]\nclasses = 'three'\n",
            "targets.classes = 'three' lacks",
            "eight",
        ),
        ("labels = \n", "is not valid TOML", "correct that line"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path / "r.toml", text))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_unknown_network_option() -> None:
    with pytest.raises(ConfigError) as caught:
        network_options("poster", {"dropuot": 0.1})
    assert caught.value.message == "unknown setting network.dropuot"
    assert "did you mean 'dropout'?" in caught.value.hint


@pytest.mark.parametrize("override", ["lr", "=3", "a..b=1"])
def test_malformed_override(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form a.b=c"):
        load_recipe(write(tmp_path / "r.toml", ""), [override])


def test_override_through_a_value(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "labels = 'three'\n")
    with pytest.raises(ConfigError, match="labels is a value, not a table"):
        load_recipe(path, ["labels.x=1"])


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.toml")


def test_predicted_labels_come_first_among_the_learnt() -> None:
    recipe = recipe_from_dict({"name": "x", "labels": "three", "targets": {"classes": "eight"}})
    assert recipe.learnt_labels[:3] == ("happy", "neutral", "sad")
    assert len(recipe.learnt_labels) == 8
    assert Recipe("x").learnt_labels == ("happy", "neutral", "sad")
