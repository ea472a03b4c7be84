"""An agreement as texts, tables and a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.errors import counted
from mien.evaluate.report import UNDEFINED_TEXT
from mien.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.codings.units import Unit
    from mien.evaluate.agreement import Agreement
    from mien.intervals import Estimate

Table = tuple[list[str], list[list[str]]]
TIMELINES = 20
"""Units that the page draws; of more, the first ones."""


def lead(agreement: Agreement) -> str:
    """Return what was compared, in one sentence."""
    over, n = agreement.clusters
    intervals = f"95% intervals over {n:,} {over}" if n > 1 else "no intervals"
    coded = ", ".join(
        f"{coder} coded {fraction:.0%}"
        for coder, fraction in zip(agreement.coders, agreement.coded, strict=True)
    )
    what = counted(agreement.videos, "video")
    if len(agreement.units) > agreement.videos:
        what = f"{counted(len(agreement.units), 'tier')} of {what}"
    return (
        f"{counted(len(agreement.coders), 'coder')}, {what}, "
        f"{agreement.seconds:.1f} s in common ({coded}); {intervals}; events "
        f"within {agreement.tolerance_s:g} s"
    )


def pair_rows(agreement: Agreement) -> Table:
    """Return the head and the rows of the table of pairs."""
    head = ["coders", "seconds", "frame accuracy", "Cohen's kappa", "event F1"]
    rows = [
        [
            " / ".join(pair.coders),
            f"{pair.seconds:.1f}",
            _words(pair.accuracy),
            _words(pair.kappa),
            _words(pair.event_f1),
        ]
        for pair in agreement.pairs
    ]
    return head, rows


def overall_rows(agreement: Agreement) -> Table:
    """Return the head and the rows of the coefficients over all coders."""
    rows = [["Krippendorff's alpha", _words(agreement.alpha)]]
    # Of two coders Fleiss' kappa is Scott's pi, next to Cohen's kappa no news.
    if len(agreement.coders) > 2:
        rows.append(["Fleiss' kappa", _words(agreement.fleiss)])
    return ["coefficient", "value"], rows


def class_rows(agreement: Agreement) -> Table:
    """Return the head and the rows of the table of labels, for each pair."""
    head = ["coders", "label", "seconds", "specific agreement", "events", "event F1"]
    rows = [
        [
            " / ".join(pair.coders),
            one.label,
            " / ".join(f"{s:.1f}" for s in one.seconds),
            _words(one.specific),
            " / ".join(f"{n:,}" for n in one.events),
            _words(one.event_f1),
        ]
        for pair in agreement.pairs
        for one in pair.labels
    ]
    return head, rows


def _words(estimate: Estimate) -> str:
    if not estimate.is_defined:
        return UNDEFINED_TEXT
    if math.isnan(estimate.low):  # a single cluster gives no interval
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def page(agreement: Agreement, units: Sequence[Unit]) -> str:
    """Return a page with the tables, the confusion of each pair and the videos' timelines.

    Args:
        agreement: what `measure_agreement` returned.
        units: what it was given; those that were compared are drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from mien.evaluate.agreement_plots import confusion_image, timeline_image

    drawn = [unit for unit in units if unit.name in agreement.units]
    return render(
        "agreement.html",
        title="Agreement of codings",
        lead=lead(agreement),
        warnings=agreement.warnings,
        tables=[
            ("Pairs of coders", *pair_rows(agreement)),
            ("All coders", *overall_rows(agreement)),
            ("Labels", *class_rows(agreement)),
        ],
        confusion=confusion_image(agreement),
        timelines=[(u.name, timeline_image(agreement.coders, u)) for u in drawn[:TIMELINES]],
        more=max(0, len(drawn) - TIMELINES),
    )
