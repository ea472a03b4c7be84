"""`mien calibrate`: a model file's sets of labels, fitted on one's own faces."""

from __future__ import annotations

from pathlib import Path

import typer

from mien.cli.extras import needs, refuse_missing
from mien.cli.paths import refuse_file


def calibrate(
    model: Path = typer.Argument(metavar="MODEL", help="An ONNX file, or a shipped model's name."),
    out: Path = typer.Argument(metavar="OUT", help="The ONNX file to write."),
    data: Path = typer.Option(..., "--data", metavar="DIR", help="A folder made by mien data."),
    split: str = typer.Option("validation", "--split", help="Whose labels are fitted to."),
    note: str = typer.Option("", "--note", help="Words on the data for the model card."),
) -> None:
    """Fit the sets of mien predict --coverage to labelled faces, such as those you will read.

    The network and its probabilities stay as they are.
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
    for one in metrics.confidence.prediction_sets:
        typer.echo(
            f"--coverage {one.coverage:g}: fitted on one half, {one.observed.value:.1%} of sets "
            f"hold the true label on the other; {one.mean_size:.2f} labels per set"
        )
    fitted = info.coverage
    typer.echo(
        f"{out}: fitted to the {GROUND_TRUTHS[by]} of {fitted['n']:,} faces of "
        f"{fitted['data']}; card: {out.with_suffix('.md')}"
    )
