"""`mien models`: the models that come with mien, and what each costs here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from mien.predict.classifier import Classifier


def models(
    files: list[Path] = typer.Argument(None, metavar="FILES...", help="ONNX files to list too."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    speed: bool = typer.Option(
        True, "--speed/--no-speed", help="Measure faces a second here, about a second a model."
    ),
) -> None:
    """List the shipped models: size, speed on this machine, accuracy with its interval, licence.

    Accuracy is what each file carries: on validation data, which chose its epoch.
    """
    from mien.predict.classifier import Classifier
    from mien.predict.shipped import model_content, shipped_models
    from mien.predict.speed import faces_per_second, suits_int8

    rows, loaded = [], []
    for model in [*map(Path, shipped_models()), *(files or [])]:
        content, name = model_content(model)
        loaded.append(Classifier.from_bytes(content, name=name, threads=1))
        rows.append(_Row(str(model), len(content), loaded[-1]))
    if speed:
        for row, faces in zip(
            rows, faces_per_second(loaded, seconds=1.0, clock=time.process_time), strict=True
        ):
            row.faces_per_second = faces
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2))
        return
    _print(rows)
    if any(m.info.precision == "int8" for m in loaded) and suits_int8() is False:
        typer.echo("note: this processor has no VNNI; take float32 models here", err=True)


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
    timed = rows[0].faces_per_second is not None
    for column in ("parameters", "size", *(["faces/s, 1 thread"] if timed else []), "accuracy"):
        table.add_column(column, justify="right" if column != "accuracy" else "left")
    table.add_column("labels")
    table.add_column("licence")
    for row in rows:
        info = row.classifier.info
        speed = [f"{row.faces_per_second:,.0f}"] if row.faces_per_second is not None else []
        table.add_row(
            row.model, f"{info.parameters:,}", f"{row.size / 1e6:.1f} MB", *speed,
            _accuracy(info.metrics), ", ".join(info.labels), info.licence or "not said",
        )  # fmt: skip
    Console(highlight=False).print(table)


def _accuracy(metrics: dict[str, Any]) -> str:
    """Return the headline accuracy that a model file carries, the panel's where it has one."""
    for name in ("panel", "raw"):
        if name in metrics:
            value, low, high = (metrics[name]["accuracy"][key] for key in ("value", "low", "high"))
            return f"{name} {value:.3f} ({low:.3f} to {high:.3f}), n = {metrics[name]['n']:,}"
    return "not measured"
