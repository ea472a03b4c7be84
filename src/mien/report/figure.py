"""Figures of matplotlib, which is optional: made in one look, saved as PNG bytes."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
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
    # Not pyplot, which keeps every figure alive and chooses a backend that may need a screen.
    return Figure(figsize=size, dpi=110, layout="constrained")


def whole_epochs(axes: Axes, epochs: Sequence[float]) -> None:
    """Let an axis of epochs have whole numbers only, also where there is a single epoch.

    Moments within epochs, such as 0.5, get an axis from the start of the first to the end of the
    last one.
    """
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = math.floor(min(epochs)), math.ceil(max(epochs))
    # matplotlib would stretch a single epoch over an axis of hundredths.
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
    elif any(epoch % 1 for epoch in epochs):
        axes.set_xlim(first, last)


def png_bytes(figure: Figure, **options: Any) -> bytes:
    """Return a figure as PNG; `options` go to matplotlib's savefig."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()
