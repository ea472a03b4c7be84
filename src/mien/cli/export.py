"""`mien export`: a run folder to an ONNX model file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.cli.options import ModelNote, RunDatasetFolder
from mien.cli.paths import refuse_file
from mien.errors import ModelFileError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that mien train wrote.")]
NewModel = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file to write.")]
Name = Annotated[
    str, typer.Option("--name", help="Name of the model (default: mien-RECIPE, after the recipe).")
]
With = Annotated[
    list[Path],
    typer.Option(
        "--with",
        metavar="RUN",
        help="Further run to export as an ensemble with the first (mean of logits); repeatable.",
    ),
]
Half = Annotated[
    bool,
    typer.Option("--half", help="Store fp16 weights: half the file size at the same speed."),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Also write MODEL.int8.onnx: smaller still, and faster on CPUs with VNNI.",
    ),
]


def export(
    run: Run,
    model: NewModel,
    data: RunDatasetFolder = None,
    note: ModelNote = "",
    name: Name = "",
    others: With = [],
    half: Half = False,
    int8: Int8 = False,
) -> None:
    """Export a run's best network as one ONNX file, with a model card.

    The file's logits are compared with torch's on the whole validation split before it is written.
    """
    refuse_file(model, "MODEL", [".onnx"])
    with needs("train", "mien export"):
        from mien.data.dataset import load_dataset
        from mien.publish.export import MAX_DIFFERENCE, export_run
        from mien.train.run.folder import open_run
    dataset = load_dataset(data or Path(open_run(run).data))
    done = export_run(run, model, dataset, name=name, note=note, half=half, others=others)
    typer.echo(
        f"{model}: {done.info.parameters:,} parameters, temperature {done.info.temperature}; "
        f"largest difference from torch {done.max_difference:.2g} over {done.compared} "
        f"validation images (limit: {MAX_DIFFERENCE:g}); card: {model.with_suffix('.md')}"
    )
    if half:
        typer.echo(
            f"fp16 weights: logits change by at most {done.half_difference:.2g}, "
            f"{done.half_changed} of {done.compared} labels change"
        )
    if int8:
        _write_int8(model, dataset, note)


def _write_int8(model: Path, dataset: Dataset, note: str) -> None:
    from mien.cli.quantize import print_quantized
    from mien.publish.quantize import quantize_model

    smaller = model.with_suffix(".int8.onnx")
    try:
        done = quantize_model(model.read_bytes(), str(model), smaller, dataset, note=note)
    except ModelFileError as error:
        # The float32 file is written already and stays: only the int8 one failed.
        again = shlex.join(["mien", "quantize", str(model), str(smaller)])
        raise ModelFileError(
            f"{error.message}; {smaller} was not written, {model} and its card were",
            hint=f"use {model}, or accept a larger loss: {again} --data DIR --max-loss 5",
        ) from error
    print_quantized(done, smaller)
