"""`mien data`: labelled collections to datasets, and a look at them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.audit import audit, photo_detector
from mien.cli.extras import needs
from mien.cli.paths import refuse_file
from mien.cli.progress import stages
from mien.cli.render import print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Make datasets without leaks from labelled images, and look at them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(audit)


@app.command("import", short_help="Turn labelled images into a dataset.")
def import_(
    source: Path = typer.Argument(
        metavar="SOURCE", help="Class folders, a CSV, FER2013's CSV, or an .npz."
    ),
    out: Path = typer.Argument(metavar="OUT", help="The dataset folder to write."),
    votes: Path | None = typer.Option(None, "--votes", help="FERPlus's vote CSV, joined by row."),
    form: str = typer.Option("", "--format", help="folders, list, fer2013 or arrays."),
    size: int = typer.Option(48, "--size", help="Height and width of a crop, in pixels."),
    validation: float = typer.Option(
        0.15,
        "--validation",
        help="Share held out where the source has no validation split; 0 holds nothing out.",
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the hold-out."),
    force: bool = typer.Option(False, "--force", help="Replace the dataset that stands at OUT."),
    apply: Path | None = typer.Option(
        None, "--apply", help="An audit.csv, perhaps edited: drop and relabel as it says."
    ),
    faces: str = typer.Option(
        "auto",
        "--faces",
        help="find crops the one face of each photo, whole takes images as face crops, auto "
        "decides by a sample of the images.",
    ),
    subjects: str = typer.Option(
        "", "--subjects", help="Tell who is on an image by its filename or folder."
    ),
    duplicates: str = typer.Option(
        "near",
        "--duplicates",
        help="Duplicates that stay in one split: near (and exact ones), or exact only; figures "
        "are too good then.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Import labelled images: find copies, split without leaks, write one compact cache."""
    with needs("data", "mien data"):
        from mien.data.prepare import PrepareOptions, prepare
    options = PrepareOptions(
        form, votes, size, validation, seed, force, apply, faces, subjects, duplicates
    )
    with stages() as progress:
        prepare(source, out, options, progress, photo_detector)
    _print(out, as_json=as_json)
    if (out / "import.html").is_file():
        typer.echo(f"page: {out / 'import.html'}", err=True)


@app.command(short_help="Print counts and copies, write a contact sheet.")
def show(
    folder: Path = typer.Argument(metavar="FOLDER", help="A dataset folder."),
    sheet: Path | None = typer.Option(
        None, "--sheet", help="Contact sheet to write; FOLDER/contact-sheet.png where not given."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print counts per class and split and the copies found; write a contact sheet."""
    with needs("data", "mien data"):
        from mien.data.dataset import load_dataset
        from mien.data.show import contact_sheet
        from mien.imaging.codec import write_image
    dataset = load_dataset(folder)
    refuse_file(sheet, "--sheet")
    path = sheet or folder / "contact-sheet.png"
    _print(folder, as_json=as_json)
    sys.stdout.flush()
    write_image(path, contact_sheet(dataset))  # last: the folder may be one to read only
    typer.echo(f"contact sheet: {path}", err=True)


@app.command(short_help="Draw cartoon faces to try things with.")
def draw(
    out: Path = typer.Argument(metavar="OUT", help="The dataset folder to write."),
    count: int = typer.Option(3000, "--count", help="Number of drawn faces."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the drawing."),
    size: int = typer.Option(48, "--size", help="Height and width of a crop, in pixels."),
    force: bool = typer.Option(False, "--force", help="Replace the dataset that stands at OUT."),
) -> None:
    """Draw faces (happy, neutral, sad): cartoons to try things with, never people."""
    with needs("data", "mien data"):
        from mien.data.build import write_dataset
        from mien.data.dataset import refuse_existing
        from mien.data.drawn import draw_dataset
    refuse_existing(out, force=force)
    write_dataset(draw_dataset(count, seed, size), out, force=force)
    _print(out)


def _print(folder: Path, *, as_json: bool = False) -> None:
    from rich.table import Table

    from mien.data.dataset import load_dataset
    from mien.data.show import describe

    about = describe(load_dataset(folder))
    for warning in about.get("warnings", []):
        typer.echo(f"warning: {warning['message']}", err=True)
    if as_json:
        typer.echo(json.dumps(about, indent=2))
        return
    counts: dict[str, dict[str, int]] = about["counts"]
    splits = list(next(iter(counts.values())))
    table = Table(title=f"{about['name']}: {about['n']:,} images", title_justify="left")
    table.add_column("class")
    for split in [*splits, "all"]:
        table.add_column(split, justify="right")
    for label, row in counts.items():
        table.add_row(label, *(f"{row[s]:,}" for s in splits), f"{sum(row.values()):,}")
    totals = [sum(row[s] for row in counts.values()) for s in splits]
    table.add_section()
    table.add_row("all", *(f"{t:,}" for t in totals), f"{sum(totals):,}")
    print_table(table)
    for line in _sentences(about):
        typer.echo(line)


def _sentences(about: dict[str, Any]) -> Iterator[str]:
    if "faces" in about:
        done = {"find": "found and cropped", "whole": "each image taken whole"}
        yield f"faces: {done[about['faces']['mode']]} ({about['faces']['why']})"
    yield f"split: {about['split_rule']}"
    yield (
        f"copies: {about['duplicate_images']:,} images in {about['duplicate_groups']:,} groups "
        f"({about['exact_duplicate_groups']:,} groups of exact copies, "
        f"{about['near_duplicate_pairs']:,} pairs of near "
        f"copies); {about['excluded_duplicates']:,} excluded because a copy is graded elsewhere"
    )
    yield f"copies with conflicting labels: {about['conflicting_groups']:,} groups (conflicts.csv)"
    if "audit_dropped" in about:
        dropped, relabelled = about["audit_dropped"], about["audit_relabelled"]
        yield f"audit applied: {dropped:,} images dropped, {relabelled:,} relabelled"
    if about["skipped"]:
        yield f"passed over: {about['skipped']:,} files (skipped.csv)"
