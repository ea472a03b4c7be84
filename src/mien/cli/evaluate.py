"""`mien evaluate`: a model against a split of a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.evaluate_tables import print_evaluation, print_raters, print_robustness
from mien.cli.extras import needs, refuse_missing
from mien.cli.paths import refuse_file
from mien.errors import ConfigError
from mien.labels import label_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.evaluate.predictions import Scorer
    from mien.evaluate.raters import RaterAgreement
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
    raters: bool = typer.Option(
        False,
        "--raters",
        help="Also measure human raters: the pooled votes of 1 to 5 of them against the majority "
        "of the others. Needs a dataset with votes, such as FERPlus.",
    ),
) -> None:
    """Evaluate a model against the rater consensus, where there are votes, and the raw labels."""
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
    agreement = _raters(scorer, dataset, split, evaluation.labels) if raters else ()
    if as_json:
        more: dict[str, object] = {}
        if robustness is not None:
            more["corruptions"] = robustness.to_dict()
        if raters:
            more["raters"] = [one.to_dict() for one in agreement]
        typer.echo(json.dumps({**evaluation.to_dict(), **more}, indent=2))
    else:
        print_evaluation(evaluation)
        if raters:
            print_raters(evaluation, agreement)
        if robustness is not None:
            print_robustness(robustness)
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


def _raters(
    scorer: Scorer, dataset: Dataset, split: str, labels: tuple[str, ...]
) -> tuple[RaterAgreement, ...]:
    from mien.cli.progress import stages
    from mien.evaluate.predictions import predict_table
    from mien.evaluate.raters import rater_agreement

    chosen = dataset.split(split)
    with stages() as update:
        return rater_agreement(
            chosen, labels, y_pred_n=predict_table(scorer, chosen, labels).logits_nk.argmax(axis=1),
            progress=lambda done, total: update("raters", done, total),
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
        also = bool(labels) and recipe.also and set(labels) == set(label_set(recipe.also))
        return load_run(model, labels=tuple(labels) if also else ())
    from mien.model.classifier import Classifier

    classifier = Classifier.load(model)
    also = any(set(labels) == set(head.labels) for head in classifier.info.heads)
    return classifier.answering(labels) if also else classifier
