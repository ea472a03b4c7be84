"""`mien agree`: how far human codings and mien's rows agree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.cli.options import Json
from mien.cli.paths import refuse_file
from mien.cli.render import make_table, print_table, right_aligned
from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.codings.units import Matched
    from mien.evaluate.agreement import Agreement

Codings = Annotated[
    list[Path],
    typer.Argument(
        metavar="CODING...",
        help="A file for each coder, or a folder whose files have the same names: ELAN (.eaf), "
        "Praat (.TextGrid), tables with start, end and label, rows of mien video (.csv, .tsv).",
    ),
]
Tiers = Annotated[
    list[str],
    typer.Option(
        "--tier",
        metavar="NAME",
        help="Tier to compare: once for all coders, or once for each in their order (default: "
        "tiers of the same name).",
    ),
]
Rename = Annotated[
    list[str],
    typer.Option(
        "--rename", metavar="OLD=NEW", help="Read a label of the files as another; repeatable."
    ),
]
Gap = Annotated[
    str,
    typer.Option(
        "--gap",
        metavar="LABEL",
        help="Label of the time between the segments that people set, such as neutral (default: "
        "not coded, and not compared).",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="SECONDS",
        min=0,
        help="How far start and end of an event may differ.",
    ),
]
Step = Annotated[
    float,
    typer.Option(
        "--step", metavar="SECONDS", min=0.001, max=60, help="Time between compared moments."
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write an HTML page with plots."),
]


def agree(
    codings: Codings,
    tier: Tiers = [],
    rename: Rename = [],
    gap: Gap = "",
    tolerance: Tolerance = 0.5,
    step: Step = 0.04,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Measure the agreement of codings: human coders with each other, and with mien.

    Frame accuracy, Cohen's and Fleiss' kappa, Krippendorff's alpha and the F1 score of events, with
    95% intervals over participants.
    """
    from mien.codings.units import match_codings
    from mien.evaluate.agreement import measure_agreement

    refuse_file(report, "--report", [".html"])
    with needs("codings", "mien agree"):
        matched = match_codings(codings, tiers=tier, rename=_names(rename), gap=gap)
    for text in matched.unmatched:
        typer.echo(f"warning: {text}; not compared", err=True)
    agreement = measure_agreement(matched.coders, matched.units, step_s=step, tolerance_s=tolerance)
    if as_json:
        typer.echo(json.dumps(agreement.to_dict(), indent=2))
    else:
        _print(agreement)
    # So that a failing plot cannot lose the figures.
    sys.stdout.flush()
    if report is not None:
        _write(report, agreement, matched)


def _names(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old.strip() and equals and new.strip()):
            raise ConfigError(f"--rename: {text!r} is not OLD=NEW", hint="for example Lachen=happy")
        pairs[old] = new.strip()
    return pairs


def _print(agreement: Agreement) -> None:
    from mien.evaluate.agreement_report import class_rows, lead, overall_rows, pair_rows

    typer.echo(lead(agreement))
    for title, (head, rows) in {
        "": pair_rows(agreement),
        "all coders": overall_rows(agreement),
        "labels": class_rows(agreement),
    }.items():
        if rows:
            columns = right_aligned(*head)
            columns[0] = columns[0]._replace(right=False)
            print_table(make_table(columns, rows, title=title))
    for text in agreement.warnings:
        typer.echo(f"warning: {text}")


def _write(path: Path, agreement: Agreement, matched: Matched) -> None:
    from mien.evaluate.agreement_report import page
    from mien.files import write_text

    with needs("explain", "the plots of mien agree --report"):
        write_text(path, page(agreement, matched.units))
    typer.echo(f"report: {path}", err=True)
