"""`mien evaluate`: a model against a split of a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError, ModelFileError, did_you_mean
from mien.labels import label_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.evaluate.evaluate import Evaluation
    from mien.evaluate.table import Scorer


def evaluate(
    model: Path = typer.Argument(
        metavar="MODEL", help="A run folder, an ONNX file, or a shipped model's name."
    ),
    data: Path = typer.Option(..., "--data", metavar="DIR", help="A folder made by mien data."),
    split: str = typer.Option("validation", "--split", help="train, validation or test."),
    labels: str = typer.Option(
        "", "--labels", help="Answer other labels: seven, or fewer, such as happy,sad."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    picture: Path | None = typer.Option(
        None,
        "--picture",
        help="PNG to write; else evaluation-SPLIT.png in the run, or here.",
    ),
) -> None:
    """Grade a model: the raters' panel where there are votes, and the raw labels beside it."""
    with needs("data", "mien evaluate"):
        from mien.data.manifest import load_dataset
        from mien.evaluate.evaluate import evaluate as run_evaluation
        from mien.evaluate.plots import picture as draw
        from mien.files import write_bytes
    chosen = label_set(labels) if labels else ()
    dataset = load_dataset(data)
    evaluation = run_evaluation(load_scorer(model, chosen), dataset, split, chosen)
    if split == "test":
        typer.echo("note: this looks at the test set; choose nothing by it", err=True)
    if as_json:
        typer.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        _print(evaluation)
    sys.stdout.flush()
    path = picture or (model if model.is_dir() else Path()) / f"evaluation-{split}.png"
    write_bytes(path, draw(evaluation))  # last: the folder may be one to read only
    typer.echo(f"picture: {path}", err=True)


def load_scorer(model: Path, labels: Sequence[str] = ()) -> Scorer:
    """Return the model in an ONNX file, a shipped one, or the best network of a run folder.

    Where one of its outputs has just these labels, in any order, that one answers; else its
    first, to be restricted to them.
    """
    if model.is_dir():
        with needs("train", "evaluating a run folder"):
            from mien.train.runfolder import load_scorer as load_run
            from mien.train.runfolder import open_run
        recipe = open_run(model).recipe
        also = bool(labels) and recipe.also and set(labels) == set(label_set(recipe.also))
        return load_run(model, labels=tuple(labels) if also else ())
    from mien.predict.classifier import Classifier, shipped_models

    if not model.exists() and str(model) not in shipped_models():
        raise ModelFileError(
            f"there is no model {model}",
            hint=did_you_mean(str(model), shipped_models())
            + "give a run folder, an ONNX file or a shipped model's name: mien models",
        )
    try:
        return Classifier.load(model, labels=labels)
    except ConfigError:
        return Classifier.load(model)


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.evaluate.report import NAMES, YARDSTICKS, yardsticks

    console = Console(highlight=False)
    console.print(
        f"[bold]{evaluation.model}[/bold] on {evaluation.data}, {evaluation.split} "
        f"(fingerprint {evaluation.fingerprint}); 95% intervals"
    )
    graded = list(yardsticks(evaluation))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name, metrics in graded:
        table.add_column(f"{YARDSTICKS[name]}, n = {metrics.n:,}", justify="right")
    for key, title in NAMES.items():
        estimates = [metrics.headlines[key] for _, metrics in graded]
        table.add_row(title, *(f"{e.value:.4f}  {e.low:.4f} to {e.high:.4f}" for e in estimates))
    console.print(table)
    for name, metrics in graded:
        classes = Table(box=None, pad_edge=False, header_style="bold")
        columns = [f"→ {label}" for label in metrics.labels]
        for column in (YARDSTICKS[name], "n", *columns, "precision", "recall", "F1"):
            classes.add_column(column, justify="left" if column == YARDSTICKS[name] else "right")
        values = metrics.to_dict()["per_class"]
        for i, label in enumerate(metrics.labels):
            own = [f"{values[label][key]:.3f}" for key in ("precision", "recall", "f1")]
            counts = [f"{c:,}" for c in metrics.confusion[i]]
            classes.add_row(label, f"{values[label]['n']:,}", *counts, *own)
        console.print()
        console.print(classes)
