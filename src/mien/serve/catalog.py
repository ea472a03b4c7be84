"""The served models: loaded at startup, selected by name."""

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
class ServedModel:
    """A model, and the name by which clients select it."""

    name: str
    classifier: FaceClassifier

    @property
    def info(self) -> ModelInfo:
        """Description in the model's file."""
        return self.classifier.info

    def to_dict(self, default: bool) -> dict[str, Any]:
        """Return the model's entry in /v1/models."""
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


class Catalog:
    """Models by name; the first one is the default."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self.models = {model.name: model for model in models}

    @classmethod
    def load(cls, files: Iterable[tuple[str, Path]]) -> Catalog:
        """Load the models in files, then the shipped float32 ones; each is run once.

        A shipped model is left out if a file has its name.

        Args:
            files: (name, path) of each model; an empty name takes the one in the file.

        Raises:
            ConfigError: two models have the same name.
            ModelFileError: a file is not a valid model.
        """
        given = [(name, Classifier.load(path, threads=1)) for name, path in files]
        loaded = [(name or classifier.info.name, classifier) for name, classifier in given]
        taken = {name for name, _ in loaded}
        shipped = [n for n in shipped_models() if not n.endswith(INT8) and n not in taken]
        loaded += [(name, Classifier.load(name, threads=1)) for name in shipped]
        models: dict[str, ServedModel] = {}
        for name, classifier in loaded:
            model = ServedModel(name, classifier)
            if model.name in models:
                raise ConfigError(
                    f"models: two models are named {model.name!r}",
                    hint="give one of them another name",
                )
            # The first run is slow (memory is allocated), and a faulty model fails here rather
            # than in a client's request.
            size = classifier.info.input_size
            classifier.logits(np.zeros((1, size, size), np.uint8))
            models[model.name] = model
        return cls(models.values())

    def get(self, name: str | None) -> ServedModel:
        """Return a model by name; None returns the default.

        Raises:
            Problem: 404, no model has this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            # The name is not repeated: it is a client's own text.
            raise Problem(
                404,
                "query parameter model: no served model has this name",
                did_you_mean(name, self.models) + f"allowed: {', '.join(self.models)}",
            )
        return self.models[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the response of /v1/models."""
        return {"models": [m.to_dict(not i) for i, m in enumerate(self.models.values())]}
