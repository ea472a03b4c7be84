"""`mien models`: the models that come with mien, and what each costs here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import Json
from mien.cli.render import Column, make_table, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.model.classifier import Classifier

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILES", help="ONNX model files to list after the shipped models."),
]
All = Annotated[
    bool,
    typer.Option("--all", help="List the shipped int8 models even if this CPU lacks VNNI."),
]
Speed = Annotated[
    bool,
    typer.Option(
        "--speed/--no-speed",
        help="Measure faces per second on this machine, which takes about 1 s per model.",
    ),
]


def models(
    files: Files = None, as_json: Json = False, every: All = False, speed: Speed = True
) -> None:
    """List the shipped models: size, speed on this machine, accuracy, licence.

    Accuracy is read from each file, with its 95% confidence interval. It was measured on
    validation data, which also chose the epoch.
    """
    from mien.model.classifier import Classifier
    from mien.model.resolve import INT8, model_content, shipped_models
    from mien.model.throughput import faces_per_second, suits_int8

    suits = suits_int8()
    names = shipped_models()
    # Int8 pays off only with VNNI, so without it the list does not offer them.
    left_out = [n for n in names if n.endswith(INT8) and suits is False and not every]
    rows, loaded = [], []
    for model in [*(Path(n) for n in names if n not in left_out), *(files or [])]:
        content, name = model_content(model)
        # One thread, as in the published figures, so that models can be compared.
        loaded.append(Classifier.from_bytes(content, name=name, threads=1))
        rows.append(_Row(str(model), len(content), loaded[-1]))
    if speed:
        # CPU time, which other programs on the machine hardly change.
        speeds = faces_per_second(loaded, seconds=1.0, clock=time.process_time)
        for row, faces in zip(rows, speeds, strict=True):
            row.faces_per_second = faces
    if left_out:
        typer.echo(
            f"note: not listed: {', '.join(left_out)}: this CPU has no VNNI; --all lists them",
            err=True,
        )
    elif any(m.info.precision == "int8" for m in loaded) and suits is False:
        typer.echo("note: this CPU has no VNNI; use float32 models here", err=True)
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
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


def _print(rows: Sequence[_Row]) -> None:
    infos = [row.classifier.info for row in rows]
    accuracies, evaluated = zip(*map(_accuracy, rows), strict=True)
    columns = {
        Column("parameters", right=True): [f"{info.parameters:,}" for info in infos],
        Column("size", right=True): [f"{row.size / 1e6:.1f} MB" for row in rows],
    }
    speeds = [row.faces_per_second for row in rows if row.faces_per_second is not None]
    if speeds:
        columns[Column("faces/s", right=True)] = [f"{speed:,.0f}" for speed in speeds]
    columns[Column("accuracy")] = list(accuracies)
    facts = {
        "evaluated on": list(evaluated),
        "labels": [", ".join(info.labels) for info in infos],
        "licence": [info.licence or "not stated" for info in infos],
    }
    # What all models share is printed once, below the table.
    shared = {name: values[0] for name, values in facts.items() if len(set(values)) == 1}
    columns |= {Column(name): values for name, values in facts.items() if name not in shared}
    cells = zip(*columns.values(), strict=True)
    lines = [[row.model, *line] for row, line in zip(rows, cells, strict=True)]
    print_table(make_table([Column("model", fold=True), *columns], lines))
    for name, value in shared.items():
        typer.echo(f"{name}: {value}")
    if speeds:
        typer.echo("faces/s: on this machine, one thread, batches of 64")


def _accuracy(row: _Row) -> tuple[str, str]:
    """Return the headline accuracy in a model file and its ground truth: consensus, else raw."""
    from mien.evaluate.report import GROUND_TRUTHS

    metrics = row.classifier.info.metrics
    for name in ("consensus", "raw"):
        if name in metrics:
            value, low, high = (metrics[name]["accuracy"][key] for key in ("value", "low", "high"))
            data = " ".join(metrics[key] for key in ("data", "split") if key in metrics)
            by = f"{GROUND_TRUTHS[name]}, n = {metrics[name]['n']:,}"
            return f"{value:.3f} ({low:.3f} to {high:.3f})", f"{by}, {data}".rstrip(", ")
    return "not measured", "-"
