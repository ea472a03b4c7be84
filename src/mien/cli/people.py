"""`mien people`: who is the same person over gaps, cuts and files of a folder of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.cli.options import Json, Threads
from mien.cli.render import Column, make_table, print_table, right_aligned
from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from mien.video.people.file import People
    from mien.video.people.find import Found
    from mien.video.people.seen import Seen, TrackKey

app = typer.Typer(
    no_args_is_help=True,
    help="Find the same person again in rows of videos.\n\nCompares faces of one folder, which is "
    "biometric processing; nothing leaves this machine.",
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of rows that mien video --out wrote.")
]
Dir = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder of rows and people.json (default: .).")
]
Who = Annotated[str, typer.Argument(metavar="WHO", help="Id, such as P1, or name of a person.")]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Video, as the rows name it.")]
Track = Annotated[int, typer.Argument(metavar="TRACK", min=1, help="Number of the track in it.")]
Keep = Annotated[
    bool,
    typer.Option("--keep-embeddings", help="Also write the faces' embeddings to DIR/people.npz."),
]


@app.command()
def find(
    folder: Folder,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Discard people.json, with its names and corrections, and start again."
        ),
    ] = False,
    keep: Keep = False,
    threads: Threads = 0,
) -> None:
    """Join the tracks of all rows in a folder into people.

    Compares faces from people.npz where it is kept, else from the videos, and writes people.json.
    People and tracks that people.json has already stay as they are."""
    with needs("people", "mien people find"):
        from mien.tables.load import load_rows
        from mien.video.people.folder import NOTICE, PeopleFolder, describe

        _check(folder)
        typer.echo(NOTICE, err=True)
        table = load_rows([folder])
    finder = PeopleFolder(folder, keep=keep, again=again, threads=threads,
                          say=lambda text: typer.echo(text, err=True))  # fmt: skip
    typer.echo(describe(finder.descriptor), err=True)
    print_found(finder.finish(table), folder)


@app.command("list")
def list_(folder: Folder = Path(), as_json: Json = False) -> None:
    """List the people of a folder.

    Shows the videos, tracks and frames in which each was seen."""
    people, seen = _load(folder)
    if as_json:
        typer.echo(json.dumps(people.to_dict(), indent=2, ensure_ascii=False))
        return
    rows = []
    for person in people.people:
        spans = [seen[part.key].between(part.start_s, part.end_s) for part in person.tracks]
        files = len({part.source for part in person.tracks})
        frames = sum(map(len, spans))
        rows.append([person.id, person.name or "", str(files), str(len(person.tracks)),
                     f"{frames:,}"])  # fmt: skip
    columns = [Column("id"), Column("name"), *right_aligned("videos", "tracks", "frames")]
    print_table(make_table(columns, rows))
    typer.echo(_rest(people), err=True)


@app.command()
def name(
    who: Who,
    new: Annotated[str, typer.Argument(metavar="NAME", help="New name; '' removes the name.")],
    folder: Dir = Path(),
) -> None:
    """Name a person."""
    people, _ = _load(folder)
    changed = people.rename(who, new)
    _save(changed, folder, f"{people.find(who).id}: {changed.find(people.find(who).id).label}")


@app.command()
def merge(
    who: Who,
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="Id or name of the person joined into WHO.")
    ],
    folder: Dir = Path(),
) -> None:
    """Join two people into one.

    The id and name of the first stay. Refused if one frame shows both."""
    people, seen = _load(folder)
    ids = people.find(who).id
    changed = people.merge(who, other, seen)
    person = changed.find(ids)
    _save(changed, folder, f"{ids}: {person.label}, {counted(len(person.tracks), 'track')}")


@app.command()
def split(
    source: Source,
    track: Track,
    at: Annotated[
        float | None,
        typer.Option(
            "--at", help="Seconds from which on the track shows somebody else (default: all of it)."
        ),
    ] = None,
    folder: Dir = Path(),
) -> None:
    """Take a track out of a person, as a new person.

    With --at only its part from that moment on."""
    people, seen = _load(folder)
    changed = people.split(source, track, at, seen)
    _save(changed, folder, f"new: P{changed.last_id}")


@app.command()
def mark(
    source: Source,
    track: Track,
    place: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="Id or name of a person, unknown, or not-a-face."),
    ],
    folder: Dir = Path(),
) -> None:
    """Say whom a track shows, or that it shows no face."""
    people, seen = _load(folder)
    _save(people.mark(source, track, place.replace("not-a-face", "not_a_face"), seen), folder,
          f"track {track} of {source}: {place}")  # fmt: skip


@app.command()
def forget(who: Who, folder: Dir = Path()) -> None:
    """Remove a person's name and embeddings from a folder.

    The tracks become unknown. The rows themselves stay: delete them too if the person asks for
    it."""
    from mien.video.people.folder import forget as forget_in
    from mien.video.sinks.page_people import update_pages

    _check(folder)
    left, count = forget_in(folder, who)
    update_pages(folder, left)
    typer.echo(
        f"forgotten: {who}, {counted(count, 'embedding')}; the rows stay; {_rest(left)}", err=True
    )


def print_found(found: Found, folder: Path) -> None:
    """Print how many people were found, and why tracks are unknown; name them on pages."""
    from mien.video.sinks.page_people import update_pages

    people = found.people
    update_pages(folder, people)
    typer.echo(
        f"{folder / 'people.json'}: {counted(len(people.people), 'person', 'people')}; "
        f"{_rest(people)}",
        err=True,
    )
    for why, count in found.reasons.items():
        typer.echo(f"  {counted(count, 'track')}: {why}", err=True)
    if found.too_alike:
        typer.echo(
            "warning: the faces are too alike to be distinguished well, as drawn or masked faces "
            f"are; tracks are joined from a similarity of {people.embedding.threshold:.3f} on, and "
            "the unclear ones are unknown: check them with mien view",
            err=True,
        )


def _rest(people: People) -> str:
    parts = [f"{counted(len(people.unknown), 'track')} unknown"]
    if people.not_a_face:
        parts.append(f"{counted(len(people.not_a_face), 'track')} marked as no face")
    return ", ".join(parts)


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder", hint="give the folder that mien video --out wrote"
        )


def _load(folder: Path) -> tuple[People, dict[TrackKey, Seen]]:
    """Return the people of a folder, compared with its rows, and when its tracks were seen."""
    from mien.video.people.file import FILE_NAME, People
    from mien.video.people.seen import seen_in

    _check(folder)
    people = People.load(folder)
    with needs("people", "mien people"):
        from mien.tables.load import load_rows

        seen = seen_in(load_rows([folder]))
    return people.check_rows(seen, folder / FILE_NAME), seen


def _save(people: People, folder: Path, text: str) -> None:
    from mien.video.people.file import FILE_NAME
    from mien.video.sinks.page_people import update_pages

    people.save(folder / FILE_NAME)
    update_pages(folder, people)
    typer.echo(text, err=True)
