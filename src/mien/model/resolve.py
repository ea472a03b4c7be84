"""The models that come with mien, by name, and those in files."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from mien.errors import ModelFileError, did_you_mean
from mien.model.runtime import read_model

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_MODEL = "mien-small"
INT8 = "-int8"
"""How the names of int8 forms end."""


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models in the package, the default first."""
    folder = resources.files("mien.model.shipped")
    names = {f.name.removesuffix(".onnx") for f in folder.iterdir() if f.name.endswith(".onnx")}
    return tuple(sorted(names, key=lambda name: (name != DEFAULT_MODEL, name)))


def model_content(model: Path | None) -> tuple[bytes, str]:
    """Return the content of a model and its name for messages.

    Args:
        model: path of an ONNX file, the bare name of a shipped model, or None for the default.

    Raises:
        ModelFileError: neither such a file nor such a shipped model; or the file is empty.
    """
    if model is None:
        model_name = DEFAULT_MODEL
    elif model.exists() or model.name != str(model) or model.suffix == ".onnx":
        return read_model(model), str(model)
    else:
        model_name = str(model)
    known = shipped_models()
    if model_name not in known:
        raise ModelFileError(
            f"there is no model {model_name}: no such file, and none of that name comes with mien",
            hint=did_you_mean(model_name, known) + f"shipped: {', '.join(known)}; or give a file",
        )
    name = f"{model_name}.onnx"
    return (resources.files("mien.model.shipped") / name).read_bytes(), name
