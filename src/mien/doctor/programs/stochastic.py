"""Does the model, in evaluation mode, give the same outputs for the same batch again?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mien.doctor.programs.measurements import Repetition
from mien.doctor.programs.probe import FAILURES, RandomState, untouched
from mien.doctor.programs.trees import head, rows

if TYPE_CHECKING:
    from types import FrameType

    from mien.doctor.programs.recording import Recording

MAX_ROWS = 64
ROUNDING = 1e-5
"""Difference over the largest output up to which it may be the order of a GPU's sums."""
TORCH = Path(torch.__file__).parent


class _Draws(TorchFunctionMode):
    """Notes the first function that takes random numbers, and the line that calls it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.source = self.place = ""

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ) -> Any:
        if self.source:
            return func(*args, **(kwargs or {}))
        before = self._states()
        found = func(*args, **(kwargs or {}))
        # By the generator's state, so that no list of random functions can be incomplete.
        if not all(map(torch.equal, before, self._states())):
            self.source = getattr(func, "__name__", type(func).__name__)
            self.place = _place(sys._getframe(1))
        return found

    def _states(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states


def _place(frame: FrameType | None) -> str:
    """Return file and line of the innermost frame that is not PyTorch's, or ''."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if TORCH not in file.parents:
            return f"{file.name}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""


def repetition_of(watch: Recording) -> Repetition | None:
    """Return how the outputs for a kept batch differ from call to call, in evaluation mode.

    None where that cannot be judged: no batch was kept, the model refuses it, an output is not
    finite, or outputs differ for another reason than random numbers, such as a state that is
    carried from call to call.
    """
    batch = next((b for b in watch.train.inputs if rows(b)), None)
    if batch is None:
        return None
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            return _repetition(watch, head(batch, MAX_ROWS))
    except FAILURES:
        return None
    finally:
        watch.is_busy = False


def _repetition(watch: Recording, batch: Any) -> Repetition | None:
    state = RandomState.take(watch.device)

    def predict() -> Tensor | None:
        output = watch.predict(watch.bare, batch)
        return None if output is None else output.double().cpu()

    first, second = predict(), predict()
    if first is None or second is None or first.shape != second.shape or not first.numel():
        return None
    both = torch.stack([first, second])
    if not bool(torch.isfinite(both).all()):
        return None
    difference = float((first - second).square().mean().sqrt())
    if float((first - second).abs().max()) <= ROUNDING * float(both.abs().max()):
        return Repetition(len(first) if first.ndim else 1, 0.0, 0.0, "", "")
    state.restore(watch.device)
    again = predict()
    if again is None or again.shape != first.shape or not torch.allclose(again, first, rtol=1e-4):
        return None  # not the generators: a hidden state, a cache, or a counter
    with _Draws(watch.device) as draws:
        predict()
    spread = float((first - first.mean(dim=0)).square().mean().sqrt()) if first.ndim else 0.0
    # A single example, or equal outputs for all: their size is what remains to compare with.
    scale = spread or float(both.square().mean().sqrt())
    return Repetition(len(first) if first.ndim else 1, difference, difference / max(scale, 1e-30),
                      draws.source, draws.place)  # fmt: skip
