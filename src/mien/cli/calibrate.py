"""`mien calibrate`: a model's class prior and prediction sets, for one's own faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.options import ModelNote, NewOnnxFile, OnnxModel
from mien.cli.paths import refuse_file
from mien.cli.render import Column, make_table, print_table, progress_bars, right_aligned
from mien.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.evaluate.evaluate import Evaluation
    from mien.model.classifier import Classifier
    from mien.model.info import ModelInfo
    from mien.predict.prior import Prior

ESTIMATE = "estimate"
BATCH = 256
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Dataset folder made by mien data, with labelled faces; needed unless --prior is "
        "given.",
    ),
]
Split = Annotated[
    str, typer.Option("--split", help="Split to calibrate on: train, validation or test.")
]
OutputPrior = Annotated[
    str,
    typer.Option(
        "--prior",
        help="Class prior that the new model's probabilities have: uniform, training, "
        "happy=0.2,neutral=0.5,sad=0.3, or estimate, from the faces of --faces or else of --data "
        "without their labels (default: the model's own).",
    ),
]
Unlabelled = Annotated[
    list[Path],
    typer.Option(
        "--faces",
        metavar="PATH",
        help="Image or folder with unlabelled faces for --prior estimate; repeatable.",
    ),
]


def calibrate(
    model: OnnxModel,
    out: NewOnnxFile,
    data: Data = None,
    split: Split = "validation",
    note: ModelNote = "",
    prior: OutputPrior = "",
    faces: Unlabelled = [],
) -> None:
    """Adapt a model to one's own faces: its class prior, and its prediction sets.

    Prediction sets (mien predict --coverage) are calibrated on labelled faces like those the model
    will see. The class prior needs no labels. The network's weights stay as they are.
    """
    refuse_missing(model)
    # All mistakes of the command line before a model is loaded.
    refuse_file(out, "OUT", [".onnx"])
    # Nothing would be changed.
    if data is None and not prior:
        raise ConfigError(
            "mien calibrate needs --data DIR, --prior, or both",
            hint="for example --data datasets/mine, or --prior estimate --faces photos/",
        )
    if faces and prior != ESTIMATE:
        raise ConfigError("--faces needs --prior estimate", hint="add it, or leave --faces out")
    with needs("train", "mien calibrate"):
        from mien.model.classifier import Classifier
        from mien.model.resolve import model_content
        from mien.publish.prior import with_output_prior
        from mien.publish.rewrite import write_model, write_without_metrics
    content, name = model_content(model)
    classifier = Classifier.from_bytes(content, name=name)
    if prior:
        target = _target(prior, classifier, faces, data, split)
        # The prior first: prediction sets are calibrated to the probabilities that it gives.
        content, info = with_output_prior(content, classifier.info, target)
        classifier = Classifier.from_bytes(content, name=name)
        _print_prior(info)
    if data is None:
        # The old metrics were measured with the old prior.
        write_without_metrics(classifier.info, content, out)
        typer.echo(f"{out}: without metrics and prediction sets; --data DIR adds them")
        return
    from mien.data.dataset import load_dataset

    info, evaluation = write_model(classifier, content, out, load_dataset(data), split, note)
    _print_sets(info, evaluation, out)


def _target(
    prior: str, classifier: Classifier, faces: list[Path], data: Path | None, split: str
) -> Prior:
    """Return the prior that the option names or that the faces have."""
    from mien.predict.prior import MIN_FACES, parse_prior
    from mien.publish.prior import estimate_output_prior

    if prior != ESTIMATE:
        given = parse_prior(prior)
        assert given is not None  # noqa: S101  (the text is not empty)
        return given
    probabilities = _probabilities(classifier, faces, data, split)
    n = len(probabilities)
    if n < MIN_FACES:
        typer.echo(
            f"warning: {n} faces are few: the new prior is {n / MIN_FACES:.0%} the estimate and "
            f"{1 - n / MIN_FACES:.0%} the training prior ({MIN_FACES} faces or more: the estimate "
            "alone)",
            err=True,
        )
    typer.echo(f"prior estimated from {n:,} faces, without their labels")
    return estimate_output_prior(probabilities, classifier.info)


def _probabilities(
    classifier: Classifier, faces: list[Path], data: Path | None, split: str
) -> NDArray[np.float32]:
    """Return the model's probabilities of the unlabelled faces, float32 [n, k]."""
    import numpy as np

    from mien.model.classifier import softmax

    if not faces:
        if data is None:
            raise ConfigError(
                "--prior estimate needs faces", hint="--faces photos/, or --data datasets/mine"
            )
        from mien.data.dataset import load_dataset

        images = load_dataset(data).split(split).images_nhw
        parts = [classifier.logits(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return softmax(np.concatenate(parts))
    from mien.reader import Reader

    found: list[list[float]] = []
    with progress_bars() as progress:
        for n, reading in enumerate(Reader(classifier).read_many(faces), start=1):
            # How many images the folders hold is not known before they are walked.
            progress("reading", n, n)
            if reading.error:
                typer.echo(f"warning: {reading.error}", err=True)
            found += [list(face.probabilities.values()) for face in reading.faces]
    if not found:
        raise DataError("no face was found in --faces", hint="give images that show faces")
    return np.array(found, np.float32)


def _print_prior(info: ModelInfo) -> None:
    before, after = info.training_prior or {}, info.prior or info.training_prior or {}
    columns = [Column("class prior"), *right_aligned(*info.labels)]
    rows = [
        ["training data", *(f"{before[label]:.3f}" for label in info.labels)],
        ["new model", *(f"{after[label]:.3f}" for label in info.labels)],
    ]
    print_table(make_table(columns, rows))


def _print_sets(info: ModelInfo, evaluation: Evaluation, out: Path) -> None:
    from mien.evaluate.report import GROUND_TRUTHS, by_ground_truth

    by, metrics = next(by_ground_truth(evaluation))
    columns = [Column("prediction sets"), *right_aligned("true label in set", "labels per set")]
    rows = [
        [f"--coverage {one.coverage:g}", f"{one.observed.value:.1%}", f"{one.mean_size:.2f}"]
        for one in metrics.confidence.prediction_sets
    ]
    print_table(make_table(columns, rows))
    typer.echo("These sets were calibrated on one half of the faces and measured on the other.")
    fitted = info.coverage
    typer.echo(
        f"{out}: calibrated to the {GROUND_TRUTHS[by]} of {fitted['n']:,} faces of "
        f"{fitted['data']}; card: {out.with_suffix('.md')}"
    )
