"""`mien quantize`: a float32 model file to an int8 one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.paths import refuse_file

if TYPE_CHECKING:
    from mien.publish.quantize import Quantized


def quantize(
    model: Path = typer.Argument(metavar="MODEL", help="An ONNX file, or a shipped model's name."),
    out: Path = typer.Argument(metavar="OUT", help="The ONNX file to write."),
    data: Path = typer.Option(..., "--data", metavar="DIR", help="A folder made by mien data."),
    max_loss: float = typer.Option(
        0.3, "--max-loss", help="Points of accuracy that may be lost; more is refused."
    ),
    note: str = typer.Option("", "--note", help="Words on the data for the model card."),
) -> None:
    """Write a model's int8 form: smaller, and faster where the processor can.

    Ranges are measured on training faces, and the loss of accuracy on validation ones.
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
    tell(quantize_model(content, name, out, dataset, max_loss=max_loss / 100, note=note), out)


def tell(done: Quantized, out: Path) -> None:
    """Say what int8 lost and brought, and whether it suits this machine."""
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
        typer.echo("note: this processor has no VNNI; take the float32 model here", err=True)
    elif done.speed < 1:
        typer.echo("note: int8 is slower here; keep the float32 model", err=True)
