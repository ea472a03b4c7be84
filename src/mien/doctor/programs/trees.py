"""Batches in any form that loops use: tensors, or tuples, lists and dictionaries of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MAX_TOKENS = 512
"""Bins that token ids are counted in."""
NUMERIC = "biufc"
"""Kinds of NumPy arrays that tensors can hold."""
TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""Where the targets are in a batch that is a dictionary."""


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of a batch in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, np.ndarray):
        if tree.dtype.kind in NUMERIC:
            yield _of_numpy(tree)
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors(value)
    elif _is_plain(tree):
        yield torch.tensor(tree)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors(value)


def _of_numpy(array: NDArray[Any]) -> Tensor:
    # torch shares the memory, and takes neither negative strides nor read-only arrays.
    shared = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if shared else array.copy())


def _is_plain(tree: Any) -> bool:
    """Return whether a batch is a list of numbers, as `tolist()` returns labels."""
    return isinstance(tree, list) and bool(tree) and all(type(v) in (int, float) for v in tree)


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch of the same form with each tensor changed."""
    if isinstance(tree, np.ndarray):
        return change(_of_numpy(tree)) if tree.dtype.kind in NUMERIC else tree
    if isinstance(tree, Tensor):
        return change(tree)
    if _is_plain(tree):
        return change(torch.tensor(tree))
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [map_tensors(value, change) for value in tree]
    return tree


def rows(tree: Any) -> int:
    """Return the number of examples of a batch; 0 if it holds no tensor with a dimension."""
    if isinstance(tree, Tensor):  # the usual form; it is called in many steps
        return tree.shape[0] if tree.ndim else 0
    return next((len(t) for t in tensors(tree) if t.ndim), 0)


def head(tree: Any, count: int) -> Any:
    """Return a copy of the first examples, on the device where they were."""
    n = rows(tree)
    return map_tensors(
        tree, lambda t: t.detach()[:count].clone() if t.ndim and len(t) == n else t.detach()
    )


def is_loader(inputs: Any) -> bool:
    """Return whether validation data are batches to iterate over, not a batch themselves."""
    if isinstance(inputs, list | tuple):  # such as (inputs, targets)
        return not inputs or not all(isinstance(part, Tensor | np.ndarray) for part in inputs)
    return hasattr(inputs, "__iter__") and not isinstance(inputs, Tensor | np.ndarray | Mapping)


def pair_of(batch: Any, model: nn.Module) -> tuple[Any, Any]:
    """Return inputs and targets of a loader's batch; targets are None where it has none.

    A dictionary is passed by keyword where the model's arguments have its keys.

    Raises:
        ValueError: the batch has another form.
    """
    if isinstance(batch, Tensor | np.ndarray):
        return batch, None
    if isinstance(batch, list | tuple) and 1 <= len(batch) <= 2:
        return batch[0], batch[1] if len(batch) == 2 else None
    if not isinstance(batch, Mapping):
        count = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
        raise ValueError(
            f"a batch of the loader is a {type(batch).__name__}{count}, not (inputs, targets)"
        )
    key = next((k for k in TARGET_KEYS if k in batch), None)
    if key is None:
        raise ValueError(
            f"a batch of the loader has the keys {', '.join(map(str, batch))}, none of "
            f"{', '.join(TARGET_KEYS)}; pass inputs and targets one batch at a time"
        )
    accepted = inspect.signature(model.forward).parameters
    if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        return dict(batch), batch[key]
    named = {k: v for k, v in batch.items() if k in accepted}
    rest = [v for k, v in batch.items() if k != key]
    return (named or (rest[0] if len(rest) == 1 else rest)), batch[key]


def call(model: nn.Module, inputs: Any) -> Any:
    """Return the model's output for inputs as a batch holds them."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, list | tuple):
        return model(*inputs)
    return model(inputs)


def main_output(output: Any) -> Tensor | None:
    """Return the tensor of an output: itself, `.logits`, or the first floating-point one."""
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]  # type: ignore[no-any-return]
    return next((t for t in tensors(output) if t.is_floating_point()), None)


def features(batches: list[Any]) -> NDArray[np.float64] | None:
    """Return each example's inputs as one row, float64 [n, d]; None if they have no such form.

    Token ids become counts, so that a sentence has the same features wherever its words stand.
    """
    found = []
    for batch in batches:
        first = next((t for t in tensors(batch) if t.ndim), None)
        if first is None or first.is_complex():
            return None
        flat = first.reshape(len(first), -1).cpu()
        if is_tokens(first):
            counts = torch.zeros(len(flat), MAX_TOKENS)
            flat = counts.scatter_add_(1, flat.long() % MAX_TOKENS, torch.ones(flat.shape)).sqrt()
        found.append(flat.double().numpy())
    if not found or len({part.shape[1] for part in found}) != 1:
        return None
    return np.concatenate(found)


def is_tokens(inputs: Tensor) -> bool:
    """Return whether inputs are token ids: of a whole type, one or a sequence for an example."""
    whole = not inputs.is_floating_point() and not inputs.is_complex()
    return whole and inputs.ndim in (1, 2) and inputs.dtype not in (torch.uint8, torch.bool)


class _Unnamed(Tensor):
    """A tensor that refuses a name as an index, such as `outputs["logits"]`, without a word."""

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, str):
            raise TypeError("the output is one tensor and has no named parts")
        found: Tensor = super().__getitem__(index)
        return found


def unnamed(output: Any) -> Any:
    """Return an output to try a criterion with that may want named ones.

    For a name as an index PyTorch prints a warning, which no filter of Python's holds back.
    """
    return output.as_subclass(_Unnamed) if type(output) is Tensor else output
