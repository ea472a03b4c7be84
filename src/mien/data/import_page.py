"""The page of an import that looked for faces: which were taken, and what was left out."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from mien.data.audit.style import STYLE
from mien.data.thumbnails import SHOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.data.notices import Notice

TITLES = {
    "no-face": "Left out: no face was found",
    "several-faces": "Left out: several faces of similar size",
    "": "Faces that were taken",
}
MORE = """
figure div { height: 150px; align-items: end; }
figure img { width: auto; height: auto; max-width: 100%; max-height: 150px; }
"""


def import_page(collection: Dataset, notices: Sequence[Notice]) -> str:
    """Return the page, HTML without any link to the network; it contains the images."""
    name = escape(collection.name)
    decision = collection.facts["faces"]
    counts = {kind: sum(s.kind == kind for s in collection.skipped) for kind in TITLES if kind}
    counts[""] = len(collection)
    items = "".join(f"<li>{escape(notice.message)}</li>" for notice in notices)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Import of {name}</title>\n<style>{STYLE}{MORE}</style>",
            f"<h1>Import of {name}</h1>",
            f'<p class="lead">{len(collection):,} faces were taken, '
            f"{counts['no-face'] + counts['several-faces']:,} images left out for their faces. "
            f"{escape(decision['why']).capitalize()}.</p>",
            f"<ul>{items}</ul>" if items else "",
            *(_section(collection, kind, counts[kind]) for kind in TITLES if counts[kind]),
            "<footer><p>skipped.csv lists every file that was left out. Green: the face that was "
            f"cropped, as {escape(decision['detector'])} found it; orange: other faces. This page "
            "contains the images themselves: share it as you would share them.</p></footer>",
            "</html>\n",
        ]
    )


def _section(collection: Dataset, kind: str, count: int) -> str:
    shown = [s for s in collection.thumbnails if s.kind == kind][:SHOWN]
    cards = "".join(
        f'<figure><div><img src="data:image/jpeg;base64,{base64.b64encode(s.jpeg).decode()}" '
        f'alt=""></div><figcaption>{escape(s.source)} <span class="soft">{escape(s.reason)}</span>'
        "</figcaption></figure>"
        for s in shown
    )
    more = f'<p class="soft">And {count - len(shown):,} more.</p>' if count > len(shown) else ""
    return (
        f'<section id="{kind or "taken"}"><h2>{TITLES[kind]} ({count:,})</h2>'
        f'<div class="grid">{cards}</div>{more}</section>'
    )
