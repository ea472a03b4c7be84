"""What every network of the registry offers beside its forward pass."""

from __future__ import annotations

from torch import nn


class Body(nn.Module):
    """A network without its normalisation: normalised crops [n, 1, s, s] → logits [n, classes]."""

    def classifier(self) -> nn.Module:
        """Return the last layer."""
        raise NotImplementedError

    def last_stage(self) -> list[nn.Module]:
        """Return the last stage of layers and everything after it, the last layer included."""
        raise NotImplementedError
