"""`mien export`: a run folder to an ONNX model file."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from mien.cli.extras import needs
from mien.cli.paths import refuse_file
from mien.errors import ModelFileError


def export(
    run: Path = typer.Argument(metavar="RUN", help="The folder that mien train wrote."),
    model: Path = typer.Argument(metavar="MODEL", help="The ONNX file to write."),
    data: Path | None = typer.Option(
        None, "--data", help="The dataset; the one it was trained on where not given."
    ),
    note: str = typer.Option(
        "", "--note", help="Words on the data for the model card: whence, who is shown, licence."
    ),
    name: str = typer.Option("", "--name", help="The model's name; mien-RECIPE where not given."),
    others: list[Path] = typer.Option(
        [], "--with", help="A further run, to answer together with the first; may be repeated."
    ),
    half: bool = typer.Option(
        False, "--half", help="Store the weights in 16 bits: half of the file, the same speed."
    ),
    int8: bool = typer.Option(
        False, "--int8", help="Write MODEL.int8.onnx too: smaller, and faster where VNNI is."
    ),
) -> None:
    """Write one ONNX file, compared with torch on all of validation, and its model card."""
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
        f"validation images (at most {MAX_DIFFERENCE:g} is accepted); "
        f"card: {model.with_suffix('.md')}"
    )
    if half:
        typer.echo(
            f"weights in 16 bits: logits change by up to {done.half_difference:.2g}, "
            f"{done.half_changed} of {done.compared} answers"
        )
    if int8:
        from mien.cli.quantize import tell
        from mien.publish.quantize import quantize_model

        smaller = model.with_suffix(".int8.onnx")
        content = model.read_bytes()
        try:
            tell(quantize_model(content, str(model), smaller, dataset, note=note), smaller)
        except ModelFileError as error:
            again = shlex.join(["mien", "quantize", str(model), str(smaller)])
            raise ModelFileError(
                f"{error.message}; {smaller} was not written, {model} and its card were",
                hint=f"use {model}, or accept a larger loss: {again} --data DIR --max-loss 5",
            ) from error
