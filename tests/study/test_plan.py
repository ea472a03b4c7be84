from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError
from mien.study.cell import random_subset
from mien.study.plan import all_trainings, load_plan, only, trainings
from mien.study.study import unique
from mien.train.loop.loader import make_examples
from mien.train.recipe.adapt import adapted

HEAD = 'title = "t"\nrecipe = "poster"\nseeds = 3\n'
FACTOR = '[[factor]]\nname = "rate"\ntitle = "Rate"\n'
CELLS = '[factor.cells]\n"a" = { "optimizer.lr" = 0.1 }\n"b" = {}\n'
FAMILY = '[[family]]\nname = "one"\nwords = "w"\n'
CLAIM = '[[factor.claims]]\nwords = "w"\ncomparisons = [{ higher = "a", lower = "b" }]\n'


def plan_file(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_the_poster_s_study_has_its_factors_and_claims() -> None:
    plan = load_plan(Path("study/poster"))
    factors = {factor.name: factor for factor in plan.factors}
    assert list(factors) == [
        "learning-rate", "activation", "regularisation", "complexity", "all-images",
        "augmentation", "data",
    ]  # fmt: skip
    rates = {
        (t.recipe.optimizer.name, t.recipe.optimizer.rate)
        for _, _, t in all_trainings(only(plan, ["learning-rate"]))
    }
    assert {("adam", 1e-3), ("adam", 1e-2), ("sgd", 1e-3), ("sgd", 1e-2)} <= rates
    epochs = {
        name: {t.recipe.fit.epochs for _, _, t in all_trainings(only(plan, [name]))}
        for name in factors
    }
    assert epochs["regularisation"] == {8, 100}
    assert epochs["complexity"] == {8, 60}
    assert len(factors["activation"].cells) == 12
    assert len(factors["regularisation"].cells) == len(factors["complexity"].cells) == 8
    assert {t.train for _, _, t in all_trainings(only(plan, ["all-images"]))} == {0}
    assert plan.train == 3000
    claims = [claim for factor in plan.factors for claim in factor.claims]
    assert all(claim.where for claim in claims)
    spreads = [c for claim in claims for c in claim.comparisons if c.spread]
    assert {c.measure for c in spreads} == {"accuracy"}
    measures = {c.measure for claim in claims for c in claim.comparisons}
    assert {"accuracy", "gap", "loss_rise", "loss_spread", "min_loss", "dead_units"} <= measures


@pytest.mark.parametrize("name", ["poster", "study/poster", "recipes/study/poster.toml"])
def test_a_shipped_study_is_found_by_name(name: str) -> None:
    assert load_plan(Path(name)).title == "The poster's findings, decided"


def test_a_recipe_is_not_accepted_as_a_study() -> None:
    with pytest.raises(ConfigError, match="there is no study plan small") as error:
        load_plan(Path("small"))
    assert "one of: ablation, balance, finetune, hint, poster" in error.value.hint


def test_the_example_of_the_documentation_trains_on_plain_labels(
    tmp_path: Path, drawn: Dataset
) -> None:
    page = Path(__file__).parents[2] / "docs" / "study.md"
    example = re.search(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    path = tmp_path / "erasing.toml"
    path.write_text(example.group(1), encoding="utf-8")
    plan = load_plan(path)
    (factor,) = plan.factors
    foreign = replace(drawn, label_names=("calm", "bored", "zen"))
    for cell in factor.cells:
        part = random_subset(foreign, trainings(plan, factor, cell)[0])
        assert len(part) == len(drawn)
        recipe = adapted(trainings(plan, factor, cell)[0].recipe, part)
        assert make_examples(part.split("train"), recipe).targets_nk.shape[1] == 3


def test_a_seed_changes_no_other_setting() -> None:
    plan = load_plan(Path("study/poster"))
    first, second, *_ = trainings(plan, plan.factors[0], "Adam 0.001")
    assert (first.recipe.fit.seed, second.recipe.fit.seed) == (0, 1)
    assert first.key != second.key
    assert {**first.recipe.to_dict(), "fit": 0} == {**second.recipe.to_dict(), "fit": 0}


def test_factors_share_trainings() -> None:
    plan = load_plan(Path("study/poster"))
    assert len(unique(plan)) < len(list(all_trainings(plan)))


def test_a_grid_becomes_all_its_combinations(tmp_path: Path) -> None:
    grid = '[factor.grid]\n"optimizer.lr" = [0.1, 0.01]\n"fit.epochs" = [1, 2, 3]\n'
    plan = load_plan(plan_file(tmp_path, HEAD + FACTOR + grid))
    assert len(plan.factors[0].cells) == 6
    assert plan.factors[0].cells["lr 0.01, epochs 3"] == {"optimizer.lr": 0.01, "fit.epochs": 3}


def test_fractions_are_of_the_study_s_own_size(tmp_path: Path) -> None:
    cells = '[factor.cells]\n"half" = { "data.train" = 0.5 }\n"all" = {}\n'
    path = plan_file(tmp_path, HEAD + "train = 300\n" + FACTOR + cells)
    plan = load_plan(path)
    assert [trainings(plan, plan.factors[0], c)[0].train for c in ("half", "all")] == [150, 300]
    whole = load_plan(path, ["data.train=0"])
    assert [trainings(whole, whole.factors[0], c)[0].train for c in ("half", "all")] == [0.5, 0]


def test_settings_of_a_cell_override_factor_and_study(tmp_path: Path) -> None:
    text = HEAD + '[set]\n"optimizer.lr" = 0.3\n"fit.epochs" = 2\n' + FACTOR
    text += 'set = { "fit.epochs" = 5 }\n' + CELLS
    plan = load_plan(plan_file(tmp_path, text), ["fit.batch_size=16"])
    a, b = (trainings(plan, plan.factors[0], c)[0].recipe for c in "ab")
    assert (a.optimizer.lr, b.optimizer.lr) == (0.1, 0.3)
    assert a.fit.epochs == 5
    assert a.fit.batch_size == 16
    assert a.fit.threads == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (HEAD + FAMILY + FACTOR + CELLS + CLAIM, "names no family; declared: one",
         'set family = "..."'),
        (HEAD + FAMILY + FACTOR + CELLS + CLAIM + 'family = "on"\n', "names family 'on'",
         "did you mean 'one'?"),
        (HEAD + FACTOR + CELLS + CLAIM + 'family = "one"\n', "declared: none", "[[family]]"),
        (HEAD + FAMILY + FACTOR + CELLS + CLAIM + 'family = "one"\n',
         "family one has no primary claim", "primary = true"),
        (HEAD + FAMILY * 2 + FACTOR + CELLS, "families need different names", "rename"),
        (HEAD + "max_seeds = 2\n" + FACTOR + CELLS, "max_seeds = 2 is below seeds = 3", "or more"),
        (HEAD + FACTOR + CELLS + '[[factor.claims]]\nwords = "w"\ncomparisons = []\n',
         "has no comparisons", "add comparisons"),
        (HEAD + "seedz = 2\n" + FACTOR + CELLS, "unknown setting seedz", "did you mean 'seeds'?"),
        (HEAD + FACTOR.replace("factor", "facter"), "unknown setting facter",
         "did you mean 'factor'?"),
        (HEAD, "a study needs factors", "[[factor]]"),
        (HEAD + FACTOR, "no cells", "[factor.cells]"),
        (HEAD + FACTOR + '[factor.cells]\n"a" = { "optimizer.lrr" = 1 }\n',
         "cell a: unknown setting optimizer.lrr", "did you mean 'lr'?"),
        (HEAD + FACTOR + '[factor.cells]\n"a" = 3\n', "must be a table of settings", "for example"),
        (HEAD + FACTOR + '[factor.cells]\n"a" = { "network.widht" = 3 }\n', "cell a:", "width"),
        (HEAD + FACTOR + '[factor.cells]\n"a" = { "data.train" = -2 }\n', "-2", "0 takes all"),
        (HEAD + FACTOR + 'shown = ["acuracy"]\n' + CELLS, "unknown measure 'acuracy'",
         "did you mean 'accuracy'?"),
        (HEAD + FACTOR + CELLS + '[[factor.claims]]\nwords = "w"\n'
         'comparisons = [{ higher = "a", lower = "c" }]\n', "compares cell 'c'", "its cells: a, b"),
        (HEAD + FACTOR + CELLS + '[[factor.claims]]\nwords = "w"\n'
         'comparisons = [{ higher = "a", lower = "b", min_difference = 0 }]\n',
         "min_difference must be above 0", ""),
        (HEAD + FACTOR + '[factor.grid]\n"optimizer.lr" = 1\n', "must be a list", "for example"),
        (HEAD.replace("3", "1") + FACTOR + CELLS, "seeds = 1 is out of range", "needs 2"),
        ("title = \n", "not valid TOML", "fix that line"),
        (HEAD.replace("poster", "postre") + FACTOR + CELLS, "no recipe postre", "poster"),
    ],
)  # fmt: skip
def test_invalid_plans_are_refused_with_a_hint(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_plan(plan_file(tmp_path, text))
    assert hint in caught.value.hint


def test_an_unknown_factor_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="no factor 'epoch'") as caught:
        only(load_plan(Path("study/poster")), ["epoch"])
    assert "its factors: learning-rate" in caught.value.hint
