"""`mien session`: all tables of a study of people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.extras import needs
from mien.errors import counted

MAX_NOTES = 20
"""Notes that are printed; all are in notes.csv."""

StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        help="Study file: study.toml, or a CSV table with a line for each participant and video.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write the tables into.")
]
Window = Annotated[
    float,
    typer.Option(
        "--window", metavar="SECONDS", help="Length of windows, also of those around events."
    ),
]
Pre = Annotated[float, typer.Option("--pre", metavar="SECONDS", help="Time before events.")]
Post = Annotated[float, typer.Option("--post", metavar="SECONDS", help="Time after events.")]
Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAMES",
        help="Formats, separated by commas: csv, parquet, feather, sav (SPSS), r (CSV and a "
        "mixed model).",
    ),
]
Tables = Annotated[
    str,
    typer.Option(
        "--tables",
        metavar="NAMES",
        help="Tables, separated by commas: frames, windows, events, episodes, people.",
    ),
]
SyncWindow = Annotated[
    float,
    typer.Option(
        "--sync-window", metavar="SECONDS", min=1, help="Window of the synchrony of two people."
    ),
]
MaxLag = Annotated[
    float, typer.Option("--max-lag", metavar="SECONDS", min=0, help="Largest lag of synchrony.")
]
Surrogates = Annotated[
    int, typer.Option("--surrogates", min=19, max=100_000, help="Shuffles that test synchrony.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of bootstrap and shuffles.")]


def session(
    study: StudyFile,
    out: Out,
    window: Window = 0.5,
    pre: Pre = 1.0,
    post: Post = 3.0,
    formats: Formats = "csv",
    tables: Tables = "frames,windows,events,episodes,people",
    sync_window: SyncWindow = 30.0,
    max_lag: MaxLag = 5.0,
    surrogates: Surrogates = 1000,
    seed: Seed = 0,
) -> None:
    """Derive the tables of a study: per frame, window, event, episode, person and condition."""
    with needs("sessions", "mien session"):
        from mien.sessions.derive import SessionOptions, derive
        from mien.sessions.synchrony import SynchronyOptions

        options = SessionOptions(
            window_s=window, pre_s=pre, post_s=post, formats=_names(formats),
            tables=_names(tables), seed=seed,
            synchrony=SynchronyOptions(
                window_s=sync_window, max_lag_s=max_lag, surrogates=surrogates, seed=seed
            ),
        )  # fmt: skip
        made = derive(study, out, options)
    for note in made.notes.found[:MAX_NOTES]:
        typer.echo(f"{note.kind}: {note.message}", err=True)
    if len(made.notes.found) > MAX_NOTES:
        more = len(made.notes.found) - MAX_NOTES
        typer.echo(f"{counted(more, 'more note')} in {out / 'notes.csv'}", err=True)
    who = counted(made.recordings, "participant in a session", "participants in sessions")
    typer.echo(
        f"{who}, {counted(made.frames, 'frame')}: {counted(len(made.files), 'file')} in {out}",
        err=True,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
