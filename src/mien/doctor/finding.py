"""A finding: what is wrong, the numbers that show it, and what to try next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Severity = Literal["serious", "warning"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A small plot: lines over a common x, on a linear or logarithmic y.

    Attributes:
        kind: 'lines' or 'bars'.
        title: what is shown.
        x: positions, or the names of the bars.
        lines: name → values; None leaves a gap.
        log: whether y is logarithmic.
        limit: a horizontal line at the threshold, or None.
        xlabel: what x is.
        logx: whether x is logarithmic.
        mark: a vertical line at where the run stands, or None.
    """

    kind: Literal["lines", "bars"]
    title: str
    x: Sequence[float] | Sequence[str]
    lines: Mapping[str, Sequence[float | None]]
    log: bool = False
    limit: float | None = None
    xlabel: str = "epoch"
    logx: bool = False
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong.

    Attributes:
        name: short and stable, such as 'step-too-large'.
        severity: 'serious' where the run is of no use as it is, else 'warning'.
        title: in a few words.
        evidence: a sentence with the numbers.
        advice: a sentence: what to do.
        settings: what to add to `mien train RECIPE`, one `--set` each.
        numbers: the evidence for programs.
        plot: the evidence for eyes; None where there is nothing to draw.
    """

    name: str
    severity: Severity
    title: str
    evidence: str
    advice: str
    settings: tuple[str, ...] = ()
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)
    plot: Plot | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON types."""
        return asdict(self)
