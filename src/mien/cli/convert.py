"""`mien convert`: rows of videos for other software."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError, counted

Rows = Annotated[
    list[Path],
    typer.Argument(
        metavar="ROWS...",
        help="Files or folders that mien video --out wrote: .csv, .jsonl, .parquet, .feather.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="File to write; its end chooses the format: .csv, .tsv, .parquet, .feather, .sav "
        "(SPSS), .R (a mixed model and its data), .eaf (ELAN), .TextGrid (Praat), _events.tsv or "
        "_physio.tsv.gz (BIDS).",
    ),
]
Columns = Annotated[str, typer.Option("--columns", help="Names of the columns: mien or openface.")]
Track = Annotated[int | None, typer.Option("--track", min=1, help="Only the rows of this track.")]


def convert(rows: Rows, out: Out, columns: Columns = "mien", track: Track = None) -> None:
    """Convert rows of videos to tables and annotations of other software."""
    from mien.cli.paths import refuse_file

    refuse_file(out, "--out", [])
    with needs("data", "mien convert"):
        from mien.tables.load import load_rows
        from mien.tables.people import with_people
        from mien.tables.segments import only_track
        from mien.tables.write import write_rows, writer

        # An unknown end before hours of rows are read.
        writer(out)
        table = with_people(load_rows(rows), rows, lambda text: typer.echo(text, err=True))
    if any(out.resolve() == path.resolve() for path in rows):
        raise ConfigError(f"{out} is both read and written", hint="give another name to --out")
    if track is not None:
        table = only_track(table, track)
    written = write_rows(table, out, columns=columns)
    typer.echo(f"{counted(table.num_rows, 'row')}: {', '.join(map(str, written))}", err=True)
