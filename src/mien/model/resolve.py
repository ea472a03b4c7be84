"""What a model's name stands for: a shipped model, an ONNX file, a run folder or a hub's model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from pkgutil import get_data
from typing import Literal

from mien.addresses import find_address
from mien.errors import ModelFileError, did_you_mean
from mien.files import sha256
from mien.model.runtime import read_model

DEFAULT_MODEL = "mien-small"
INT8 = "-int8"
"""How the names of int8 models end."""
SUFFIX = ".onnx"

ModelName = str | os.PathLike[str]
"""A shipped model's name, the path of an ONNX file, a run folder, or hf://user/name@revision."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model lies; nothing of it is read yet.

    Attributes:
        kind: 'shipped' with the package, 'file' (ONNX), 'run' (a training's folder) or 'hub' (an
            ONNX file in the local cache of a hub).
        name: for messages: the path, the file name of a shipped model, or the hub's address with
            the commit.
        path: of the file or folder; None for a shipped model, which may lie in a zip file.
        sha256: that the content must have; '' accepts any.
    """

    kind: Literal["shipped", "file", "run", "hub"]
    name: str
    path: Path | None = None
    sha256: str = ""

    @property
    def is_run(self) -> bool:
        """Whether it is a run folder, whose weights only mien.train can load."""
        return self.kind == "run"

    def read(self) -> bytes:
        """Return the content of the ONNX file.

        Raises:
            ModelFileError: it is a run folder, cannot be read, is empty, or has another SHA-256.
        """
        if self.is_run:
            raise ModelFileError(
                f"{self.name} is a folder, not an ONNX file",
                hint=f"if it is a run folder, write its model first: "
                f"mien export {self.name} model.onnx",
            )
        if self.path is None:
            # Much lighter than importlib.resources, which knows archives and temporary files.
            content = get_data("mien.model.shipped", self.name)
            if content is None:  # a loader without files, which no way of installing mien has
                raise ModelFileError(f"cannot read the model {self.name}", hint="reinstall mien")
            return content
        content = read_model(self.path)
        # On every load, and before ONNX Runtime parses it: a cache can be damaged or changed too.
        if self.sha256 and sha256(content) != self.sha256:
            raise ModelFileError(
                f"{self.name}: the SHA-256 of {self.path.name} is {sha256(content)}, its manifest "
                f"says {self.sha256}",
                hint=f"delete {self.path.resolve()} and load the model again; if that fails, its "
                "owner must push it again",
            )
        return content


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models in the package, the default first."""
    from importlib import resources  # here: the default model's name is known without a look

    folder = resources.files("mien.model.shipped")
    names = {f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)}
    # False sorts before True.
    return tuple(sorted(names, key=lambda name: (name != DEFAULT_MODEL, name)))


def resolve(spec: ModelName | None = None) -> ModelSource:
    """Return what `spec` names. The only place that tells names, files, runs and addresses apart.

    A file or folder of that name is taken first, then the shipped model. A hub's model is fetched
    into the local cache unless it is there.

    Args:
        spec: a shipped model's name, the path of an ONNX file, a run folder, or an address
            'hf://user/name@revision'; None is the default model.

    Raises:
        MissingExtraError: an hf:// address, and huggingface_hub is not installed.
        ModelFileError: nothing of that name exists, it is another address (https://), or it cannot
            be fetched (see `mien.model.hub.fetch_model`).
    """
    if spec is None:
        return ModelSource("shipped", f"{DEFAULT_MODEL}{SUFFIX}")
    name = os.fspath(spec)
    # Before the path is looked up, which would only say that there is no such file.
    address = find_address(name)
    if address is not None:
        return _at_address(address)
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


def _at_address(address: str) -> ModelSource:
    """Return the model at an address, such as hf://user/name; see `resolve`."""
    from mien.model import hub  # here: most models are local, and need not wait for it

    if not address.startswith(hub.SCHEME):
        raise ModelFileError(
            f"{address} is an address; models are read from this machine or from a hub",
            hint=f"download the file first and give its path, or give {hub.FORM}",
        )
    found = hub.fetch_model(hub.parse_address(address))
    return ModelSource("hub", str(found.address), found.path, found.sha256)


def model_content(spec: ModelName | None = None) -> tuple[bytes, str]:
    """Return the content of an ONNX model and its name for messages; see `resolve`.

    Raises:
        ModelFileError: nothing of that name, a run folder, or a file that cannot be read.
    """
    source = resolve(spec)
    return source.read(), source.name
