"""The models that a server answers with: loaded at its start, asked for by name only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, did_you_mean
from mien.model.classifier import Classifier
from mien.model.resolve import INT8, shipped_models
from mien.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mien.model.info import ModelInfo
    from mien.predict.pipeline import FaceClassifier


@dataclass(frozen=True, slots=True)
class Served:
    """A model under the name that clients know it by."""

    name: str
    classifier: FaceClassifier

    @property
    def info(self) -> ModelInfo:
        """What its file says of itself."""
        return self.classifier.info

    def to_dict(self, default: bool) -> dict[str, Any]:
        """Return what clients are told of it."""
        info = self.info
        return {
            "name": self.name,
            "labels": list(info.labels),
            "input_size": info.input_size,
            "parameters": info.parameters,
            "unsure_below": info.unsure_below,
            "metrics": info.metrics,
            "licence": info.licence,
            "default": default,
        }


class Catalogue:
    """Models by name; the first is the default."""

    def __init__(self, models: Iterable[Served]) -> None:
        self.models = {model.name: model for model in models}

    @classmethod
    def load(cls, files: Iterable[tuple[str, Path]]) -> Catalogue:
        """Return the models in files, then the shipped float32 ones; each is tried once.

        A shipped model whose name a file has taken is left out.

        Raises:
            ConfigError: two models of one name.
            ModelFileError: a file is no model.
        """
        given = [(name, Classifier.load(path, threads=1)) for name, path in files]
        loaded = [(name or classifier.info.name, classifier) for name, classifier in given]
        taken = {name for name, _ in loaded}
        shipped = [n for n in shipped_models() if not n.endswith(INT8) and n not in taken]
        loaded += [(name, Classifier.load(name, threads=1)) for name in shipped]
        models: dict[str, Served] = {}
        for name, classifier in loaded:
            model = Served(name, classifier)
            if model.name in models:
                raise ConfigError(
                    f"two models are called {model.name!r}", hint="--models OTHER_NAME=FILE"
                )
            size = classifier.info.input_size
            classifier.logits(np.zeros((1, size, size), np.uint8))  # the first run is a slow one
            models[model.name] = model
        return cls(models.values())

    def get(self, name: str | None) -> Served:
        """Return a model by its name, or the default.

        Raises:
            Problem: 404, there is none of that name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Problem(
                404,
                "no model of that name is served",
                did_you_mean(name, self.models) + f"known: {', '.join(self.models)}",
            )
        return self.models[name]

    def to_dict(self) -> dict[str, Any]:
        """Return what clients are told of all models."""
        return {"models": [m.to_dict(not i) for i, m in enumerate(self.models.values())]}
