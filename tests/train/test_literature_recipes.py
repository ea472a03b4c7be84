"""The recipe for comparison with the literature trains, and predicts its eight classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.labels import EIGHT, FERPLUS_VOTES
from mien.train.loop.fit import fit
from mien.train.recipe.recipe import load_recipe
from mien.train.run.folder import create_run, load_scorer

RECIPES = Path(__file__).parents[2] / "recipes"
SHORT = (
    "fit.epochs=1", "fit.batch_size=32", "fit.threads=1", "fit.device=cpu", "fit.pretrained=",
    "network.align=0",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "network", "labels"),
    [("ferplus8", "small", EIGHT)],
)
def test_a_recipe_of_the_literature_trains(
    name: str, network: str, labels: tuple[str, ...], tmp_path: Path, drawn: Dataset
) -> None:
    # face-resnet would need dlib's weights and minutes
    recipe = load_recipe(RECIPES / f"{name}.toml", [*SHORT, f"network.name={network}"])
    assert recipe.predicted_labels == recipe.learnt_labels == labels
    votes = np.zeros((len(drawn), len(FERPLUS_VOTES)), np.float32)
    columns = [FERPLUS_VOTES.index(label) for label in drawn.label_names]
    votes[np.arange(len(drawn)), np.array(columns)[drawn.labels_n]] = 10
    drawn = replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)
    run = create_run(tmp_path / "run", recipe, drawn, tmp_path)
    fit(run, drawn)
    scorer = load_scorer(run.path)
    assert scorer.labels == labels
    logits = scorer.logits(drawn.images_nhw[:3])
    assert logits.shape == (3, len(labels)) and np.isfinite(logits).all()
