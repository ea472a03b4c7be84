"""Kept examples whose predictions, or whose tokens, are nearly all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.doctor.programs.examine import evaluated
from mien.doctor.programs.measurements import CommonToken, Foreground
from mien.doctor.programs.padding import padding_of
from mien.doctor.programs.trees import is_tokens, tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording

BATCHES = 4
"""Kept batches that are predicted."""
MIN_IDS = 20
"""Ids of an embedding from which a text is expected to have many of them."""
MIN_INTERIOR = 50
"""Tokens between two others, at least: padding is at the ends, unknown words are everywhere."""


def foreground_of(watch: Recording) -> Foreground | None:
    """Return what is predicted of masks of 0 and 1; None for other targets."""
    masks = [next(tensors(t), None) for t in watch.train.targets[:BATCHES]]
    known = [m.detach().cpu().float() for m in masks if m is not None and m.ndim >= 3]
    if not known or len(known) < len(masks):
        return None
    if not all(bool(((m == 0) | (m == 1)).all()) for m in known):
        return None
    outputs = evaluated(watch, watch.train.inputs[:BATCHES])
    if not outputs:
        return None
    known = known[: len(outputs)]
    if any(o.numel() != m.numel() for o, m in zip(outputs, known, strict=True)):
        return None
    values = torch.cat([o.reshape(-1) for o in outputs])
    # Probabilities, or logits: nothing above 0.5 of the former, above 0 of the latter.
    predicted = values > (0.5 if float(values.min()) >= 0 else 0.0)
    wanted = torch.cat([m.reshape(-1) for m in known])
    return Foreground(float(wanted.mean()), float(predicted.float().mean()), len(wanted))


def common_token_of(watch: Recording) -> CommonToken | None:
    """Return the most common id; None where inputs are no tokens of a large embedding."""
    ids = max((m.num_embeddings for m in watch.bare.modules() if isinstance(m, nn.Embedding)),
              default=0)  # fmt: skip
    batches = [next(tensors(x), None) for x in watch.train.inputs]
    known = [b.detach().cpu().long() for b in batches if b is not None and is_tokens(b)]
    # An id to an example is no sequence.
    if ids < MIN_IDS or not known or len(known) < len(batches) or known[0].ndim != 2:
        return None
    kept = [_without_padding(b) for b in known]
    tokens = torch.cat([b[k] for b, k in zip(known, kept, strict=True)])
    found, counts = np.unique(tokens, return_counts=True)
    token = int(found[counts.argmax()])
    interior = torch.cat([_interior(b, k, token) for b, k in zip(known, kept, strict=True)])
    inner = float((interior == token).float().mean()) if len(interior) >= MIN_INTERIOR else 0.0
    return CommonToken(token, float(counts.max() / counts.sum()), inner, len(found), ids)


def _without_padding(tokens: Tensor) -> Tensor:
    """Return which tokens [n, t] are no padding at an end."""
    padding = padding_of(tokens)
    return torch.ones_like(tokens, dtype=torch.bool) if padding is None else ~padding.mask


def _interior(tokens: Tensor, kept: Tensor, common: int) -> Tensor:
    """Return the kept tokens [n, t] that have another one than `common` before and after them."""
    other = ((tokens != common) & kept).long()
    before = other.cumsum(1) - other
    after = other.flip(1).cumsum(1).flip(1) - other
    return tokens[(before > 0) & (after > 0) & kept]
