"""`mien explain`: which parts of a face a model's prediction depends on."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import exit_codes
from mien.cli.extras import needs
from mien.cli.options import AnyModel, Detector, FaceMode, Json, Threads
from mien.cli.render import Column, make_table, print_table, progress_bars, right_aligned
from mien.errors import ConfigError
from mien.predict.detectors import DEFAULT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.explain.explain import Explanation
    from mien.explain.explainable import Explainable
    from mien.explain.sanity import SanityCheck
    from mien.reader import Reader
    from mien.types import FaceReading

MAX_FACES = 50
"""Faces on one page: each takes half a megabyte and some seconds."""

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGES", help="Images and folders of images.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder to write the page and its images to.")
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Label to explain (default: each face's most probable label)."),
]
Layer = Annotated[
    int | None,
    typer.Option(
        "--layer",
        help="Layer for Grad-CAM, given by the side of its feature maps in cells (default: the "
        "last convolution).",
    ),
]
Patch = Annotated[
    int | None,
    typer.Option(
        "--patch",
        help="Side of the occluding patch in pixels, 1 to below the crop's side (default: a fifth "
        "of that side).",
    ),
]
Draws = Annotated[
    int,
    typer.Option(
        "--draws",
        help="Random weights tried per level of the sanity check, 0 or more; 0 skips the check.",
    ),
]


def explain(
    model: AnyModel,
    paths: Images,
    out: Out = Path("explanation"),
    label: Label = None,
    side: Layer = None,
    patch: Patch = None,
    draws: Draws = 5,
    detector: Detector = DEFAULT,
    faces: FaceMode = "find",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Show which parts of a face a model's score depends on, and whether the maps can be trusted.

    Writes a page with Grad-CAM, occlusion maps, first-layer kernels and feature maps of the very
    crops that the model sees. Exit codes are those of mien predict: 3 if an image shows no face,
    1 if one could not be read.
    """
    _need_packages()
    from mien.explain.explain import explain as run_explanation
    from mien.explain.folder import write_folder
    from mien.reader import Reader

    # The reader finds, crops and classifies as in prediction; the crops that it classified are
    # explained.
    recorder = _Recorder(load_explainable(model, threads))
    reader = Reader(recorder, detector=detector, faces=faces, threads=threads)
    found, code = _read(reader, paths)
    with progress_bars() as progress:
        explanation = run_explanation(
            recorder.model, recorder.crops_nhw, label=label, side=side, patch=patch, draws=draws,
            progress=progress,
        )  # fmt: skip
    values = write_folder(out, explanation, found)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        _print_thirds(explanation, [source for source, _ in found])
        if explanation.sanity is not None:
            _print_sanity(explanation.sanity)
    _warn(explanation)
    typer.echo(f"page: {out / 'index.html'}", err=True)
    raise typer.Exit(code)


def _need_packages() -> None:
    """Raise MissingExtraError now, not after a minute's work."""
    with needs("explain", "mien explain"):
        for package in ("matplotlib", "onnx", "scipy"):
            import_module(package)


def load_explainable(model: Path, threads: int = 0) -> Explainable:
    """Return the model of a run folder or an ONNX file, opened to be explained."""
    from mien.model.resolve import resolve

    if resolve(model).is_run:
        with needs("train", "explaining a run folder"):
            from mien.train.run.explainable import RunExplainable
        return RunExplainable.load(model, threads)
    from mien.explain.onnx_graph import OnnxExplainable

    return OnnxExplainable.load(model, threads)


class _Recorder:
    """A classifier for the reader that records the crops, in the order of the faces."""

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
    """Return each face with its source, and the exit code; list images without a usable face."""
    readings = list(reader.read_many(paths))
    faceless = [r.source for r in readings if r.error is None and not r.faces]
    unreadable = [r.error for r in readings if r.error is not None]
    for source in faceless:
        typer.echo(f"no face: {source}", err=True)
    for error in unreadable:
        typer.echo(f"unreadable: {error}", err=True)
    # As `mien predict`: an unreadable image weighs more than one without a face.
    code = exit_codes.FAILURE if unreadable else exit_codes.FACELESS if faceless else 0
    found = [(reading.source, face) for reading in readings for face in reading.faces]
    if not found:
        typer.echo("no face to explain; nothing was written", err=True)
        raise typer.Exit(code)
    # Refused, not cut: a page of the first fifty would look complete.
    if len(found) > MAX_FACES:
        raise ConfigError(
            f"these images show {len(found)} faces; one page takes at most {MAX_FACES}",
            hint="choose fewer images, or explain them in several calls, each with its own --out",
        )
    return found, code


def _print_thirds(explanation: Explanation, sources: list[str]) -> None:
    """Print how each map's weight is distributed over the thirds of the face."""
    from mien.explain.explain import thirds
    from mien.intervals import percent

    labels = explanation.info.labels
    rows = []
    for source, face in zip(sources, explanation.faces, strict=True):
        first = [source, f"{labels[face.target]} {percent(float(face.probs_k[face.target]))}",
                 face.label(explanation.info)]  # fmt: skip
        for method, map_hw in face.maps.items():
            empty = map_hw.max(initial=0) <= 0
            fractions = ["empty"] if empty else [f"{f:.0%}" for f in thirds(map_hw).values()]
            rows.append([*first, method, *fractions])
            # The face's own columns stand beside its first map only.
            first = ["", "", ""]
    columns = [Column("image", fold=True), Column("explained"), Column("predicted"), Column("map")]
    thirds_of_face = right_aligned("upper third", "middle", "lower")
    print_table(make_table([*columns, *thirds_of_face], rows))


def _print_sanity(sanity: SanityCheck) -> None:
    """Print how much each map changes as more layers get random weights, and the verdict."""
    from mien.explain.figures import layers_in_words
    from mien.explain.sanity import signed

    rows = []
    for level in sanity.levels:
        cells = [
            f"{signed(s.spearman)} ({signed(s.spearman_absolute)})"
            for s in level.similarity.values()
        ]
        rows.append([layers_in_words(level.layers, sanity.levels[-1].layers), *cells])
    # An empty map neither passes nor fails: there is nothing that could change.
    verdicts = [
        "empty" if m in sanity.empty else "passes" if sanity.passes(m) else "FAILS"
        for m in sanity.methods
    ]
    rows.append([f"verdict, n = {sanity.sample}", *verdicts])
    columns = [Column("rank correlation (absolute values)"), *right_aligned(*sanity.methods)]
    typer.echo()
    print_table(make_table(columns, rows))


def _warn(explanation: Explanation) -> None:
    if explanation.side is None:
        typer.echo("note: no Grad-CAM: the model has no feature maps of a single network", err=True)
    if explanation.sanity is None:
        typer.echo("note: the sanity check was skipped: the maps are not validated", err=True)
        return
    for method in explanation.sanity.methods:
        if method in explanation.sanity.empty:
            typer.echo(
                f"warning: the {method} maps are empty: no region supports the explained label; "
                "the sanity check does not apply",
                err=True,
            )
        elif not explanation.sanity.passes(method):
            typer.echo(
                f"warning: the {method} maps hardly change when all weights are random: they show "
                "the image, not the model; do not trust them",
                err=True,
            )
