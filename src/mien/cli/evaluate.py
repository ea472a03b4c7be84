"""`mien evaluate`: a model against a split of a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.evaluate_tables import (
    print_evaluation,
    print_groups,
    print_raters,
    print_robustness,
)
from mien.cli.extras import needs
from mien.cli.options import AnyModel, Json, RunDatasetFolder
from mien.cli.paths import refuse_file
from mien.cli.remote import local_input, local_output
from mien.cli.render import progress_bars
from mien.errors import ConfigError
from mien.labels import label_set
from mien.storage import storage_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.evaluate.evaluate import Evaluation
    from mien.evaluate.predictions import Scorer
    from mien.evaluate.robustness import Robustness

Split = Annotated[
    str, typer.Option("--split", help="Split to evaluate on: train, validation or test.")
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        help="Restrict the model to a label set: seven, or labels such as happy,sad (default: "
        "the model's own labels).",
    ),
]
Image = Annotated[
    Path | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="PNG file for the plots (default: in the run folder, or beside the ONNX file). "
        "Further plots get its name with -confidence, -groups and -corruptions.",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="Also evaluate each group of a column of the dataset, such as age, sex, skin_tone or "
        "subject, 2 to 50 groups; repeat it for further columns.",
    ),
]
Corruptions = Annotated[
    bool,
    typer.Option(
        "--corruptions", help="Also measure the accuracy under blur, noise, rotation and more."
    ),
]
Raters = Annotated[
    bool,
    typer.Option(
        "--raters",
        help="Also measure human raters: the pooled votes of 1 to 5 of them against the majority "
        "of the others. Needs a dataset with votes, such as FERPlus.",
    ),
]


def evaluate(
    model: AnyModel,
    data: RunDatasetFolder = None,
    split: Split = "validation",
    labels: Labels = "",
    as_json: Json = False,
    image: Image = None,
    by: By = None,
    corruptions: Corruptions = False,
    raters: Raters = False,
) -> None:
    """Evaluate a model: accuracy, per-class metrics, calibration, with 95% confidence intervals.

    Ground truth is the raters' consensus where the dataset has votes, and the raw labels beside
    it.
    """
    # Empty stands for all of the model's labels, which are not known before it is loaded.
    chosen = label_set(labels) if labels else ()
    with (
        local_input(model) as here,
        local_input(data) as folder,
        local_output(image) as plots,
    ):
        # Before the model is loaded and the data are scored.
        refuse_file(plots, "--image", [".png"])
        _evaluate(here, folder, split, chosen, by or (), corruptions=corruptions, raters=raters,
                  as_json=as_json, image=plots, beside=storage_address(model) is None)  # fmt: skip


def _evaluate(
    model: Path,
    data: Path | None,
    split: str,
    chosen: tuple[str, ...],
    by: Sequence[str],
    *,
    corruptions: bool,
    raters: bool,
    as_json: bool,
    image: Path | None,
    beside: bool,
) -> None:
    """Evaluate, print, and write the plots; BESIDE allows a place beside the model."""
    with needs("data", "mien evaluate"):
        from mien.data.dataset import load_dataset
        from mien.evaluate.evaluate import evaluate as run_evaluation
    scorer = load_scorer(model, chosen)
    dataset = load_dataset(data or _own_data(model, split))
    evaluation = run_evaluation(scorer, dataset, split, chosen, by=by, raters=raters)
    if split == "test":
        typer.echo("note: this is the test split; do not choose a model by it", err=True)
    robustness = _robustness(scorer, dataset, split, chosen) if corruptions else None
    if as_json:
        more = {} if robustness is None else {"corruptions": robustness.to_dict()}
        typer.echo(json.dumps({**evaluation.to_dict(), **more}, indent=2))
    else:
        print_evaluation(evaluation)
        print_groups(evaluation)
        if robustness is not None:
            print_robustness(robustness)
        if raters:
            print_raters(evaluation)
    # So that a failing plot cannot lose the figures.
    sys.stdout.flush()
    path = image or (_image_path(model, dataset, split) if beside else None)
    if path is None:
        typer.echo("note: no plots were written; --image FILE writes them", err=True)
        return
    _write_plots(path, evaluation, robustness)


def _own_data(model: Path, split: str) -> Path:
    """Return the dataset folder that a run was trained on, and print it."""
    from mien.model.resolve import resolve

    if not resolve(model).is_run:
        raise ConfigError(
            f"{model} does not record which data it was trained on",
            hint="give a dataset folder made by mien data: --data DIR",
        )
    with needs("train", "evaluating a run folder"):
        from mien.train.run.folder import open_run
    data = Path(open_run(model).data)
    if not data.exists():
        raise ConfigError(
            f"{model} was trained on {data}, which is no longer there",
            hint="give the folder's new place: --data DIR",
        )
    typer.echo(f"data: {data}, which the run was trained on; split: {split}", err=True)
    return data


def _image_path(model: Path, dataset: Dataset, split: str) -> Path | None:
    """Return the default place of the plots; None for a shipped model, which has no folder."""
    from mien.model.resolve import resolve

    source = resolve(model)
    # In the run's own folder, where the next evaluation of the run replaces it.
    if source.is_run:
        return model / f"evaluation-{split}.png"
    if source.path is None:
        return None
    return model.with_name(f"{model.stem}-evaluation-{dataset.name}-{split}.png")


def _write_plots(path: Path, evaluation: Evaluation, robustness: Robustness | None) -> None:
    """Write the plots, after the figures are printed: the folder may be read-only."""
    from mien.evaluate.confidence_plots import confidence_image
    from mien.evaluate.plots import image as draw
    from mien.files import write_bytes

    images = {path: draw(evaluation), _beside(path, "confidence"): confidence_image(evaluation)}
    if evaluation.groups:
        from mien.evaluate.subgroup_plots import groups_image

        images[_beside(path, "groups")] = groups_image(evaluation)
    if robustness is not None:
        from mien.evaluate.robustness_plots import robustness_image

        images[_beside(path, "corruptions")] = robustness_image(robustness)
    # Before the first is written, which exists from then on.
    replaced = any(place.exists() for place in images)
    for place, content in images.items():
        write_bytes(place, content)
    title = "images, replacing earlier ones" if replaced else "images"
    typer.echo(f"{title}: {', '.join(map(str, images))}", err=True)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}{path.suffix}")


def _robustness(
    scorer: Scorer, dataset: Dataset, split: str, labels: tuple[str, ...]
) -> Robustness:
    from mien.evaluate.robustness import measure_robustness

    with progress_bars() as update:
        return measure_robustness(
            scorer, dataset, split, labels,
            progress=lambda done, total: update("corruptions", done, total),
        )  # fmt: skip


def load_scorer(model: Path, labels: Sequence[str] = ()) -> Scorer:
    """Return the model in an ONNX file, a shipped one, or the best network of a run folder.

    A model may have several outputs, each with its own labels.

    Args:
        model: ONNX file, run folder, or name of a shipped model.
        labels: the output with exactly these labels, in any order, is chosen; where there is
            none, the first output, to be restricted to them.
    """
    from mien.model.resolve import resolve

    if resolve(model).is_run:
        with needs("train", "evaluating a run folder"):
            from mien.train.run.folder import load_scorer as load_run
            from mien.train.run.folder import open_run
        recipe = open_run(model).recipe
        extra = recipe.extra_labels
        also = bool(labels) and extra and set(labels) == set(label_set(extra))
        return load_run(model, labels=tuple(labels) if also else ())
    from mien.model.classifier import Classifier

    classifier = Classifier.load(model)
    # Other labels than an output's are a choice among the model's own, made in `evaluate`.
    also = any(set(labels) == set(head.labels) for head in classifier.info.heads)
    return classifier.select_labels(labels) if also else classifier
