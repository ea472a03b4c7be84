"""`mien models`: the models that come with mien, and what each costs here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.render import print_table

if TYPE_CHECKING:
    from mien.model.classifier import Classifier


def models(
    files: list[Path] = typer.Argument(None, metavar="FILES...", help="ONNX files to list too."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    every: bool = typer.Option(
        False, "--all", help="List int8 models even where the processor lacks VNNI."
    ),
    speed: bool = typer.Option(
        True, "--speed/--no-speed", help="Measure faces a second here, about a second a model."
    ),
) -> None:
    """List the shipped models: size, speed on this machine, accuracy with its interval, licence.

    Accuracy is what each file carries: on validation data, which chose its epoch.
    """
    from mien.model.classifier import Classifier
    from mien.model.resolve import INT8, model_content, shipped_models
    from mien.model.throughput import faces_per_second, suits_int8

    suits = suits_int8()
    names = shipped_models()
    left_out = [n for n in names if n.endswith(INT8) and suits is False and not every]
    rows, loaded = [], []
    for model in [*(Path(n) for n in names if n not in left_out), *(files or [])]:
        content, name = model_content(model)
        loaded.append(Classifier.from_bytes(content, name=name, threads=1))
        rows.append(_Row(str(model), len(content), loaded[-1]))
    if speed:
        for row, faces in zip(
            rows, faces_per_second(loaded, seconds=1.0, clock=time.process_time), strict=True
        ):
            row.faces_per_second = faces
    if left_out:
        typer.echo(
            f"note: left out, for this processor has no VNNI: {', '.join(left_out)} (--all)",
            err=True,
        )
    elif any(m.info.precision == "int8" for m in loaded) and suits is False:
        typer.echo("note: this processor has no VNNI; take float32 models here", err=True)
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2))
        return
    _print(rows)


@dataclass(slots=True)
class _Row:
    model: str
    size: int
    classifier: Classifier
    faces_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        info = self.classifier.info
        speed = self.faces_per_second
        return {
            "model": self.model,
            "name": info.name,
            "labels": list(info.labels),
            "parameters": info.parameters,
            "multiply_adds": info.multiply_adds,
            "bytes": self.size,
            "precision": info.precision,
            "faces_per_second": None if speed is None else round(speed, 1),
            "metrics": info.metrics,
            "data": info.data,
            "licence": info.licence,
        }


def _print(rows: list[_Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    columns = {
        "parameters": [f"{row.classifier.info.parameters:,}" for row in rows],
        "size": [f"{row.size / 1e6:.1f} MB" for row in rows],
    }
    if rows[0].faces_per_second is not None:
        columns["faces/s"] = [f"{row.faces_per_second:,.0f}" for row in rows]
    columns["accuracy"], graded = map(list, zip(*map(_accuracy, rows), strict=True))
    facts = {
        "graded by": graded,
        "labels": [", ".join(row.classifier.info.labels) for row in rows],
        "licence": [row.classifier.info.licence or "not said" for row in rows],
    }
    # What is the same for all is said once, below.
    columns |= {name: values for name, values in facts.items() if len(set(values)) > 1}
    for name in columns:
        left = name in ("accuracy", *facts)
        table.add_column(name, justify="left" if left else "right", no_wrap=name == "accuracy")
    for row, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        table.add_row(row.model, *cells)
    console = Console(highlight=False)
    print_table(table)
    for name, values in facts.items():
        if name not in columns:
            console.print(f"{name}: {values[0]}", style="dim", soft_wrap=True)
    if "faces/s" in columns:
        console.print("faces/s: here, one thread, batches of 64", style="dim")


def _accuracy(row: _Row) -> tuple[str, str]:
    """Return the headline accuracy that a model file carries, the panel's where it has one."""
    from mien.evaluate.report import GROUND_TRUTHS

    metrics = row.classifier.info.metrics
    for name in ("consensus", "raw"):
        if name in metrics:
            value, low, high = (metrics[name]["accuracy"][key] for key in ("value", "low", "high"))
            data = " ".join(metrics[key] for key in ("data", "split") if key in metrics)
            by = f"{GROUND_TRUTHS[name]}, n = {metrics[name]['n']:,}"
            return f"{value:.3f} ({low:.3f} to {high:.3f})", f"{by}, {data}".rstrip(", ")
    return "not measured", "-"
