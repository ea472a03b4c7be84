"""The report of a study: an HTML page, a Markdown page with images, and JSON."""

from __future__ import annotations

import math
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.files import finite, write_bytes, write_json, write_text
from mien.report.page import render
from mien.study.conclusions import conclude
from mien.study.figures import draw_factor, draw_verdicts, png, svg
from mien.study.measures import MEASURES, points
from mien.study.plan import VERDICTS
from mien.study.study import places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.study.conclusions import Conclusion
    from mien.study.statistics import Mean
    from mien.study.study import Outcome
    from mien.study.verdict import CellOutcome, ClaimOutcome, FactorOutcome

RULE = """A comparison is not supported if its 95% interval lies below the minimum difference; it is
supported if the difference has the claimed sign and p < 0.05 after correction (a claim of at
least that difference also needs a mean that reaches it); otherwise it is undecided. A claim is
supported if all of its comparisons are, and its p value is the largest of theirs; a claim with
three or more comparisons has wider intervals. Holm's correction is over all claims of a family
(without families, of the study), the primary and the secondary ones each by themselves. The
detectable difference is the true one that these seeds find with a probability of 80%."""
ONCE = """Tests are paired t tests across seeds: trainings with the same seed use the same training
images. With five seeds the exact Wilcoxon test cannot fall below p = 0.0625, whatever the data."""
SEQUENTIAL = """Undecided claims got more seeds, one after another. Intervals and p values therefore
come from e-values of the paired t test, which hold at any stopping time (Wang and Ramdas 2025;
Ramdas et al. 2023): looking after every seed does not raise the error rate above 5%. Trainings
with the same seed use the same training images."""
LIMITS = """Limits: other data, sizes, optimizers or networks may behave differently. All trainings
share the validation images, so no interval covers the choice of those images. The figures are
measured on validation, not on a test split."""

OVERVIEW = f"{VERDICTS}.png"
CAPTION = """Each claim's difference with its interval, in units of the smallest difference that
matters: 0 is no effect, and an interval wholly on the left of 1 refutes the claim."""


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
            f"{outcome.trainings} trainings, {outcome.seconds / 60:.0f} min of CPU time",
        )


def write_report(outcome: Outcome, folder: Path, command: str) -> None:
    """Write report.html, report.md with its images, and report.json into `folder`."""
    provenance = Provenance.now(outcome, command)
    write_json(folder / "report.json", as_json(outcome, provenance))
    if _has_claims(outcome):
        overview = draw_verdicts(conclude(outcome.plan, outcome.factors))
        write_bytes(folder / OVERVIEW, png(overview))
    for factor in outcome.factors:
        write_bytes(folder / f"{factor.factor.name}.png", png(draw_factor(factor)))
    write_text(folder / "report.md", markdown(outcome, provenance))
    write_text(folder / "report.html", page(outcome, provenance))


def page(outcome: Outcome, provenance: Provenance) -> str:
    """Return the report as one HTML page that loads nothing from the network."""
    plan = outcome.plan
    conclusions = conclude(plan, outcome.factors)
    return render(
        "study.html",
        title=plan.title,
        note=plan.note,
        provenance=f"{_data(outcome)} {provenance.cost}. {provenance.date}; {provenance.machine}.",
        command=provenance.command,
        failures=[f"{place} (training {key}): {why}" for place, key, why in _failures(outcome)],
        stopped=outcome.stopped,
        overview=svg(draw_verdicts(conclusions)) if _has_claims(outcome) else "",
        caption=CAPTION,
        conclusions=[_conclusion(c) for c in conclusions],
        factors=[_factor(factor) for factor in outcome.factors],
        rule=_rule(outcome),
        limits=LIMITS,
    )


SIGNS = {"supported": "✓", "not supported": "✗", "undecided": "?"}
KINDS = {"supported": "good", "not supported": "bad", "undecided": "open"}
"""Classes of the stylesheet."""


def _conclusion(conclusion: Conclusion) -> dict[str, object]:
    return {
        "words": conclusion.family.words,
        "sentence": conclusion.sentence,
        "claims": [_claim(claim) for claim in conclusion.claims],
    }


def _has_claims(outcome: Outcome) -> bool:
    """Return whether the study has a claim: cells may also be trained to be looked at."""
    return any(factor.claims for factor in outcome.factors)


def _claim(claim: ClaimOutcome) -> dict[str, object]:
    return {
        "kind": KINDS[claim.verdict],
        "sign": SIGNS[claim.verdict],
        "verdict": claim.verdict,
        "words": claim.claim.words,
        "primary": claim.claim.primary,
        "evidence": [c.sentence() for c in claim.comparisons],
    }


def _factor(outcome: FactorOutcome) -> dict[str, object]:
    factor = outcome.factor
    return {
        "title": factor.title,
        "note": factor.note,
        "svg": svg(draw_factor(outcome)),
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
    if outcome.stopped:
        lines += [f"State: {outcome.stopped}.", ""]
    if _has_claims(outcome):
        lines += [f"![Every claim with its verdict and interval]({OVERVIEW})", "", CAPTION, ""]
    for conclusion in conclude(outcome.plan, outcome.factors):
        if conclusion.sentence:
            lines += ["", f"**{conclusion.family.words}** {conclusion.sentence}", ""]
        lines += ["| claim | verdict | evidence |", "| --- | --- | --- |"]
        for claim in conclusion.claims:
            evidence = " ".join(c.sentence() for c in claim.comparisons)
            rank = " (primary)" if claim.claim.primary else ""
            lines.append(f"| {claim.claim.words}{rank} | **{claim.verdict}** | {evidence} |")
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
    lines += ["", "## Method", "", _rule(outcome), "", LIMITS, ""]
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
        "sequential": outcome.sequential,
        "stopped": outcome.stopped,
        "families": [
            {**asdict(c.family), "condition": c.sentence}
            for c in conclude(outcome.plan, outcome.factors) if c.sentence
        ],
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
                        "family": claim.claim.family,
                        "primary": claim.claim.primary,
                        "where": claim.claim.where,
                        "verdict": claim.verdict,
                        "comparisons": [
                            {
                                **asdict(c.comparison),
                                "verdict": c.verdict,
                                "difference": None if c.difference is None else finite(
                                    asdict(c.difference)
                                ),
                                "p_corrected": finite(c.p_corrected),
                                "level": c.level,
                                "detectable": finite(c.detectable()),
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


def _data(outcome: Outcome) -> str:
    plan = outcome.plan
    # From the results, not the plan: 0 in a plan stands for all images.
    done = [r for f in outcome.factors for c in f.cells for r in c.results if r is not None]
    sizes = sorted({(r.train_n, r.validation_n) for r in done})
    # The largest is the study's own size; cells with data.train are smaller.
    size = max(sizes, default=(plan.train, plan.validation))
    counts = {len(cell.results) for factor in outcome.factors for cell in factor.cells}
    few, many = min(counts, default=plan.seeds), max(counts, default=plan.seeds)
    seeds = str(few) if few == many else f"{few} to {many}"
    return (
        f"Data {outcome.dataset_name} (fingerprint {outcome.fingerprint}): {size[0]:,} training "
        f"images, sampled by each seed, and {size[1]:,} validation images; {seeds} seeds per cell."
    )


def _rule(outcome: Outcome) -> str:
    return f"{RULE}\n{SEQUENTIAL if outcome.sequential else ONCE}"


def _failures(outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """Yield factors, cells and seeds, key and reason of each training that failed."""
    known = places(outcome.plan)
    for key, why in outcome.failed.items():
        yield known.get(key, "?"), key, why


def _mean(mean: Mean, measure: str) -> str:
    if not math.isfinite(mean.value):
        return "-"
    scale, digits = (100, 1) if points(measure) else (1, 2)
    # A single seed has no interval.
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
