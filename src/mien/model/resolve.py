"""What a model's name stands for: a shipped model, an ONNX file or a run folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from mien.addresses import find_address
from mien.errors import ModelFileError, did_you_mean
from mien.model.runtime import read_model

DEFAULT_MODEL = "mien-small"
INT8 = "-int8"
"""How the names of int8 models end."""
SUFFIX = ".onnx"

ModelName = str | os.PathLike[str]
"""A shipped model's name, the path of an ONNX file, or a run folder."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model lies; nothing of it is read yet.

    Attributes:
        kind: 'shipped' with the package, 'file' (ONNX) or 'run' (a training's folder).
        name: for messages: the path, or the file name of a shipped model.
        path: of the file or folder; None for a shipped model, which may lie in a zip file.
    """

    kind: Literal["shipped", "file", "run"]
    name: str
    path: Path | None = None

    @property
    def is_run(self) -> bool:
        """Whether it is a run folder, whose weights only mien.train can load."""
        return self.kind == "run"

    def read(self) -> bytes:
        """Return the content of the ONNX file.

        Raises:
            ModelFileError: it is a run folder, cannot be read, or is empty.
        """
        if self.is_run:
            raise ModelFileError(
                f"{self.name} is a folder, not an ONNX file",
                hint=f"if it is a run folder, write its model first: "
                f"mien export {self.name} model.onnx",
            )
        if self.path is None:
            return (resources.files("mien.model.shipped") / self.name).read_bytes()
        return read_model(self.path)


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models in the package, the default first."""
    folder = resources.files("mien.model.shipped")
    names = {f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)}
    # False sorts before True.
    return tuple(sorted(names, key=lambda name: (name != DEFAULT_MODEL, name)))


def resolve(spec: ModelName | None = None) -> ModelSource:
    """Return what `spec` names. The only place that tells names, files, runs and addresses apart.

    A file or folder of that name is taken first, then the shipped model.

    Args:
        spec: a shipped model's name, the path of an ONNX file, or a run folder; None is the
            default model.

    Raises:
        ModelFileError: nothing of that name exists, or it is an address (https://, hf://).
    """
    name = DEFAULT_MODEL if spec is None else os.fspath(spec)
    if spec is not None:
        # Before the path is looked up, which would only say that there is no such file.
        address = find_address(name)
        if address is not None:
            raise ModelFileError(
                f"{address} is an address; models are read from this machine only",
                hint="download the file first and give its path",
            )
        if os.path.isdir(name):  # noqa: PTH112  (Path's raises for names too long)
            return ModelSource("run", name, Path(name))
        if os.path.exists(name):  # noqa: PTH110  (likewise)
            return ModelSource("file", name, Path(name))
    # Last, so that a file or run folder of a shipped model's name wins: it is the user's own.
    known = shipped_models()
    if name not in known:
        raise ModelFileError(
            f"there is no model {name}: no such file or run folder, and no shipped model of that "
            "name",
            hint=f"{did_you_mean(name, known)}give an ONNX file, a run folder, or the name of a "
            f"shipped model: {', '.join(known)}",
        )
    return ModelSource("shipped", f"{name}{SUFFIX}")


def model_content(spec: ModelName | None = None) -> tuple[bytes, str]:
    """Return the content of an ONNX model and its name for messages; see `resolve`.

    Raises:
        ModelFileError: nothing of that name, a run folder, or a file that cannot be read.
    """
    source = resolve(spec)
    return source.read(), source.name
