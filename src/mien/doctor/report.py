"""What the doctor found, as an object: JSON, an HTML page, and rich in a notebook."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mien.doctor.finding import Finding
from mien.doctor.paths import given_path
from mien.errors import ConfigError, counted
from mien.files import finite, write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

LEVELS = {"error": ("serious",), "warning": ("serious", "warning")}
"""Values of `fails`, and the severities that each counts."""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one training, or of several that were judged together.

    Attributes:
        title: of the page.
        findings: what is wrong, the serious first; empty where nothing is.
        notes: worth knowing, but no fault of the training.
        not_judged: name of each rule that abstained → the reason.
        facts: what the training was, for the head of the page.
        remarks: what could not be measured, in sentences.
        rules: rules that were asked to judge; 0 where that is not known.
        runs: name of each run → its own report; empty for one training. `findings` then holds those
            of all runs, and the title of each begins with its run's name.
    """

    title: str
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    runs: Mapping[str, Report] = field(default_factory=dict)
    rules: int = 0

    @property
    def verdict(self) -> str:
        """How many findings there are, and how many rules could not judge the training, and why."""
        if self.findings:
            found = counted(len(self.findings), "finding")
        elif self.facts.get("judged rules") == "none":
            return "nothing could be judged"
        elif 0 < self.rules <= len(self.not_judged):
            found = "nothing could be judged"
        else:
            found = "nothing found"
        return f"{found}; {self.unjudged}" if self.unjudged else found

    @property
    def unjudged(self) -> str:
        """How many rules could not judge the training, with the most common reason; '' if none."""
        if not self.not_judged:
            return ""
        reasons = Counter(self.not_judged.values())
        (reason, count), *_ = reasons.most_common(1)
        known = f"{len(self.not_judged):,} of {self.rules:,} rules"
        some = known if self.rules else counted(len(self.not_judged), "rule")
        more = counted(len(reasons) - 1, "other reason") if len(reasons) > 1 else ""
        others = f" ({count:,} of them), and {more}" if more else ""
        return f"{some} could not judge this training: {reason}{others}"

    def fails(self, level: str) -> bool:
        """Return whether a finding is of this level: 'error' (serious) or 'warning' (any).

        Raises:
            ConfigError: the level is neither.
        """
        if level not in tuple(LEVELS):  # a list has no hash
            raise ConfigError(
                f"level: {level!r} is neither 'error' nor 'warning'",
                hint="'error' counts the serious findings, 'warning' all of them",
            )
        return any(finding.severity in LEVELS[level] for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types; `runs` is there only if there are several."""
        values = {
            "title": self.title,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": [finding.to_dict() for finding in self.notes],
            "not_judged": dict(self.not_judged),
            "facts": dict(self.facts),
            "remarks": list(self.remarks),
        }
        runs = {name: run.to_dict() for name, run in self.runs.items()}
        return {**values, "runs": runs} if runs else values

    def to_json(self) -> str:
        """Return the report as JSON; values that are not finite are null."""
        return json.dumps(finite(self.to_dict()), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """Return the report as one HTML page that needs no other file.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from mien.report.page import render

        plots = {name: run._plots() for name, run in self.runs.items()} or {"": self._plots()}
        return render("doctor.html", title=self.title, report=self, plots=plots)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page of `to_html`.

        Args:
            path: of the file; one that exists is replaced.

        Raises:
            ConfigError: it is no path.
            WriteError: the file could not be written.
        """
        write_text(given_path(path), self.to_html())

    def _plots(self) -> dict[str, bytes]:
        from mien.doctor.figure import draw_finding

        drawn = {f.name: draw_finding(f) for f in (*self.findings, *self.notes)}
        return {name: image for name, image in drawn.items() if image is not None}

    def _repr_html_(self) -> str:
        """Return the findings for a notebook cell."""
        from mien.report.page import render

        return render("doctor-cell.html", report=self)

    def __str__(self) -> str:
        """Return the verdict, a paragraph for each finding, then a single training's remarks."""
        if self.runs:
            named = self.runs.items()
            return "\n\n".join(text for name, run in named for text in run._texts(f"run {name}: "))
        text = [f"doctor: {self.verdict}", *self._texts("")[1:]]
        return "\n\n".join([*text, *(f"note: {remark}" for remark in self.remarks)])

    def _texts(self, before: str) -> list[str]:
        """Return the verdict and each finding as text, each after `before`."""
        return [
            before + self.verdict,
            *(
                f"{before}{f.title} ({f.name}, {f.severity}, confidence {f.confidence})\n"
                f"  {f.evidence}\n  {f.remedy}"
                for f in self.findings
            ),
        ]


def combine(title: str, runs: Mapping[str, Report], remarks: Iterable[str] = ()) -> Report:
    """Return one report on several runs: all their findings, and what judged none of them.

    Args:
        title: of the page.
        runs: name of each run → its report; at least one.
        remarks: on what belongs to none of the runs, in sentences.
    """
    reports = list(runs.values())
    first = reports[0].not_judged
    judged = dict.fromkeys(run.facts.get("judged rules", "none") for run in reports)
    rules = dict.fromkeys(rule for rules in judged for rule in rules.split(", ") if rule != "none")
    return Report(
        title=title,
        findings=_titled((name, f) for name, run in runs.items() for f in run.findings),
        notes=_titled((name, f) for name, run in runs.items() for f in run.notes),
        not_judged={
            name: reason
            for name, reason in first.items()
            if all(name in run.not_judged for run in reports)
        },
        facts={
            "runs": f"{len(runs):,} ({', '.join(runs)})",
            "judged rules": ", ".join(rules) or "none",
        },
        remarks=tuple(remarks),
        runs=runs,
        rules=max(run.rules for run in reports),
    )


def _titled(findings: Iterable[tuple[str, Finding]]) -> tuple[Finding, ...]:
    named = [replace(finding, title=f"{run}: {finding.title}") for run, finding in findings]
    return tuple(sorted(named, key=lambda finding: finding.severity != "serious"))
