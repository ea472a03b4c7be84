"""An audit as one self-contained HTML page, with the images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.data.audit.problem import CHECKS, DROP, KEEP, RELABEL
from mien.data.show import NO_LABEL
from mien.report.page import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.audit.audit import Audit
    from mien.data.audit.duplicate_checks import Leak
    from mien.data.audit.problem import Problem

SHOWN = 24
"""Findings of each check that the page shows; audit.csv holds all of them."""
THUMBNAIL = 96
"""Longest side of an image on the page, in pixels."""
TITLES = {check: check.replace("-", " ").capitalize() for check in CHECKS}


def page(audit: Audit) -> str:
    """Return the page, HTML without any link to the network; it contains the images."""
    return render(
        "audit.html",
        title=f"Audit of {audit.dataset.name}",
        lead=_lead(audit),
        checks=_checks(audit),
        leaks=[
            *(_leak(leak, "as the source splits them") for leak in audit.leaks),
            *(_leak(leak, "in this dataset") for leak in audit.leaks_after_import or []),
        ],
        balance=_balance(audit),
        sections=[_section(audit, check) for check, count in audit.counts().items() if count],
    )


def _lead(audit: Audit) -> str:
    n = len(audit.dataset)
    touched = len({p.row for p in audit.problems if p.row >= 0})
    drop, relabel = (
        len({p.row for p in audit.problems if p.action == action}) for action in (DROP, RELABEL)
    )
    return (
        f"{n:,} images, {touched:,} of them with a finding. Suggested: drop {drop:,}, "
        f"relabel {relabel:,}; everything else is for you to judge. Findings overlap."
        + "".join(f" Note: {note}." for note in audit.notes)
    )


def _checks(audit: Audit) -> list[dict[str, object]]:
    """Return a row for each check; its count is None where it was not run."""
    counts, suggested, rows = audit.counts(), audit.suggested(), []
    for check, about in CHECKS.items():
        row: dict[str, object] = {"id": check, "title": TITLES[check], "about": about}
        if check in audit.not_checked:
            row |= {"about": audit.not_checked[check], "count": None}
        else:
            actions = ", ".join(f"{action} {n:,}" for action, n in suggested[check].items())
            row |= {"count": counts[check], "suggested": actions}
        rows.append(row)
    return rows


def _leak(leak: Leak, where: str) -> dict[str, object]:
    fraction = leak.fraction
    return {
        "kind": "bad" if leak.duplicated else "good",
        "value": f"{fraction.value:.1%}",
        "text": f"of {leak.split}, {where}: {leak.duplicated:,} of {leak.n:,} images "
        f"(95% interval {fraction.low:.1%} to {fraction.high:.1%}); {leak.exact:,} with the same "
        f"pixels. {leak.training:,} training images are such duplicates.",
    }


def _balance(audit: Audit) -> dict[str, object]:
    counts = audit.balance["counts"]
    splits = list(next(iter(counts.values()))) if counts else []
    totals = {label: sum(row.values()) for label, row in counts.items()}
    largest = max(totals.values(), default=1) or 1
    rows = [
        {
            "label": label,
            "counts": [row[split] for split in splits],
            "total": totals[label],
            "percent": 100 * totals[label] / largest,
        }
        for label, row in counts.items()
    ]
    return {"splits": splits, "rows": rows, "about": _about_balance(audit)}


def _about_balance(audit: Audit) -> str:
    text = ""
    if audit.balance["imbalance"]:
        text = f"The largest class has {audit.balance['imbalance']:g} times the smallest. "
    subjects = audit.balance["subjects"]
    if subjects is None:
        return text + "The source names no subjects."
    return text + (
        f"{subjects['n']:,} subjects, {subjects['min']} to {subjects['max']} images each "
        f"(median {subjects['median']:g}); {subjects['in_train_and_held_out']:,} of them are "
        "both in training and in another split."
    )


def _section(audit: Audit, check: str) -> dict[str, object]:
    problems = [p for p in audit.problems if p.check == check]
    section: dict[str, object] = {
        "id": check,
        "title": TITLES[check],
        "about": _about(audit, check),
        "more": len(problems) - SHOWN,
        "lines": [],
    }
    if check == "unreadable":  # nothing to show but its name
        return section | {
            "lines": [
                f"{p.source}: {p.detail.removeprefix(p.source).strip()}" for p in problems[:SHOWN]
            ]
        }
    shown = _spread(problems)
    return section | {"pairs": shown[0].other >= 0, "cards": [_card(audit, p) for p in shown]}


def _spread(problems: list[Problem]) -> list[Problem]:
    """Return the problems to show: the clearest; of near-duplicates also less clear ones."""
    if problems[0].check != "near-duplicate" or len(problems) <= SHOWN:
        return problems[:SHOWN]
    # Near the threshold a reader sees best whether it is right.
    places = np.linspace(0, len(problems) - 1, SHOWN).astype(int)
    return [problems[i] for i in places]


def _about(audit: Audit, check: str) -> str:
    words = CHECKS[check].capitalize() + "."
    if check == "near-duplicate":
        words += " From the most to the least certain."
    if check == "likely-wrong-label":
        words += (
            f" Likely, not certain: {audit.model} and a classifier trained on these labels "
            "disagree with the label, and both err. The percentages are theirs. Images that the "
            "model itself was trained on agree with it too readily."
        )
        if audit.agreement is not None:
            agreement, n = audit.agreement
            words += (
                f" Of those on which the raters have a majority (n = {n:,}), it is against the "
                f"label too in {agreement.value:.0%} "
                f"({agreement.low:.0%} to {agreement.high:.0%})."
            )
    return words


def _card(audit: Audit, problem: Problem) -> dict[str, object]:
    dataset = audit.dataset
    rows = [problem.row] if problem.other < 0 else [problem.row, problem.other]
    action = problem.action if problem.action != KEEP else ""
    if problem.action == RELABEL:
        action += f" to {problem.new_label}"
    return {
        "images": [
            {"png": _thumbnail(dataset.images_nhw[row]), "caption": _caption(audit, row)}
            for row in rows
        ],
        "detail": problem.detail,
        "action": action,
        "source": str(dataset.sources_n[problem.row]),
    }


def _caption(audit: Audit, row: int) -> str:
    label = int(audit.dataset.labels_n[row])
    return audit.dataset.label_names[label] if label >= 0 else NO_LABEL


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    # Lossless: JPEG's own blocks would be seen in faces of 48 pixels.
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
