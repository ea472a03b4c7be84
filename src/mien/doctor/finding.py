"""A finding: what is wrong, the numbers that show it, and what to try next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mien.report.cell import cell_html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Severity = Literal["serious", "warning", "note"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A small plot: lines over a common x, on a linear or logarithmic y.

    Attributes:
        kind: 'lines' or 'bars'.
        title: of the y axis.
        x: positions, or the names of the bars.
        lines: name → values; None leaves a gap.
        log: whether y is logarithmic.
        limit: y of a horizontal line at the threshold, or None.
        xlabel: of the x axis.
        logx: whether x is logarithmic.
        mark: x of a vertical line at this run, or None.
        low: name → lower end of each value's error bar; empty where there are none.
        high: name → upper end of each value's error bar.
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
    low: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    high: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong.

    Attributes:
        name: of the rule, such as 'learning-rate-too-high'.
        severity: 'serious' where the run is of no use as it is, else 'warning'; 'note' for what is
            worth knowing of a watched loop and no fault of its training.
        title: the fault in a few words.
        evidence: a sentence with the numbers.
        remedy: a sentence that says what to do.
        settings: recipe settings that apply the remedy: one `mien train --set` each.
        numbers: the evidence for programs.
        plot: the evidence as a plot; None where there is nothing to draw.
        confidence: 'high' where the fault was observed itself, 'medium' where a measurement is
            beyond its threshold, 'low' where other causes are about as likely.
    """

    name: str
    severity: Severity
    title: str
    evidence: str
    remedy: str
    settings: tuple[str, ...] = ()
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)
    plot: Plot | None = None
    confidence: Confidence = "medium"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON types."""
        return asdict(self)

    def _repr_html_(self) -> str:
        settings = " ".join(f"--set {setting}" for setting in self.settings)
        about = f"{self.name}, {self.severity}, confidence {self.confidence}"
        remedy = f"{self.remedy} {settings}".rstrip()
        return cell_html(self.title, lines=[about, self.evidence, remedy])
