"""`mien calibrate`: a model's conformal prediction sets, calibrated on one's own faces."""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.options import DatasetFolder, ModelNote, NewOnnxFile, OnnxModel
from mien.cli.paths import refuse_file
from mien.cli.render import Column, make_table, print_table, right_aligned

Split = Annotated[
    str, typer.Option("--split", help="Split to calibrate on: train, validation or test.")
]


def calibrate(
    model: OnnxModel,
    out: NewOnnxFile,
    data: DatasetFolder,
    split: Split = "validation",
    note: ModelNote = "",
) -> None:
    """Calibrate the prediction sets of mien predict --coverage on labelled faces.

    Use faces like those the model will see. The network and its probabilities stay as they are.
    """
    refuse_missing(model)
    refuse_file(out, "OUT", [".onnx"])
    with needs("train", "mien calibrate"):
        from mien.data.dataset import load_dataset
        from mien.evaluate.report import GROUND_TRUTHS, by_ground_truth
        from mien.model.classifier import Classifier
        from mien.model.resolve import model_content
        from mien.publish.rewrite import write_model
    content, name = model_content(model)
    classifier = Classifier.from_bytes(content, name=name)
    info, evaluation = write_model(classifier, content, out, load_dataset(data), split, note)
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
