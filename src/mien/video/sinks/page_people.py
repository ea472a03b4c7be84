"""People on pages that were written before anybody knew them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mien.files import write_text
from mien.report.page import script_json

if TYPE_CHECKING:
    from pathlib import Path

    from mien.video.people.file import People

_STATE = re.compile(r'(<script type="application/json" id="state">)(.*?)(</script>)', re.DOTALL)


def update_pages(folder: Path, people: People) -> list[str]:
    """Put the people into the pages of a folder's videos; return the names of changed pages.

    A browser that has opened a page before removes other names from its storage when it opens the
    page again.

    Args:
        folder: of the results, whose pages `mien video --report` wrote.
        people: of the folder.

    Raises:
        WriteError: a page cannot be written.
    """
    changed = []
    for path in sorted(folder.glob("*.html")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found = _STATE.search(text)
        if found is None:
            continue
        try:
            state = json.loads(found[2])
            state["people"] = people.to_dict()
            # Tells the page that names which a browser has stored are out of date, even where the
            # people are as they were when they were stored.
            state["rewrites"] = state.get("rewrites", 0) + 1
        except (ValueError, TypeError):
            continue  # somebody's own page
        content = script_json(state)
        write_text(path, text[: found.start(2)] + content + text[found.end(2) :])
        changed.append(path.name)
    return changed
