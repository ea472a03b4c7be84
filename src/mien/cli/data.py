"""`mien data`: labelled collections to datasets, their inspection and audit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.audit import audit, photo_detector
from mien.cli.extras import needs
from mien.cli.options import CropSize, Force, Json, NewDataset, SourceForm, Votes
from mien.cli.paths import refuse_file
from mien.cli.remote import local_input, local_output
from mien.cli.render import Column, make_table, print_table, progress_bars, right_aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Folder with one folder of images per class, a CSV list, FER2013's CSV, an .npz, "
        "WebDataset's .tar shards, or Parquet with images; or the address of one.",
    ),
]
Validation = Annotated[
    float,
    typer.Option(
        "--validation",
        help="Fraction of the training images held out for validation, 0 to below 1, for a source "
        "without a validation split; 0 holds nothing out.",
    ),
]
SplitSeed = Annotated[int, typer.Option("--seed", min=0, help="Random seed of the split.")]
AuditTable = Annotated[
    Path | None,
    typer.Option(
        "--apply",
        metavar="CSV",
        help="An audit.csv, edited or not, whose rows say which images to drop or relabel.",
    ),
]
Faces = Annotated[
    str,
    typer.Option(
        "--faces",
        help="How images become crops: find (crop the one face of each photo), whole (each image "
        "is a face crop) or auto (decide by a sample of the images).",
    ),
]
Subjects = Annotated[
    str,
    typer.Option(
        "--subjects",
        help="Keep all images of a subject in one split; subjects come from filename or folder "
        "(default: subjects are unknown).",
    ),
]
Duplicates = Annotated[
    str,
    typer.Option(
        "--duplicates",
        help="Duplicates kept in one split: near (includes exact ones) or exact. With exact, "
        "near-duplicates leak and accuracies are too high.",
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Dataset folder.")]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE",
        help="Contact sheet to write (default: contact-sheet.png in FOLDER).",
    ),
]
Count = Annotated[int, typer.Option("--count", help="Number of drawn faces, 12 or more.")]
DrawSeed = Annotated[int, typer.Option("--seed", min=0, help="Random seed of the drawing.")]

app = typer.Typer(
    help="Build datasets without leaks from labelled images, inspect and audit them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command(short_help="Find duplicates, leaks and likely label errors.")(audit)


@app.command("import", short_help="Turn labelled images into a dataset.")
def import_(
    source: Source,
    out: NewDataset,
    votes: Votes = None,
    form: SourceForm = "",
    size: CropSize = 48,
    validation: Validation = 0.15,
    seed: SplitSeed = 0,
    force: Force = False,
    apply: AuditTable = None,
    faces: Faces = "auto",
    subjects: Subjects = "",
    duplicates: Duplicates = "near",
    as_json: Json = False,
) -> None:
    """Import labelled images: find duplicates, split without leaks, write one compact cache."""
    with needs("data", "mien data"):
        from mien.data.prepare import PrepareOptions, prepare
    options = PrepareOptions(
        form, votes, size, validation, seed, force, apply, faces, subjects, duplicates
    )
    with (
        local_input(source) as here,
        local_output(out, new=not force) as folder,
        progress_bars() as progress,
    ):
        prepare(here, folder, options, progress, photo_detector)
        _print_dataset(folder, as_json=as_json)
        if (folder / "import.html").is_file():
            typer.echo(f"page: {folder / 'import.html'}", err=True)


@app.command(short_help="Print class counts and duplicates, write a contact sheet.")
def show(folder: Folder, sheet: Sheet = None, as_json: Json = False) -> None:
    """Print counts per class and split and the duplicates found; write a contact sheet."""
    with needs("data", "mien data"):
        from mien.data.dataset import load_dataset
        from mien.data.show import contact_sheet
        from mien.imaging.codec import write_image
    dataset = load_dataset(folder)
    refuse_file(sheet, "--sheet")
    path = sheet or folder / "contact-sheet.png"
    _print_dataset(folder, as_json=as_json)
    sys.stdout.flush()
    write_image(path, contact_sheet(dataset))  # last: the dataset folder may be read-only
    typer.echo(f"contact sheet: {path}", err=True)


@app.command(short_help="Draw a dataset of cartoon faces to try things with.")
def draw(
    out: NewDataset,
    count: Count = 3000,
    seed: DrawSeed = 0,
    size: CropSize = 48,
    force: Force = False,
) -> None:
    """Draw a dataset of cartoon faces (happy, neutral, sad); no image shows a real person."""
    with needs("data", "mien data"):
        from mien.data.build import write_dataset
        from mien.data.dataset import refuse_existing
        from mien.data.drawn import draw_dataset
    refuse_existing(out, force=force)
    write_dataset(draw_dataset(count, seed, size), out, force=force)
    _print_dataset(out)


def _print_dataset(folder: Path, *, as_json: bool = False) -> None:
    from mien.data.dataset import load_dataset
    from mien.data.show import describe

    # Read back from the folder: what is printed is what a later command will find.
    about = describe(load_dataset(folder))
    for warning in about.get("warnings", []):
        typer.echo(f"warning: {warning['message']}", err=True)
    if as_json:
        typer.echo(json.dumps(about, indent=2))
        return
    counts: dict[str, dict[str, int]] = about["counts"]
    splits = list(next(iter(counts.values())))
    rows = [[label, *_with_sum(row[s] for s in splits)] for label, row in counts.items()]
    rows.append(["all", *_with_sum(sum(row[s] for row in counts.values()) for s in splits)])
    columns = [Column("class"), *right_aligned(*splits, "all")]
    print_table(make_table(columns, rows, title=f"{about['name']}: {about['n']:,} images"))
    for line in _sentences(about):
        typer.echo(line)


def _with_sum(counts: Iterator[int]) -> list[str]:
    numbers = list(counts)
    return [f"{number:,}" for number in (*numbers, sum(numbers))]


def _sentences(about: dict[str, Any]) -> Iterator[str]:
    if "faces" in about:
        done = {"find": "found and cropped", "whole": "each image taken whole"}
        yield f"faces: {done[about['faces']['mode']]} ({about['faces']['why']})"
    yield f"split: {about['split_rule']}"
    yield (
        f"duplicates: {about['duplicate_images']:,} images in {about['duplicate_groups']:,} groups "
        f"({about['exact_duplicate_groups']:,} groups of exact duplicates, "
        f"{about['near_duplicate_pairs']:,} pairs of near"
        f"-duplicates); {about['excluded_duplicates']:,} excluded because a duplicate is in "
        "another split"
    )
    if "audit_dropped" in about:
        dropped, relabelled = about["audit_dropped"], about["audit_relabelled"]
        yield f"audit applied: {dropped:,} images dropped, {relabelled:,} relabelled"
    if about["skipped"]:
        yield f"skipped: {about['skipped']:,} files (skipped.csv)"
