"""Figures of matplotlib, which is optional: made in one look, saved as PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(size: tuple[float, float], feature: str, extra: str = "train") -> Figure:
    """Return an empty figure of so many inches.

    Args:
        size: width and height, in inches of 110 pixels.
        feature: what is to be drawn, for the error.
        extra: that installs matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(extra, feature) from error
    return Figure(figsize=size, dpi=110, layout="constrained")


def png_bytes(figure: Figure, **options: Any) -> bytes:
    """Return a figure as PNG; `options` go to matplotlib's savefig."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()
