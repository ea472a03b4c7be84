"""What the doctor found, as an object: JSON, an HTML page, and rich in a notebook."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mien.doctor.finding import Finding
from mien.files import finite, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEVELS = {"error": ("serious",), "warning": ("serious", "warning")}
"""Values of `fails`, and the severities that each counts."""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one training.

    Attributes:
        title: of the page.
        findings: what is wrong, the serious first; empty where nothing is.
        notes: worth knowing, but no fault of the training.
        not_judged: name of each rule that abstained → the reason.
        facts: what the training was, for the head of the page.
        remarks: what could not be measured, in sentences.
    """

    title: str
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def fails(self, level: str) -> bool:
        """Return whether a finding is of this level: 'error' (serious) or 'warning' (any).

        Raises:
            ValueError: the level is neither.
        """
        if level not in LEVELS:
            raise ValueError(f"level: {level!r} is neither 'error' nor 'warning'")
        return any(finding.severity in LEVELS[level] for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "title": self.title,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": [finding.to_dict() for finding in self.notes],
            "not_judged": dict(self.not_judged),
            "facts": dict(self.facts),
            "remarks": list(self.remarks),
        }

    def to_json(self) -> str:
        """Return the report as JSON; values that are not finite are null."""
        return json.dumps(finite(self.to_dict()), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """Return the report as one HTML page that needs no other file.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from mien.report.page import render

        return render("doctor.html", title=self.title, report=self, plots=self._plots())

    def save_html(self, path: Path) -> None:
        """Write the page of `to_html`.

        Raises:
            WriteError: the file could not be written.
        """
        write_text(path, self.to_html())

    def _plots(self) -> dict[str, bytes]:
        from mien.doctor.figure import draw_finding

        drawn = {f.name: draw_finding(f) for f in (*self.findings, *self.notes)}
        return {name: image for name, image in drawn.items() if image is not None}

    def _repr_html_(self) -> str:
        """Return the findings for a notebook cell."""
        from mien.report.page import render

        return render("doctor-cell.html", report=self)

    def __str__(self) -> str:
        """Return the findings as text, one paragraph each."""
        if not self.findings:
            return "doctor: nothing found"
        return "\n\n".join(
            f"{f.title} ({f.name}, {f.severity}, confidence {f.confidence})\n  {f.evidence}\n"
            f"  {f.remedy}"
            for f in self.findings
        )
