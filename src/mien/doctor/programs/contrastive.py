"""Is the temperature of a contrastive loss far from what its embeddings need?

The loss is the cross-entropy of cosines over a temperature, with the pairs on the diagonal
(InfoNCE, van den Oord et al. 2018, arXiv:1807.03748). It is computed again from kept pairs at many
temperatures: at the one it is trained with it equals the recorded loss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.doctor.programs.losses import Contrastive
from mien.doctor.programs.probe import FAILURES, untouched
from mien.doctor.programs.trees import main_output, tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording

MIN_PAIRS, MIN_BATCHES, MAX_BATCHES = 8, 3, 8
TEMPERATURES = np.geomspace(1e-3, 1e3, 61)


def contrastive_of(watch: Recording) -> Contrastive | None:
    """Return recorded and possible losses of a contrastive training; None for other trainings."""
    found = [
        pair for pair in map(_pair, watch.train.inputs, watch.train.targets) if pair is not None
    ]
    losses = watch.known_losses()
    if len(found) < MIN_BATCHES or len(found) < len(watch.train.inputs) - 1 or not losses:
        return None
    size = int(np.median([len(first) for first, _ in found]))
    kept = [pair for pair in found if len(pair[0]) == size][:MAX_BATCHES]
    watch.is_busy = True
    try:
        with untouched(watch.bare, watch.device):
            watch.bare.eval()
            cosines = [_cosines(watch, *pair) for pair in kept]
    except FAILURES:
        return None
    finally:
        watch.is_busy = False
    if any(x is None for x in cosines):
        return None
    values = [_loss([x for x in cosines if x is not None], t) for t in TEMPERATURES]
    last = float(np.median(losses[-16:]))
    best = int(np.argmin(values))
    return Contrastive(
        pairs=size,
        loss=last,
        best=values[best],
        best_temperature=float(TEMPERATURES[best]),
        temperature=_temperature_of(values, best, last, math.log(size)),
    )


def _pair(inputs: Any, targets: Any) -> tuple[Tensor, Tensor] | None:
    """Return the two views of a batch whose targets are its own places; None for another batch."""
    wanted = next(tensors(targets), None)
    parts = [t for t in tensors(inputs) if t.ndim]
    if wanted is None or wanted.ndim != 1 or wanted.is_floating_point() or not parts:
        return None
    n = len(wanted)
    if n < MIN_PAIRS or not torch.equal(wanted.cpu().long(), torch.arange(n)):
        return None
    if len(parts) == 2 and len(parts[0]) == len(parts[1]) == n:
        return parts[0], parts[1]
    if len(parts) == 1 and len(parts[0]) == 2 * n:
        return parts[0][:n], parts[0][n:]
    return None


def _cosines(watch: Recording, first: Tensor, second: Tensor) -> Tensor | None:
    outputs = [main_output(watch.bare(x.to(watch.device))) for x in (first, second)]
    if any(o is None or o.ndim != 2 or not bool(torch.isfinite(o).all()) for o in outputs):
        return None
    a, b = (functional.normalize(o.double().cpu(), dim=1) for o in outputs if o is not None)
    return a @ b.T


def _loss(cosines: list[Tensor], temperature: float) -> float:
    places = torch.arange(len(cosines[0]))
    return float(np.mean([float(functional.cross_entropy(x / temperature, places))
                          for x in cosines]))  # fmt: skip


def _temperature_of(values: list[float], best: int, loss: float, chance: float) -> float:
    """Return the temperature at which the loss is the recorded one, on the side where it may be.

    A loss near that of equal outputs is one of a temperature that is too high, a loss above it one
    that is too low.
    """
    side = range(best, len(values)) if loss <= chance else range(best, -1, -1)
    # Near the loss of equal outputs the distance from it says more than the loss.
    if loss <= chance:
        gaps = [abs(math.log(max(chance - values[i], 1e-9) / max(chance - loss, 1e-9)))
                for i in side]  # fmt: skip
    else:
        gaps = [abs(values[i] - loss) for i in side]
    return float(TEMPERATURES[side[int(np.argmin(gaps))]])
