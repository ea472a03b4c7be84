"""The report of a study: an HTML page, a Markdown page with images, and JSON."""

from __future__ import annotations

import math
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.files import write_bytes, write_json, write_text
from mien.report.page import render
from mien.study.figures import png, svg
from mien.study.measures import MEASURES, points
from mien.study.study import places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.study.statistics import Mean
    from mien.study.study import Outcome
    from mien.study.verdict import CellOutcome, ClaimOutcome, FactorOutcome

RULE = """A comparison is supported if the difference has the claimed sign, is at least the minimum
difference, and p < 0.05 after Holm's correction over all comparisons of the study; it is not
supported if the 95% interval excludes the minimum difference; otherwise it is undecided. Tests are
paired t tests across seeds: trainings with the same seed use the same training images. With five
seeds the exact Wilcoxon test cannot fall below p = 0.0625, whatever the data."""
LIMITS = """Limits: other data, sizes, optimizers or networks may behave differently. All trainings
share the validation images, so no interval covers the choice of those images. The figures are
measured on validation, not on a test split."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a report was made.

    Attributes:
        command: that ran the study.
        date: ISO 8601.
        machine: architecture and versions.
        cost: number of trainings and CPU time.
    """

    command: str
    date: str
    machine: str
    cost: str

    @classmethod
    def now(cls, outcome: Outcome, command: str) -> Provenance:
        """Return the provenance of a report that is written now."""
        return cls(
            command,
            datetime.now(UTC).date().isoformat(),
            f"{platform.machine()}, Python {platform.python_version()}, torch "
            f"{_torch_version()}, mien {__version__}",
            f"{outcome.trainings} trainings, {outcome.seconds / 60:.0f} CPU minutes",
        )


def write_report(outcome: Outcome, folder: Path, command: str) -> None:
    """Write report.html, report.md with its images, and report.json into `folder`."""
    provenance = Provenance.now(outcome, command)
    write_json(folder / "report.json", as_json(outcome, provenance))
    for factor in outcome.factors:
        write_bytes(folder / f"{factor.factor.name}.png", png(factor))
    write_text(folder / "report.md", markdown(outcome, provenance))
    write_text(folder / "report.html", page(outcome, provenance))


def page(outcome: Outcome, provenance: Provenance) -> str:
    """Return the report as one HTML page that loads nothing from the network."""
    plan = outcome.plan
    return render(
        "study.html",
        title=plan.title,
        note=plan.note,
        provenance=f"{_data(outcome)} {provenance.cost}. {provenance.date}; {provenance.machine}.",
        command=provenance.command,
        failures=[f"{place} (training {key}): {why}" for place, key, why in _failures(outcome)],
        claims=[_claim(claim) for factor in outcome.factors for claim in factor.claims],
        factors=[_factor(factor) for factor in outcome.factors],
        rule=RULE,
        limits=LIMITS,
    )


SIGNS = {"supported": "✓", "not supported": "✗", "undecided": "?"}
KINDS = {"supported": "good", "not supported": "bad", "undecided": "open"}
"""Classes of the stylesheet."""


def _claim(claim: ClaimOutcome) -> dict[str, object]:
    return {
        "kind": KINDS[claim.verdict],
        "sign": SIGNS[claim.verdict],
        "verdict": claim.verdict,
        "words": claim.claim.words,
        "evidence": [c.sentence() for c in claim.comparisons],
    }


def _factor(outcome: FactorOutcome) -> dict[str, object]:
    factor = outcome.factor
    return {
        "title": factor.title,
        "note": factor.note,
        "svg": svg(outcome),
        "measures": "; ".join(f"{m.replace('_', ' ')}: {MEASURES[m]}" for m in factor.shown),
        "head": ["cell", "parameters", "seeds", *(m.replace("_", " ") for m in factor.shown)],
        "rows": [
            [cell.name, _size(cell), _done(cell), *(_mean(cell.means[m], m) for m in factor.shown)]
            for cell in outcome.cells
        ],
    }


def markdown(outcome: Outcome, provenance: Provenance) -> str:
    """Return the report as Markdown; it links to the images beside it."""
    lines = [f"# {outcome.plan.title}", "", outcome.plan.note, "", f"    {provenance.command}", ""]
    lines += [f"{_data(outcome)} {provenance.cost}. {provenance.date}; {provenance.machine}.", ""]
    lines += ["| claim | verdict | evidence |", "| --- | --- | --- |"]
    for factor in outcome.factors:
        for claim in factor.claims:
            evidence = " ".join(c.sentence() for c in claim.comparisons)
            lines.append(f"| {claim.claim.words} | **{claim.verdict}** | {evidence} |")
    for factor in outcome.factors:
        lines += ["", f"## {factor.factor.title}", "", factor.factor.note]
        lines += ["", f"![{factor.factor.title}]({factor.factor.name}.png)", ""]
        shown = factor.factor.shown
        lines.append(
            f"| cell | parameters | seeds | {' | '.join(s.replace('_', ' ') for s in shown)} |"
        )
        lines.append("| --- " * (3 + len(shown)) + "|")
        lines += [
            f"| {cell.name} | {_size(cell)} | {_done(cell)} | "
            + " | ".join(_mean(cell.means[m], m) for m in shown)
            + " |"
            for cell in factor.cells
        ]
    lines += ["", "## Method", "", RULE, "", LIMITS, ""]
    for place, key, why in _failures(outcome):
        lines.append(f"- {place} (training {key}) failed: {why}")
    return "\n".join(lines) + "\n"


def as_json(outcome: Outcome, provenance: Provenance) -> dict[str, Any]:
    """Return the whole study as JSON types; nan and infinity become null."""
    return {
        "title": outcome.plan.title,
        "provenance": asdict(provenance),
        "data": outcome.dataset_name,
        "fingerprint": outcome.fingerprint,
        "failed": outcome.failed,
        "factors": [
            {
                "name": factor.factor.name,
                "cells": [
                    {
                        "name": cell.name,
                        "settings": factor.factor.cells[cell.name],
                        "seeds": [None if r is None else r.measures for r in cell.results],
                    }
                    for cell in factor.cells
                ],
                "claims": [
                    {
                        "claim": claim.claim.words,
                        "verdict": claim.verdict,
                        "comparisons": [
                            {
                                **asdict(c.comparison),
                                "verdict": c.verdict,
                                "difference": None if c.difference is None else _finite(
                                    asdict(c.difference)
                                ),
                                "p_corrected": _finite(c.p_corrected),
                            }
                            for c in claim.comparisons
                        ],
                    }
                    for claim in factor.claims
                ],
            }
            for factor in outcome.factors
        ],
    }  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _data(outcome: Outcome) -> str:
    plan = outcome.plan
    done = [r for f in outcome.factors for c in f.cells for r in c.results if r is not None]
    sizes = sorted({(r.train_n, r.validation_n) for r in done})
    # The largest is the study's own size; cells with data.train are smaller.
    size = max(sizes, default=(plan.train, plan.validation))
    return (
        f"Data {outcome.dataset_name} (fingerprint {outcome.fingerprint}): {size[0]:,} training "
        f"images, sampled by each seed, and {size[1]:,} validation images; {plan.seeds} seeds per "
        "cell."
    )


def _failures(outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """Yield factors, cells and seeds, key and reason of each training that failed."""
    known = places(outcome.plan)
    for key, why in outcome.failed.items():
        yield known.get(key, "?"), key, why


def _mean(mean: Mean, measure: str) -> str:
    if not math.isfinite(mean.value):
        return "-"
    scale, digits = (100, 1) if points(measure) else (1, 2)
    if not math.isfinite(mean.low):
        return f"{scale * mean.value:.{digits}f}"
    low, high = scale * mean.low, scale * mean.high
    return f"{scale * mean.value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _size(cell: CellOutcome) -> str:
    return next((f"{r.parameters:,}" for r in cell.results if r is not None), "-")


def _done(cell: CellOutcome) -> str:
    done = sum(r is not None for r in cell.results)
    return str(done) if done == len(cell.results) else f"{done} of {len(cell.results)}"


def _torch_version() -> str:
    return str(sys.modules["torch"].__version__) if "torch" in sys.modules else "?"
