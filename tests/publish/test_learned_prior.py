"""The class prior that a training leaves in a network's outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.train.test_fit import recipe

from mien.labels import THREE
from mien.publish.export import _learned_prior
from mien.train.recipe.recipe import Recipe

Y_TRUE = np.array([0] * 50 + [1] * 40 + [2] * 10 + [-1] * 7)
DATA = {"happy": 0.5, "neutral": 0.4, "sad": 0.1}
ROOTS = [p**0.5 for p in DATA.values()]


def trained(loss: dict[str, object] | None = None, sampling: str = "uniform") -> Recipe:
    made = recipe(loss=loss or {})
    return replace(made, fit=replace(made.fit, sampling=sampling))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe_", "expected"),
    [
        (trained(), list(DATA.values())),
        (trained({"class_weights": "balanced"}), [1 / 3] * 3),
        (trained({"logit_adjustment": 1.0}), [1 / 3] * 3),
        (trained({"logit_adjustment": 0.5}), [r / sum(ROOTS) for r in ROOTS]),
        (trained(sampling="balanced"), [1 / 3] * 3),
        (trained(sampling="square_root"), [r / sum(ROOTS) for r in ROOTS]),
        (trained({"class_weights": "effective", "effective_beta": 0.0}), list(DATA.values())),
        (trained({"class_weights": "effective", "effective_beta": 0.999999}), [1 / 3] * 3),
    ],
)
def test_weights_sampling_and_adjustment_change_it(recipe_: Recipe, expected: list[float]) -> None:
    found = _learned_prior(Y_TRUE, THREE, recipe_)
    assert found is not None
    assert list(found.values()) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("recipe_", "expected"),
    [
        (trained(sampling="square_root"), list(DATA.values())),
        (trained({"class_weights": "balanced"}), list(DATA.values())),
        (trained({"logit_adjustment": 1.0}), [1 / 3] * 3),
    ],
)
def test_with_votes_only_the_adjustment_changes_it(recipe_: Recipe, expected: list[float]) -> None:
    votes = replace(recipe_, targets=replace(recipe_.targets, kind="votes"))
    found = _learned_prior(Y_TRUE, THREE, votes)
    assert found is not None
    assert list(found.values()) == pytest.approx(expected, abs=2e-3)


def test_a_label_without_an_image_leaves_none() -> None:
    assert _learned_prior(Y_TRUE[:90], THREE, trained()) is None
