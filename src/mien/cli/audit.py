"""`mien data audit`: what is wrong with a labelled collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs
from mien.cli.progress import stages
from mien.cli.render import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mien.data.audit.audit import Audit, Tools
    from mien.data.faces import FaceDetector


def audit(
    source: Path = typer.Argument(
        metavar="DIR", help="A dataset folder, or any source that mien data import reads."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder to write; DIR/audit for a dataset, else ./NAME-audit."
    ),
    votes: Path | None = typer.Option(
        None, "--votes", help="FERPlus's vote CSV, for a source that is no dataset yet."
    ),
    form: str = typer.Option("", "--format", help="folders, list, fer2013 or arrays."),
    size: int = typer.Option(48, "--size", help="Of a source's crops, in pixels."),
    faces: str = typer.Option(
        "auto", "--faces", help="Of a source's images: auto, find or whole, as import has it."
    ),
    model: Path | None = typer.Option(
        None, "--model", help="ONNX model to ask about labels; the shipped one where not given."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Find copies, leaks, likely wrong labels, and images that show nothing or no face."""
    with needs("audit", "mien data audit"):
        import cleanlab  # noqa: F401 - to say now, and not after a minute, that it is missing
        import sklearn  # noqa: F401

        from mien.data.audit.audit import audit as run_audit
        from mien.data.audit.open import open_dataset
        from mien.data.audit.page import page
        from mien.data.audit.table import to_csv, to_json
        from mien.data.sources.images import ImageCropper
        from mien.files import write_json, write_text
    tools = _tools(model)
    folder = out or _default_folder(source)
    with stages() as progress:
        dataset = open_dataset(
            source,
            form,
            votes,
            size,
            lambda d, t: progress("reading", d, t),
            ImageCropper(faces, photo_detector),
        )
        found = run_audit(dataset, tools, progress)
    write_text(folder / "audit.csv", to_csv(found))
    about = to_json(found)
    write_json(folder / "audit.json", about)
    write_text(folder / "audit.html", page(found))
    if as_json:
        typer.echo(json.dumps(about, indent=2))
    else:
        _print(found)
    typer.echo(f"page: {folder / 'audit.html'}", err=True)
    typer.echo(f"table to edit and apply: {folder / 'audit.csv'}", err=True)


def _default_folder(source: Path) -> Path:
    if (source / "dataset.json").is_file():
        return source / "audit"
    # A source is the user's own; nothing is written into it.
    return Path(f"{source.resolve().name.removesuffix(source.suffix)}-audit")


def photo_detector() -> FaceDetector:
    """Return what finds faces on photos, for import and audit: that of prediction."""
    from mien.predict.detectors.registry import make_detector

    return make_detector()


def _tools(model: Path | None) -> Tools:
    """Return what the audit needs from networks: data may not know them itself."""
    with needs("audit", "mien data audit"):
        from mien.data.audit.audit import Tools
        from mien.data.sources.resize import resize_crops
        from mien.model.embedder import Embedder
        from mien.predict.detectors.crops import CropFaces
    embedder = Embedder.load(model)

    def embed(
        crops_nhw: NDArray[np.uint8], progress: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        return embedder.embed(resize_crops(crops_nhw, embedder.info.input_size), progress)

    return Tools(embed=embed, model=embedder.info.name, faces=CropFaces())


def _print(found: Audit) -> None:
    from rich.table import Table

    from mien.data.audit.problem import DROP, RELABEL

    name, n = found.dataset.name, len(found.dataset)
    actions, suggested = (DROP, RELABEL), found.suggested()
    table = Table(title=f"{name}: {n:,} images", title_justify="left")
    table.add_column("check")
    for column in ("images", "share", *actions):
        table.add_column(column, justify="right")
    for check, count in found.counts().items():
        cells = [f"{suggested[check][a]:,}" if a in suggested[check] else "" for a in actions]
        part = "" if check == "unreadable" else f"{count / n:.1%}"
        table.add_row(check, f"{count:,}", part, *cells)
    print_table(table)
    for check, reason in found.not_checked.items():
        typer.echo(f"not checked: {check}: {reason}")
    for where, leaks in (
        ("the source", found.leaks),
        ("this dataset", found.leaks_after_import or []),
    ):
        for leak in leaks:
            share = leak.fraction
            typer.echo(
                f"in {where}, {share.value:.1%} of {leak.split} has a copy in training: "
                f"{leak.duplicated:,} of {leak.n:,} ({share.low:.1%} to {share.high:.1%}), "
                f"{leak.exact:,} exact"
            )
    if found.agreement is not None:
        share, n = found.agreement
        typer.echo(
            f"likely wrong labels that the raters' majority calls wrong too: {share.value:.1%} "
            f"({share.low:.1%} to {share.high:.1%}), n = {n:,}"
        )
