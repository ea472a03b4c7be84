"""HTML page of an import that detected faces: which were taken, and which images left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.data.thumbnails import SHOWN
from mien.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.data.notices import Notice

TITLES = {
    "no-face": "Left out: no face was found",
    "several-faces": "Left out: several faces of similar size",
    "": "Faces that were taken",
}


def import_page(dataset: Dataset, notices: Sequence[Notice]) -> str:
    """Return the page, HTML without any link to the network; it contains the images."""
    decision = dataset.facts["faces"]
    counts = {kind: sum(s.kind == kind for s in dataset.skipped) for kind in TITLES if kind}
    excluded = sum(counts.values())
    counts[""] = len(dataset)
    return render(
        "import.html",
        title=f"Import of {dataset.name}",
        lead=f"{len(dataset):,} faces were taken, {excluded:,} images left out for their faces. "
        f"{decision['why'].capitalize()}.",
        notices=[notice.message for notice in notices],
        detector=decision["detector"],
        sections=[_section(dataset, kind, counts[kind]) for kind in TITLES if counts[kind]],
    )


def _section(dataset: Dataset, kind: str, count: int) -> dict[str, object]:
    # The page carries its images, so it must stay of a size that can be sent.
    cards = [s for s in dataset.thumbnails if s.kind == kind][:SHOWN]
    return {
        "id": kind or "taken",
        "title": TITLES[kind],
        "count": count,
        "cards": cards,
        "more": count - len(cards),
    }
