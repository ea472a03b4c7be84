"""An audit as one self-contained HTML page, with the images."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.data.audit.problem import CHECKS, DROP, KEEP, RELABEL
from mien.data.audit.style import STYLE
from mien.data.show import NO_LABEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.audit.audit import Audit
    from mien.data.audit.duplicate_checks import Leak
    from mien.data.audit.problem import Problem

SHOWN = 24
"""Findings of one check that the page shows; the table holds all."""
THUMBNAIL = 96
"""Largest side of an image on the page, in pixels."""
TITLES = {check: check.replace("-", " ").capitalize() for check in CHECKS}


def page(audit: Audit) -> str:
    """Return the page, HTML without any link to the network; it contains the images."""
    name = escape(audit.dataset.name)
    sections = [_section(audit, check) for check, count in audit.counts().items() if count]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Audit of {name}</title>\n<style>{STYLE}</style>",
            f"<h1>Audit of {name}</h1>",
            f'<p class="lead">{_lead(audit)}</p>',
            _summary(audit),
            _leaks(audit),
            _balance(audit),
            *sections,
            _footer(audit),
            "</html>\n",
        ]
    )


def _lead(audit: Audit) -> str:
    n = len(audit.dataset)
    touched = len({p.row for p in audit.problems if p.row >= 0})
    drop, relabel = (
        len({p.row for p in audit.problems if p.action == action}) for action in (DROP, RELABEL)
    )
    return (
        f"{n:,} pictures, {touched:,} of them with something to know. Suggested: drop {drop:,}, "
        f"relabel {relabel:,}; everything else is for you to judge. Findings overlap."
    )


def _summary(audit: Audit) -> str:
    counts, suggested, rows = audit.counts(), audit.suggested(), []
    for check, words in CHECKS.items():
        title = TITLES[check]
        if check in audit.not_checked:
            reason = escape(audit.not_checked[check])
            cell = '<td class="soft">not checked'
            rows.append(f"<tr><td>{title}<td class='what'>{reason}{cell}<td></tr>")
            continue
        link = f'<a href="#{check}">{title}</a>' if counts[check] else title
        parts = [f"{action} {n:,}" for action, n in suggested[check].items()]
        rows.append(
            f"<tr><td>{link}<td class='what'>{escape(words)}<td>{counts[check]:,}"
            f"<td>{', '.join(parts)}</tr>"
        )
    head = "<tr><th>check<th class='what'>finds<th>images<th>suggested</tr>"
    return f'<div class="wide"><table class="summary">{head}{"".join(rows)}</table></div>'


def _leaks(audit: Audit) -> str:
    if not audit.leaks:
        return ""
    parts = ["<h2>How much of the graded splits has a copy in training</h2>", '<div class="tiles">']
    parts += [_leak(leak, "as the source splits them") for leak in audit.leaks]
    parts += [_leak(leak, "in this dataset") for leak in audit.leaks_after_import or []]
    return "\n".join([*parts, "</div>"])


def _leak(leak: Leak, where: str) -> str:
    share = leak.fraction
    return (
        f'<div class="tile"><b class="{"bad" if leak.duplicated else "good"}">{share.value:.1%}</b>'
        f"<p>of {leak.split}, {where}: {leak.duplicated:,} of {leak.n:,} pictures "
        f"(95% interval {share.low:.1%} to {share.high:.1%}); {leak.exact:,} with the same pixels. "
        f"{leak.training:,} training pictures are such copies.</p></div>"
    )


def _balance(audit: Audit) -> str:
    counts = audit.balance["counts"]
    splits = list(next(iter(counts.values()))) if counts else []
    totals = {label: sum(row.values()) for label, row in counts.items()}
    most = max(totals.values(), default=1) or 1
    rows = [
        f"<tr><td>{escape(label)}{''.join(f'<td>{row[s]:,}' for s in splits)}"
        f"<td>{totals[label]:,}<td class='bar'><i style='width:{100 * totals[label] / most:.1f}%'>"
        "</i></tr>"
        for label, row in counts.items()
    ]
    head = "".join(f"<th>{escape(s)}" for s in splits)
    text = ""
    if audit.balance["imbalance"]:
        text = f"The largest class has {audit.balance['imbalance']:g} times the smallest. "
    subjects = audit.balance["subjects"]
    if subjects is None:
        text += "The source names no subjects."
    else:
        text += (
            f"{subjects['n']:,} subjects, {subjects['min']} to {subjects['max']} pictures each "
            f"(median {subjects['median']:g}); {subjects['in_train_and_held_out']:,} of them are "
            "both in training and in a graded split."
        )
    return (
        f"<h2>Balance</h2><p>{text}</p>"
        f'<div class="wide"><table class="balance"><tr><th>class{head}<th>all<th></tr>'
        f"{''.join(rows)}</table></div>"
    )


def _section(audit: Audit, check: str) -> str:
    problems = [p for p in audit.problems if p.check == check]
    parts = [f'<section id="{check}"><h2>{TITLES[check]}</h2>']
    parts.append(f'<p class="soft">{_about(audit, check)}</p>')
    if check == "unreadable":
        items = [
            f"<li>{escape(p.source)}: {escape(p.detail.removeprefix(p.source).strip())}"
            for p in problems[:SHOWN]
        ]
        parts.append(f"<ul>{''.join(items)}</ul>")
    else:
        shown = _spread(problems)
        pairs = " pairs" if shown[0].other >= 0 else ""
        parts.append(f'<div class="grid{pairs}">{"".join(_card(audit, p) for p in shown)}</div>')
    more = len(problems) - SHOWN
    if more > 0:
        parts.append(f'<p class="soft">And {more:,} more in audit.csv.</p>')
    return "\n".join([*parts, "</section>"])


def _spread(problems: list[Problem]) -> list[Problem]:
    """Return what is shown: the clearest; of near copies the least clear ones too."""
    if problems[0].check != "near-duplicate" or len(problems) <= SHOWN:
        return problems[:SHOWN]
    places = np.linspace(0, len(problems) - 1, SHOWN).astype(int)
    return [problems[i] for i in places]


def _about(audit: Audit, check: str) -> str:
    words = escape(CHECKS[check]).capitalize() + "."
    if check == "near-duplicate":
        words += " From the surest to the least sure."
    if check == "likely-wrong-label":
        words += (
            f" Likely, not certain: {escape(audit.model)} and a classifier that was taught with "
            "these labels say so, and both err. The percentages are theirs. Images that the "
            "model itself was trained on agree with it too readily."
        )
        if audit.agreement is not None:
            share, n = audit.agreement
            words += (
                f" Of those on which the raters have a majority (n = {n:,}), it is against the "
                f"label too in {share.value:.0%} ({share.low:.0%} to {share.high:.0%})."
            )
    return words


def _card(audit: Audit, problem: Problem) -> str:
    collection = audit.dataset
    rows = [problem.row] if problem.other < 0 else [problem.row, problem.other]
    images = "".join(
        f'<img src="{_uri(collection.images_nhw[r])}" alt="{escape(_caption(audit, r))}">'
        for r in rows
    )
    names = " | ".join(escape(_caption(audit, r)) for r in rows)
    action = ""
    if problem.action != KEEP:
        new = f" to {escape(problem.new_label)}" if problem.action == RELABEL else ""
        action = f'<span class="action">{problem.action}{new}</span>'
    return (
        f"<figure><div>{images}</div><figcaption><b>{names}</b> {escape(problem.detail)} {action}"
        f'<span class="source">{escape(str(collection.sources_n[problem.row]))}</span>'
        "</figcaption></figure>"
    )


def _caption(audit: Audit, row: int) -> str:
    label = int(audit.dataset.labels_n[row])
    return audit.dataset.label_names[label] if label >= 0 else NO_LABEL


def _uri(image: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(np.asarray(image))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _footer(audit: Audit) -> str:
    return (
        "<footer><p>audit.csv has a row for each finding. Set its column <code>action</code> to "
        "keep, drop or relabel (to <code>new_label</code>), then: <code>mien data import SOURCE "
        "OUT --apply audit.csv</code>. Labels: confident learning (Northcutt et al. 2021, JAIR "
        "70). Outliers: modified z-score above 3.5 (Iglewicz &amp; Hoaglin 1993).</p>"
        "<p>This page contains the images themselves: share it as you would share them.</p>"
        "</footer>"
    )
