"""One pass of kept examples through the network, in evaluation mode: how its layers connect."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mien.doctor.programs.inspection import BATCH_NORMS, DROPOUTS, PLAIN
from mien.doctor.programs.optimizers import owners
from mien.doctor.programs.probe import FAILURES, untouched
from mien.doctor.programs.trees import head, map_tensors, rows, tensors
from mien.train.loop.signals import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.doctor.programs.recording import Recording

MAX_ROWS = 256
MAX_VALUES = 2**25
"""Output values that are kept, 128 MB: a token has one for each id of its vocabulary."""
MIN_ROWS = 16
"""Examples below which a unit that never changes may be chance."""
SATURATED = 0.97
"""Mean absolute output, scaled to -1 to 1, from which a unit counts as saturated."""
LAST = (*ACTIVATIONS, nn.Softmax, nn.LogSoftmax, nn.Softplus, nn.Hardtanh, nn.ReLU6)
PASSING = (*BATCH_NORMS, *DROPOUTS, nn.Identity, nn.Flatten)
"""Modules that keep an affine function affine."""

QUERIES = frozenset({"__get__", "size", "stride", "numpy", "tolist"})


@dataclass(slots=True)
class Examination:
    """What the pass found; see `Program` for the fields."""

    stuck: dict[str, float] = field(default_factory=dict)
    saturated: dict[str, float] = field(default_factory=dict)
    consecutive: list[str] = field(default_factory=list)
    hidden_softmax: list[str] = field(default_factory=list)
    last_activation: str = ""
    is_plain: bool = False
    """Whether the outputs are those of a weight layer, with nothing after it."""
    is_affine: bool | None = None
    reshaped: str = ""


def examine(watch: Recording) -> Examination:
    """Return the findings of the pass; empty if no example was kept or the model refuses it."""
    found = Examination()
    if not watch.train.inputs:
        return found
    batch = _batch(watch)
    if watch.form == "other" or batch is None or not rows(batch):
        return found
    if not _is_accepted(watch, batch):
        # A graph's network takes all nodes or none.
        batch = watch.train.inputs[0]
    tracer = _Tracer(found, watch.bare, owners(watch), count=rows(batch))
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            with tracer.uses:
                output = watch.predict(watch.bare, batch)
            tracer.finish(output)
            tracer.remove()
            found.is_affine = _is_affine(watch, batch)
    except Exception as error:  # noqa: BLE001 - the user's model may raise any
        watch.note(f"the model could not be evaluated on its own examples: {error}")
    finally:
        tracer.remove()
        watch.is_busy = False
    return found


def _batch(watch: Recording) -> Any:
    """Return up to MAX_ROWS of the kept examples as one batch, if their forms allow it."""
    parts, count = [], 0
    for batch in watch.train.inputs:
        if not isinstance(batch, Tensor):
            # Tuples and dictionaries of tensors are not joined: one batch has to do.
            return head(watch.train.inputs[0], MAX_ROWS)
        # Sequences may be padded to another length in each batch, and cannot be joined then.
        if batch.shape[1:] == watch.train.inputs[0].shape[1:]:
            parts.append(batch)
            count += len(batch)
        if count >= MAX_ROWS:
            break
    return torch.cat(parts)[:MAX_ROWS]


def _is_accepted(watch: Recording, batch: Any) -> bool:
    """Return whether the model takes several batches joined into one."""
    if len(watch.train.inputs) < 2:
        return True
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            watch.predict(watch.bare, batch)
    except FAILURES:
        return False
    finally:
        watch.is_busy = False
    return True


class _Uses(TorchFunctionMode):
    """Counts the computations that take each tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self.alive: list[Tensor] = []  # so that no later tensor gets the id of an earlier one

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        # A shape or a check of the device computes nothing.
        if isinstance(found, Tensor | tuple) and getattr(func, "__name__", "") not in QUERIES:
            taken = list(tensors(list(args)))
            self.alive += taken
            self.count.update({id(x) for x in taken})
        return found


class _Tracer:
    """Hooks on all leaf modules; remembers which tensor came from where."""

    def __init__(
        self, found: Examination, model: nn.Module, owners: Mapping[str, int], count: int
    ) -> None:
        self.found, self.model, self.owners, self.count = found, model, owners, count
        self.alive: list[Tensor] = []
        self.tags: dict[int, tuple[str, str, bool]] = {}
        self.makers: dict[int, str] = {}
        self.last: Tensor | None = None
        self.last_linear = not any(isinstance(m, nn.Conv1d) for m in model.modules())
        self.uses = _Uses()
        self.pairs: list[tuple[Tensor, str]] = []
        self.handles = [
            module.register_forward_hook(self._hook(name))
            for name, module in model.named_modules()
            if not any(True for _ in module.children())
        ]

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            first = next(tensors(inputs), None)
            if not isinstance(output, Tensor) or first is None:
                return
            self.last = output
            self.alive += [first, output]  # ids stay unique while the tensors live
            tag = self.tags.get(id(first))
            if tag is not None and isinstance(module, PLAIN):
                self._joined(tag, name, module, first)
            if isinstance(module, PLAIN):
                self.tags[id(output)] = ("affine", name, _is_wide(module))
            elif isinstance(module, nn.Softmax):
                self.tags[id(output)] = ("softmax", name, True)
            elif tag is not None and isinstance(module, PASSING):
                self.tags[id(output)] = tag
            if isinstance(module, LAST):
                self.makers[id(output)] = type(module).__name__
            # In few examples a unit that never changes may be chance.
            if isinstance(module, ACTIVATIONS) and self.count >= MIN_ROWS:
                self._measure(name, module, output)

        return hook

    def _joined(
        self, tag: tuple[str, str, bool], name: str, module: nn.Module, between: Tensor
    ) -> None:
        kind, before, wide = tag
        if kind == "softmax":
            self.found.hidden_softmax.append(before)
        elif self.owners.get(f"{before}.weight") != self.owners.get(f"{name}.weight"):
            pass  # two networks that are trained apart, such as generator and discriminator
        elif _is_bottleneck(self.model.get_submodule(before), module):
            pass  # it limits the rank on purpose, as an autoencoder's code does
        elif wide and _is_wide(module):
            self.pairs.append((between, f"{before} and {name}"))

    def _measure(self, name: str, module: nn.Module, output: Tensor) -> None:
        units = output if output.ndim != 3 or not self.last_linear else output.transpose(1, 2)
        if units.ndim < 2:
            return
        # Units by positions: a channel is stuck only if it is so at every position.
        flat = units.flatten(2) if units.ndim > 2 else units[:, :, None]
        if isinstance(module, nn.Tanh | nn.Sigmoid):
            # A sigmoid's 0 to 1 is scaled to a tanh's -1 to 1, so that one limit serves both.
            centred = flat if isinstance(module, nn.Tanh) else 2 * flat - 1
            # Always on the same side: a unit that swings from one end to the other carries a bit.
            middle, size = centred.mean(dim=(0, 2)).abs(), centred.abs().mean(dim=(0, 2))
            self.found.stuck[name] = float((middle > SATURATED).float().mean())
            self.found.saturated[name] = float((size > SATURATED).float().mean())
        else:
            low, high = flat.amin(dim=(0, 2)), flat.amax(dim=(0, 2))
            self.found.stuck[name] = float((high - low <= 1e-6).float().mean())

    def finish(self, output: Tensor | None) -> None:
        # A value that is used again, such as a residual connection's, is no inner value of a pair.
        self.found.consecutive += [p for x, p in self.pairs if self.uses.count[id(x)] < 2]
        if output is not None:
            self.found.reshaped = _reshaped(self.last, output)
            self.found.last_activation = self.makers.get(id(output), "")
            self.found.is_plain = self._is_plain(output)
            if self.found.last_activation:
                # Outputs may sit at their ends: that is a sure prediction, not a dead unit.
                last = next(reversed(self.found.stuck), "")
                self.found.stuck.pop(last, None)
                self.found.saturated.pop(last, None)

    def _is_plain(self, output: Tensor) -> bool:
        last = self.last
        if last is None or self.tags.get(id(last), ("",))[0] != "affine":
            return False
        return torch.equal(last.reshape(-1), output.reshape(-1))


def _reshaped(last: Tensor | None, output: Tensor) -> str:
    """Return how a view took the place of a transposition after the last module; or ''.

    [n, l, k] and [n, k, l] with the same values in the same order: a view moves none of them.
    """
    if last is None or last.ndim != 3 or output.ndim != 3 or 1 in last.shape[1:]:
        return ""
    n, length, k = last.shape
    swapped = length != k and tuple(output.shape) == (n, k, length)
    if not swapped or not torch.equal(last.reshape(-1), output.reshape(-1)):
        return ""
    return f"view(n, {k}, {length}) of values [n, {length}, {k}] instead of transpose(1, 2)"


def _is_wide(module: nn.Module) -> bool:
    """Return whether a layer mixes space or all its inputs: not pointwise, not depthwise.

    Pointwise and depthwise convolutions follow each other on purpose (Xception, MobileNetV2).
    """
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.groups == 1 and any(size > 1 for size in module.kernel_size)
    return True


def _is_bottleneck(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two linear layers meet in fewer values than go in and come out."""
    if not isinstance(first, nn.Linear) or not isinstance(second, nn.Linear):
        return False
    return first.out_features < min(first.in_features, second.out_features)


def _is_affine(watch: Recording, batch: Any) -> bool | None:
    """Return whether the network maps the mean of two inputs to the mean of their outputs."""
    layers = [m for m in watch.bare.modules() if isinstance(m, PLAIN)]
    if len(layers) < 2 or not isinstance(batch, Tensor) or not batch.is_floating_point():
        return None
    half = len(batch) // 2
    if half < 4:
        return None
    first, second = batch[:half], batch[half : 2 * half]
    try:
        results = [watch.predict(watch.bare, x) for x in (first, second, (first + second) / 2)]
    except FAILURES:
        return None  # a part of a graph is none
    a, b, middle = (None if r is None else r.double() for r in results)
    if a is None or b is None or middle is None or not bool(torch.isfinite(middle).all()):
        return None
    # An affine f has f((x + y) / 2) = (f(x) + f(y)) / 2 for all x and y.
    difference = (middle - (a + b) / 2).abs().max()
    spread = (a - b).abs().max()
    # Relative to the outputs' spread, since float32 rounds the two sides differently.
    return bool(spread > 0 and difference < 1e-4 * spread)


def evaluated(watch: Recording, inputs: list[Any]) -> list[Tensor] | None:
    """Return the network's outputs for kept batches, float32 on the CPU; None where it fails.

    Of outputs with more than MAX_VALUES values the first batches alone.
    """
    outputs: list[Tensor] = []
    values = 0
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            for batch in inputs:
                found = watch.predict(watch.bare, map_tensors(batch, lambda t: t))
                if found is None:
                    return None
                outputs.append(found.float().cpu())
                values += found.numel()
                if values > MAX_VALUES:
                    break  # a large vocabulary or image: the first batches have to do
    except Exception as error:  # noqa: BLE001 - the user's model may raise any
        watch.note(f"the model could not be evaluated on its own examples: {error}")
        return None
    finally:
        watch.is_busy = False
    return outputs
