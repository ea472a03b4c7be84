"""Recipes take labels and kind of targets from the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.labels import FERPLUS_VOTES
from mien.train.loop.loader import make_examples
from mien.train.recipe.adapt import adapted
from mien.train.recipe.find import find_recipe
from mien.train.recipe.recipe import Recipe, load_recipe
from mien.train.recipe.reference import settings_reference
from mien.train.run.folder import create_run

SHIPPED = ("finetune", "small", "tiny")


def shipped(name: str, *settings: str) -> Recipe:
    return load_recipe(find_recipe(Path(name)), settings)


@pytest.mark.parametrize("name", SHIPPED)
def test_plain_labels_of_any_number_are_taken(name: str, drawn: Dataset) -> None:
    labels = ("zen", "surprise", "bored", "happy")  # the last column has no image: not learnt
    other = replace(drawn, label_names=labels)
    recipe = adapted(shipped(name), other)
    assert recipe.predicted_labels == recipe.learnt_labels == ("surprise", "bored", "zen")
    assert (recipe.targets.kind, recipe.targets.classes, recipe.extra_labels) == ("labels", "", "")
    examples = make_examples(other.split("train"), recipe)
    assert examples.targets_nk.shape[1] == 3
    assert (examples.targets_nk.sum(0) > 0).all()
    # As a run keeps it, and as it is read again.
    assert adapted(recipe, other) == recipe
    two = adapted(shipped(name, "labels=zen,surprise"), other)
    assert two.predicted_labels == ("zen", "surprise")


def test_votes_are_learnt_where_there_are_votes(drawn: Dataset) -> None:
    votes = np.ones((len(drawn), 10), np.float32)
    voted = replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)
    for name in ("small", "tiny"):
        recipe = adapted(shipped(name), voted)
        assert recipe.targets.kind == "votes"
        assert recipe.predicted_labels == ("happy", "neutral", "sad")
        assert len(recipe.learnt_labels) == 8
        assert recipe.extra_labels == "seven"
    assert adapted(shipped("finetune"), voted).targets.kind == "labels"
    assert adapted(shipped("poster"), voted) == shipped("poster")


def test_too_few_votes_are_not_learnt(drawn: Dataset) -> None:
    votes = np.zeros((len(drawn), 10), np.float32)
    votes[np.arange(len(drawn)), drawn.labels_n] = 1
    votes[drawn.splits_n == "validation", 0] = 10
    voted = replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)
    recipe = adapted(shipped("small"), voted)
    assert (recipe.targets.kind, recipe.predicted_labels) == ("labels", drawn.label_names)
    assert len(make_examples(voted.split("train"), recipe)) == len(voted.split("train"))
    assert adapted(shipped("small", "targets.min_votes=1"), voted).targets.kind == "votes"


def test_few_images_get_small_batches(drawn: Dataset, tmp_path: Path) -> None:
    train = np.flatnonzero(drawn.splits_n == "train")[:20]
    held = np.flatnonzero(drawn.splits_n == "validation")
    few = drawn.subset(np.concatenate([train, held]))
    run = create_run(tmp_path / "run", shipped("small"), few, tmp_path)
    assert run.recipe.fit.batch_size == 5
    assert run.recipe.labels == "three"


def test_one_label_is_an_error(drawn: Dataset) -> None:
    one = drawn.subset(drawn.labels_n == 0)
    with pytest.raises(DataError, match="at least two labels, found happy"):
        adapted(shipped("finetune"), one)
    comma = replace(drawn, label_names=("a,b", "c", "d"))
    with pytest.raises(DataError, match="'a,b' has a comma"):
        adapted(shipped("finetune"), comma)


def test_the_page_of_settings_is_what_the_types_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    text = settings_reference()
    assert page.read_text(encoding="utf-8") == text, "mien train --settings > docs/settings.md"
    assert "| `augment.flip` | number, 0 to 1 | `0` | probability of mirroring the image. |" in text
    assert "| `fit.batch_size` | whole number, at least 2 | `32` |" in text
    assert not [line for line in text.splitlines() if line.endswith("|  |")]  # each is explained
