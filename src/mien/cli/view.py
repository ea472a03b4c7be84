"""`mien view`: a page on this computer that shows results, and what people change about them."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError, counted

if TYPE_CHECKING:
    from mien.viewer.editor import Editor
    from mien.viewer.results import Results

Folder = Annotated[
    Path,
    typer.Argument(metavar="RESULTS", help="Folder of rows that mien video --out DIR wrote."),
]
Videos = Annotated[
    Path | None,
    typer.Option(
        "--videos",
        metavar="DIR",
        help="Folder in which videos are looked for first (default: where they were read from, "
        "then the folder of the results and the one above).",
    ),
]
StudyFile = Annotated[
    Path | None,
    typer.Option(
        "--study",
        metavar="FILE",
        help="Study file for events, exclusions and corrections (default: study.toml in RESULTS).",
    ),
]
Port = Annotated[int, typer.Option("--port", help="Port, 0 to 65535 (0 = any free port).")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the default browser.")]
Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE.npz",
        help="Write the corrected faces as a data set with votes, and show no page.",
    ),
]


def view(
    results: Folder,
    videos: Videos = None,
    study: StudyFile = None,
    port: Port = 8001,
    open_: Open = False,
    export: Export = None,
) -> None:
    """Show results of mien video in a browser on this computer; Ctrl-C stops it.

    Videos beside their timelines; people, events, excluded ranges and corrected labels are saved in
    people.json and study.toml beside the results.
    """
    with needs("view", "mien view"):
        import tomlkit  # noqa: F401  (writes study.toml)

        from mien.viewer.app import make_assets, run
        from mien.viewer.editor import Editor
        from mien.viewer.results import load_results
        from mien.viewer.routes import View

    loaded = load_results(results)
    editor = Editor(loaded, results / "people.json", study or results / "study.toml")
    if export is not None:
        _export(loaded, editor, videos, export)
        return

    def ready(address: str) -> None:
        typer.echo(f"{address} shows {results}; Ctrl-C stops it")
        if open_:
            webbrowser.open(address)

    run(View.make(loaded, editor, make_assets(), videos), port, ready)


def _export(loaded: Results, editor: Editor, videos: Path | None, path: Path) -> None:
    from mien.cli.streams import print_note
    from mien.viewer.corrections import export_corrections
    from mien.viewer.media import find_video

    if path.suffix != ".npz":
        raise ConfigError(f"export: {path} does not end in .npz", hint="for example faces.npz")
    found = [find_video(rows, loaded.folder, videos).path for rows in loaded.sources]
    written = export_corrections(
        loaded, editor.state()["people"], editor.study.corrections, found, path
    )
    for line in written.skipped:
        print_note(line)
    for label in sorted({one.label for one in editor.study.corrections} - set(loaded.labels)):
        print_note(
            f"{label!r} is none of the rows' labels ({', '.join(loaded.labels)}): "
            "it becomes a class"
        )
    typer.echo(f"{counted(written.images, 'face')} with votes in {path}")
    print_note(written.split_words)
    print_note(f"next: mien data import {path} DATA, then mien train finetune --data DATA")
