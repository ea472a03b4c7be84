"""`mien quantize`: a float32 model file to an int8 one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.options import DatasetFolder, ModelNote, NewOnnxFile, OnnxModel
from mien.cli.paths import refuse_file

if TYPE_CHECKING:
    from mien.publish.quantize import Quantized

MaxLoss = Annotated[
    float,
    typer.Option(
        "--max-loss",
        min=0,
        max=100,
        help="Accuracy that may be lost, in percentage points, 0 to 100; a larger loss is an error "
        "and nothing is written.",
    ),
]


def quantize(
    model: OnnxModel,
    out: NewOnnxFile,
    data: DatasetFolder,
    max_loss: MaxLoss = 0.3,
    note: ModelNote = "",
) -> None:
    """Quantize a model to int8: a smaller file, and faster on CPUs with VNNI.

    Value ranges are measured on the training split, the loss of accuracy on the validation split.
    """
    refuse_missing(model)
    refuse_file(out, "OUT", [".onnx"])
    with needs("train", "mien quantize"):
        import onnx as _  # noqa: F401

        from mien.data.dataset import load_dataset
        from mien.model.resolve import model_content
        from mien.publish.quantize import quantize_model
    content, name = model_content(model)
    dataset = load_dataset(data)
    # In points on the command line, as reports show accuracies; a fraction in Python.
    done = quantize_model(content, name, out, dataset, max_loss=max_loss / 100, note=note)
    print_quantized(done, out)


def print_quantized(done: Quantized, out: Path) -> None:
    """Print size, speed and accuracy of an int8 model beside its float32 one."""
    from mien.evaluate.report import GROUND_TRUTHS
    from mien.model.throughput import suits_int8

    low, value, high = (0.0 - 100 * v for v in (done.loss.high, done.loss.value, done.loss.low))
    typer.echo(
        f"{out}: {done.size:.0%} of the size, {done.speed:.2f} times as fast here (one thread, "
        f"batches of 64); accuracy {value:+.2f} points ({low:+.2f} to {high:+.2f}, "
        f"{GROUND_TRUTHS[done.by]}, n = {done.n:,}), {done.changed:.1%} of labels change; "
        f"card: {out.with_suffix('.md')}"
    )
    if suits_int8() is False:
        typer.echo("note: this CPU has no VNNI; use the float32 model here", err=True)
    # Measured here: the flag alone does not say how fast the CPU is.
    elif done.speed < 1:
        typer.echo("note: int8 is slower here; keep the float32 model", err=True)
