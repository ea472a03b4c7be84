"""The plots of findings about watched loops: a few numbers beside their limit, or a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BARS = 8
"""Bars of a plot, at most: the first ones are kept."""


def bars(title: str, values: Mapping[str, float], limit: float | None = None) -> Plot:
    """Return a bar for each value, with a line at the limit."""
    shown = dict(list(values.items())[:MAX_BARS])
    return Plot(
        "bars",
        title,
        [_short(name) for name in shown],
        {"value": [float(v) for v in shown.values()]},
        limit=limit,
        xlabel="",
    )


def curve(title: str, values: Sequence[float], xlabel: str, *, log: bool = False) -> Plot:
    """Return values over their number."""
    known = [float(v) if not log or v > 0 else None for v in values]
    return Plot("lines", title, [float(i) for i in range(len(known))], {title: known}, log=log,
                xlabel=xlabel)  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"…{name[-17:]}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first names and the number of the others, for a sentence."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
