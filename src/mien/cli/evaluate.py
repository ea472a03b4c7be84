"""`mien evaluate`: a model against a split of a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.paths import refuse_file
from mien.cli.render import print_table
from mien.errors import ConfigError
from mien.labels import label_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from mien.data.dataset import Dataset
    from mien.evaluate.evaluate import Evaluation, Metrics
    from mien.evaluate.predictions import Scorer
    from mien.evaluate.robustness import Robustness


def evaluate(
    model: Path = typer.Argument(
        metavar="MODEL", help="A run folder, an ONNX model file, or a shipped model's name."
    ),
    data: Path | None = typer.Option(
        None, "--data", metavar="DIR", help="A folder made by mien data (default: the run's own)."
    ),
    split: str = typer.Option("validation", "--split", help="train, validation or test."),
    labels: str = typer.Option(
        "", "--labels", help="Answer other labels: seven, or fewer, such as happy,sad."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    image: Path | None = typer.Option(
        None,
        "--image",
        help="PNG to write (default: in the run folder, or beside the ONNX file). Others "
        "stand beside it: its name with -confidence, and with -corruptions.",
    ),
    corruptions: bool = typer.Option(
        False, "--corruptions", help="Also measure what blur, noise, turning and more cost."
    ),
) -> None:
    """Grade a model: the raters' panel where there are votes, and the raw labels beside it."""
    with needs("data", "mien evaluate"):
        from mien.data.dataset import load_dataset
        from mien.evaluate.confidence_plots import confidence_image
        from mien.evaluate.evaluate import evaluate as run_evaluation
        from mien.evaluate.plots import image as draw
        from mien.files import write_bytes
    chosen = label_set(labels) if labels else ()
    refuse_file(image, "--image", [".png"])
    scorer = load_scorer(model, chosen)
    dataset = load_dataset(data or _own_data(model, split))
    evaluation = run_evaluation(scorer, dataset, split, chosen)
    if split == "test":
        typer.echo("note: this looks at the test set; choose nothing by it", err=True)
    robustness = _robustness(scorer, dataset, split, chosen) if corruptions else None
    if as_json:
        more = {} if robustness is None else {"corruptions": robustness.to_dict()}
        typer.echo(json.dumps({**evaluation.to_dict(), **more}, indent=2))
    else:
        _print(evaluation)
        if robustness is not None:
            _print_robustness(robustness)
    sys.stdout.flush()
    path = image or _image_path(model, dataset, split)
    if path is None:
        typer.echo("no image was written: give --image FILE for one", err=True)
        return
    images = {path: draw(evaluation), _beside(path, "confidence"): confidence_image(evaluation)}
    if robustness is not None:
        from mien.evaluate.robustness_plots import robustness_image

        images[_beside(path, "corruptions")] = robustness_image(robustness)
    there = any(place.exists() for place in images)
    for place, content in images.items():  # last: the folder may be one to read only
        write_bytes(place, content)
    said = "images, which replace earlier ones" if there else "images"
    typer.echo(f"{said}: {', '.join(map(str, images))}", err=True)


def _own_data(model: Path, split: str) -> Path:
    """Return the folder of data that a run was trained on, and say so."""
    if not model.is_dir():
        raise ConfigError(
            f"{model} does not know which data it was trained on",
            hint="give a folder made by mien data: --data DIR",
        )
    with needs("train", "evaluating a run folder"):
        from mien.train.run.folder import open_run
    data = Path(open_run(model).data)
    if not data.exists():
        raise ConfigError(
            f"{model} was trained on {data}, which is no longer there",
            hint="give the folder's new place with --data DIR",
        )
    typer.echo(f"data: {data}, which the run was trained on; split: {split}", err=True)
    return data


def _image_path(model: Path, dataset: Dataset, split: str) -> Path | None:
    """Return where the image goes unless told; None for a shipped model, which has no folder."""
    if model.is_dir():
        return model / f"evaluation-{split}.png"
    if not model.exists():
        return None
    return model.with_name(f"{model.stem}-evaluation-{dataset.name}-{split}.png")


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}{path.suffix}")


def _robustness(
    scorer: Scorer, dataset: Dataset, split: str, labels: tuple[str, ...]
) -> Robustness:
    from mien.cli.progress import stages
    from mien.evaluate.robustness import measure_robustness

    with stages() as update:
        return measure_robustness(
            scorer, dataset, split, labels,
            progress=lambda done, total: update("corruptions", done, total),
        )  # fmt: skip


def load_scorer(model: Path, labels: Sequence[str] = ()) -> Scorer:
    """Return the model in an ONNX file, a shipped one, or the best network of a run folder.

    Where one of its outputs has just these labels, in any order, that one answers; else its
    first, to be restricted to them.
    """
    refuse_missing(model)
    if model.is_dir():
        with needs("train", "evaluating a run folder"):
            from mien.train.run.folder import load_scorer as load_run
            from mien.train.run.folder import open_run
        recipe = open_run(model).recipe
        extra = recipe.extra_labels
        also = bool(labels) and extra and set(labels) == set(label_set(extra))
        return load_run(model, labels=tuple(labels) if also else ())
    from mien.model.classifier import Classifier

    classifier = Classifier.load(model)
    also = any(set(labels) == set(head.labels) for head in classifier.info.heads)
    return classifier.answering(labels) if also else classifier


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.evaluate.report import NAMES, YARDSTICKS, class_cells, in_words, yardsticks

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
        table.add_row(title, *(in_words(metrics.headlines[key]) for _, metrics in graded))
    print_table(table)
    for name, metrics in graded:
        for text in metrics.warnings:
            console.print(f"warning ({YARDSTICKS[name]}): {text}")
    for name, metrics in graded:
        classes = Table(box=None, pad_edge=False, header_style="bold")
        columns = [f"→ {label}" for label in metrics.labels]
        for column in (YARDSTICKS[name], "n", *columns, "precision", "recall", "F1"):
            classes.add_column(column, justify="left" if column == YARDSTICKS[name] else "right")
        for i, (label, own) in enumerate(zip(metrics.labels, class_cells(metrics), strict=True)):
            counts = [f"{c:,}" for c in metrics.confusion[i]]
            classes.add_row(label, f"{metrics.rows.support_k[i]:,}", *counts, *own)
        console.print()
        print_table(classes)
    _print_confidence(console, graded[0][0], graded[0][1])


def _print_confidence(console: Console, yardstick: str, metrics: Metrics) -> None:
    """Tell what sets and thresholds keep of their promise on the half they were not fitted on."""
    from rich.table import Table

    from mien.evaluate.report import YARDSTICKS

    confidence = metrics.confidence
    if not confidence.sets:
        return
    sets = Table(box=None, pad_edge=False, header_style="bold")
    sets.add_column(f"sets of labels, {YARDSTICKS[yardstick]}")
    for column in ("hold the right one", "of halves", "labels a set", "single",
                   *(f"of {label}" for label in metrics.labels)):  # fmt: skip
        sets.add_column(column, justify="right")
    for one in confidence.sets:
        own = [f"{one.by_label[label]:.1%}" if label in one.by_label else ""
               for label in metrics.labels]  # fmt: skip
        spread = f"{one.got.low:.1%} to {one.got.high:.1%}"
        sets.add_row(f"--coverage {one.asked:g}", f"{one.got.value:.1%}", spread,
                     f"{one.size:.2f}", f"{one.single:.0%}", *own)  # fmt: skip
    console.print()
    print_table(sets)
    if not confidence.abstaining:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("answering only when sure")
    for column in ("answered", "wrong among them", "of halves"):
        table.add_column(column, justify="right")
    for rule in confidence.abstaining:
        table.add_row(
            f"--min-confidence {rule.min_confidence:.3f}", f"{rule.answered:.0%}",
            f"{rule.got.value:.1%}", f"{rule.got.low:.1%} to {rule.got.high:.1%}",
        )  # fmt: skip
    console.print()
    print_table(table)


def _print_robustness(robustness: Robustness) -> None:
    from rich.console import Console
    from rich.table import Table

    from mien.evaluate.corruption import CORRUPTIONS
    from mien.evaluate.report import YARDSTICKS

    about = {corruption.name: corruption.about for corruption in CORRUPTIONS}
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"corruption, {YARDSTICKS[robustness.yardstick]}, n = {robustness.n:,}")
    for column in ("strength", "accuracy", "lost, points", "95% interval"):
        table.add_column(column, justify="right")
    table.add_row("none", "", f"{robustness.clean:.4f}")
    for loss in robustness.losses:
        low, high = 100 * loss.drop.low, 100 * loss.drop.high
        table.add_row(
            f"{loss.corruption} ({about[loss.corruption]})", f"{loss.strength:g}",
            f"{loss.accuracy:.4f}", f"{100 * loss.drop.value:.1f}", f"{low:.1f} to {high:.1f}",
        )  # fmt: skip
    mean = robustness.mean_drop
    left, low, high = robustness.clean - mean.value, 100 * mean.low, 100 * mean.high
    table.add_row(
        "mean of all", "", f"{left:.4f}", f"{100 * mean.value:.1f}", f"{low:.1f} to {high:.1f}"
    )
    console.print()
    print_table(table)
