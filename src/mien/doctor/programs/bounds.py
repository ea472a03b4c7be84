"""Outputs that end at a value which their targets go beyond, as after a ReLU or a sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.doctor.programs.link import Link

MIN_VALUES, MIN_AT_END = 64, 16
"""Outputs from which they are judged, and at an end from which they are no coincidence."""
AT_END, NEAR, BEYOND = 0.05, 0.01, 0.25
"""Fraction of the outputs at an end; their distance from it over the outputs' range; how far the
targets lie beyond, in deviations of all targets."""
VARIES = 0.1
"""Range of the outputs over the targets' deviation below which they are nearly a constant."""


def bounds_of(
    link: Link | None, outputs: Sequence[Tensor], targets: Sequence[Any], span: tuple[float, float]
) -> tuple[float, ...]:
    """Return the ends of the outputs that targets lie beyond; none or one of each side.

    A layer without an activation has few outputs near its largest: many that are equal, of
    examples whose targets are larger still, show that it cannot give more.

    Args:
        link: from the outputs to the loss.
        outputs: of the kept training examples, in batches.
        targets: of the same batches.
        span: smallest and largest output of the measured steps and of these.
    """
    if link is None:
        return ()
    pairs = [_pair(link, o, t) for o, t in zip(outputs, targets, strict=False)]
    known = [pair for pair in pairs if pair is not None]
    if not known or len(known) < len(pairs):
        return ()
    values, wanted = (torch.cat([pair[i] for pair in known]).double() for i in range(2))
    reach = float(values.max() - values.min())
    if len(values) < MIN_VALUES or not reach > VARIES * float(wanted.std()):
        return ()
    found = []
    for sign, seen in ((-1.0, -span[0]), (1.0, span[1])):
        end = float((sign * values).max())
        at = sign * values >= end - NEAR * reach
        few = int(at.sum()) < max(MIN_AT_END, AT_END * len(values))
        # In no step was an output beyond it.
        if few or seen > end + NEAR * reach:
            continue
        if float((sign * wanted[at]).median()) > end + BEYOND * float(wanted.std()):
            found.append(sign * end)
    return tuple(found)


@torch.no_grad()
def _pair(link: Link, output: Tensor, targets: Any) -> tuple[Tensor, Tensor] | None:
    """Return predictions and targets as flat tensors; None where they have other forms."""
    try:
        values, wanted = link.transform(output), link.convert(targets)
    except Exception:  # noqa: BLE001 - another batch may have another form
        return None
    if not isinstance(wanted, Tensor) or wanted.shape != values.shape:
        return None
    return values.reshape(-1).float().cpu(), wanted.reshape(-1).float().cpu()
