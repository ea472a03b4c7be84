"""Checkpoints: tensors in safetensors, everything else in JSON; no pickle is ever read.

A checkpoint is `NAME.json`, which names its tensor file and that file's SHA-256. The tensors are
written first, under a new name, and the JSON last, by renaming: a process killed at any moment
leaves the previous checkpoint or the new one, never a mixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mien.errors import ModelFileError
from mien.files import JsonKind, read_schema_json, sha256, write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

SCHEMA_VERSION = 1
STATE_JSON = JsonKind(
    noun="checkpoint",
    newest=SCHEMA_VERSION,
    required=("tensors", "sha256", "epoch"),
    error=ModelFileError,
    if_missing="train first: mien train RECIPE",
    if_damaged="restore it from a copy, or train again",
)


def save_checkpoint(
    folder: Path, name: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write checkpoint `name` into `folder`, replacing an older one of that name.

    Args:
        folder: existing or new folder.
        name: 'last' or 'best'.
        tensors: saved as they are, on the CPU.
        state: JSON types; its "epoch" distinguishes the tensor files of successive checkpoints.
    """
    content = save_tensors(
        {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    )
    file = folder / f"{name}-{state['epoch']:04d}.safetensors"
    # The tensors first: until the JSON names them, the older checkpoint stays the valid one.
    write_bytes(file, content)
    header = {"schema": SCHEMA_VERSION, "tensors": file.name, "sha256": sha256(content)}
    write_json(folder / f"{name}.json", {**header, **state})
    # Last, when nothing names the older tensors any more.
    for old in folder.glob(f"{name}-*.safetensors"):
        if old != file:
            old.unlink(missing_ok=True)


def load_checkpoint(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (on the CPU) and the state of a checkpoint.

    Raises:
        ModelFileError: missing, cut short, changed since it was written, or of a newer schema.
    """
    path = folder / f"{name}.json"
    state = read_schema_json(path, STATE_JSON)
    file = folder / str(state["tensors"])
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"checkpoint {path} names {file.name}, which cannot be read: {error.strerror}",
            hint="restore the file, or train again",
        ) from error
    # A file of the same shapes from another run would load without an error.
    if sha256(content) != state["sha256"]:
        raise ModelFileError(
            f"checkpoint {file} is damaged: {len(content)} bytes that do not match its SHA-256",
            hint="it was cut short or changed; restore it from a copy, or train again",
        )
    try:
        return load_tensors(content), state
    except SafetensorError as error:
        raise ModelFileError(
            f"checkpoint {file} is not a safetensors file: {error}", hint="train again"
        ) from error


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors and JSON values."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            elif value is not None:
                values[f"{index}.{key}"] = value
    return tensors, values


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Load the state from `flatten_optimizer`; the groups keep the settings of the recipe."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            # The key comes last and may hold dots.
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    for name, value in values.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    # Not those of the checkpoint: the learning rate is set before each step anyway.
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
