"""`mien data audit`: what is wrong with a labelled collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.cli.options import CropSize, Json, SourceForm, Votes
from mien.cli.render import Column, make_table, print_table, progress_bars, right_aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mien.data.audit.audit import Audit, Tools
    from mien.data.faces import FaceDetector

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="Dataset folder, or any source that mien data import reads."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder to write (default: audit in a dataset folder, else ./SOURCE-audit).",
    ),
]
Faces = Annotated[
    str,
    typer.Option(
        "--faces",
        help="How a source's images become crops: find (crop the one face of each photo), whole "
        "(each image is a face crop) or auto (decide by a sample of the images).",
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="ONNX model file whose features the labels are checked with (default: mien-small).",
    ),
]


def audit(
    source: Source,
    out: Out = None,
    votes: Votes = None,
    form: SourceForm = "",
    size: CropSize = 48,
    faces: Faces = "auto",
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Find duplicates, leaks, likely label errors, and images that show nothing or no face.

    Writes a page, JSON, and a CSV whose suggestions can be edited and applied with
    mien data import --apply.
    """
    with needs("audit", "mien data audit"):  # fail now, not after a minute
        import cleanlab  # noqa: F401
        import sklearn  # noqa: F401

        from mien.data.audit.audit import audit as run_audit
        from mien.data.audit.open import open_dataset
        from mien.data.sources.images import ImageCropper
    # Loaded first: a model that is missing is reported before the images are read.
    tools = _tools(model)
    folder = out or _default_folder(source)
    with progress_bars() as progress:
        dataset = open_dataset(
            source,
            form,
            votes,
            size,
            lambda d, t: progress("reading", d, t),
            ImageCropper(faces, photo_detector),
        )
        found = run_audit(dataset, tools, progress)
    _write(found, folder)
    if as_json:
        from mien.data.audit.table import to_json

        typer.echo(json.dumps(to_json(found), indent=2))
    else:
        _print(found)
    typer.echo(f"page: {folder / 'audit.html'}", err=True)
    typer.echo(f"table to edit and apply: {folder / 'audit.csv'}", err=True)


def _write(found: Audit, folder: Path) -> None:
    from mien.data.audit.page import page
    from mien.data.audit.table import to_csv, to_json
    from mien.files import write_json, write_text

    write_text(folder / "audit.csv", to_csv(found))
    write_json(folder / "audit.json", to_json(found))
    write_text(folder / "audit.html", page(found))


def _default_folder(source: Path) -> Path:
    if (source / "dataset.json").is_file():
        return source / "audit"
    # A source is the user's own; nothing is written into it.
    return Path(f"{source.resolve().name.removesuffix(source.suffix)}-audit")


def photo_detector() -> FaceDetector:
    """Return the face detector for photos, the one that prediction uses."""
    from mien.predict.detectors.registry import make_detector

    return make_detector()


def _tools(model: Path | None) -> Tools:
    """Return the networks that the audit needs: `data` may not import `predict` itself."""
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
    from mien.data.audit.problem import DROP, RELABEL

    n, suggested, rows = len(found.dataset), found.suggested(), []
    for check, count in found.counts().items():
        actions = [f"{suggested[check][a]:,}" if a in suggested[check] else ""
                   for a in (DROP, RELABEL)]  # fmt: skip
        # Files that cannot be read are not among the n images.
        fraction = "" if check == "unreadable" else f"{count / n:.1%}"
        rows.append([check, f"{count:,}", fraction, *actions])
    columns = [Column("check"), *right_aligned("images", "fraction", DROP, RELABEL)]
    print_table(make_table(columns, rows, title=f"{found.dataset.name}: {n:,} images"))
    for check, reason in found.not_checked.items():
        typer.echo(f"not checked: {check}: {reason}")
    for note in found.notes:
        typer.echo(f"note: {note}")
    for where, leaks in (
        ("the source", found.leaks),
        ("this dataset", found.leaks_after_import or []),
    ):
        for leak in leaks:
            part = leak.fraction
            typer.echo(
                f"leak: in {where}, {part.value:.1%} of {leak.split} has a duplicate in training: "
                f"{leak.duplicated:,} of {leak.n:,} ({part.low:.1%} to {part.high:.1%}), "
                f"{leak.exact:,} exact"
            )
    if found.agreement is not None:
        agreed, n = found.agreement
        typer.echo(
            f"likely label errors that the rater majority also calls wrong: {agreed.value:.1%} "
            f"({agreed.low:.1%} to {agreed.high:.1%}), n = {n:,}"
        )
