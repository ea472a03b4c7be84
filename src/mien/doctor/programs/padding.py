"""Padding at an end of kept sequences: where it is, found by its value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_PADDED = 0.3
"""Fraction of the sequences that must be padded."""
MAX_INSIDE = 0.02
"""Fraction of the other positions that may hold the padding's value."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Padding of sequences.

    Attributes:
        mask: where it is, bool [examples, positions].
        leads: whether it comes first.
    """

    mask: Tensor
    leads: bool

    def moved(self, x: Tensor) -> Tensor:
        """Return sequences [examples, positions, ...] with the padding at the other end."""
        order = _order(self.mask, self.leads)
        index = order.reshape(*order.shape, *[1] * (x.ndim - 2)).expand_as(x)
        return x.gather(1, index)

    def moved_mask(self) -> Tensor:
        """Return where the padding is in `moved`."""
        return self.mask.gather(1, _order(self.mask, self.leads))


def _order(mask: Tensor, leads: bool) -> Tensor:
    # Stable, so that the other positions keep their order.
    return torch.argsort((mask if leads else ~mask).int(), dim=1, stable=True)


def padding_of(x: Tensor) -> Padding | None:
    """Return the padding of sequences; None if there is none.

    Ids: the most common first or last one, if it is nowhere else. Values: positions of zeros.

    Args:
        x: ids [examples, positions], or values [examples, positions, values].
    """
    for leads in (False, True):
        ends = x[:, 0 if leads else -1]
        if x.ndim == 2:
            known, counts = torch.unique(ends, return_counts=True)
            blank = x == known[counts.argmax()]
        else:
            blank = (x == 0).all(dim=2)
        run = (blank if leads else blank.flip(1)).int().cumprod(dim=1).bool()
        mask = run if leads else run.flip(1)
        if _is_padding(mask, blank):
            return Padding(mask, leads)
    return None


def _is_padding(mask: Tensor, blank: Tensor) -> bool:
    length = mask.sum(dim=1)
    others = ~mask
    inside = float((blank & others).sum()) / max(1, int(others.sum()))
    padded = float((length > 0).double().mean())
    # Some content in each, and lengths that differ: a constant column is no padding.
    usable = int((~mask).sum(dim=1).min()) >= 1 and len(torch.unique(length)) > 2
    return padded >= MIN_PADDED and inside <= MAX_INSIDE and usable
