"""`mien train`: a recipe and a dataset to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.extras import needs
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.train.runfolder import RunFolder


def train(
    recipe: Path | None = typer.Argument(
        None, help="A TOML recipe, or the name of a shipped one: poster, small."
    ),
    data: Path | None = typer.Option(None, "--data", help="A folder made by mien data."),
    set_: list[str] = typer.Option(
        [], "--set", metavar="A.B=C", help="Change one setting of the recipe; repeatable."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="The run's folder; runs/NAME-001 and so on where not given."
    ),
    resume: Path | None = typer.Option(
        None, "--resume", metavar="RUN", help="Go on with an interrupted or killed run."
    ),
) -> None:
    """Train a network from a recipe; Ctrl-C leaves a run that can be used and resumed."""
    with needs("train", "mien train"):
        from mien.data.manifest import load_dataset
        from mien.train.curves import CurvesPicture
        from mien.train.fit import fit
        from mien.train.progress import ProgressView
        from mien.train.tensorboard import TensorBoardLog
    run = _resumed(resume, recipe, set_, out) if resume else _new(recipe, data, set_, out)
    dataset = load_dataset(data or Path(run.data))
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.path} was started on other data (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="resume with the data it was started on, or start a new run",
        )
    state = fit(run, dataset, [ProgressView(), TensorBoardLog(), CurvesPicture()])
    best = state.history[state.best_epoch - 1]
    typer.echo(
        f"{run.path}: best epoch {best.epoch}, validation accuracy "
        f"{best.validation_accuracy:.4f} (n = {best.validation_n})"
    )
    typer.echo(f"next: mien evaluate {run.path} --data {run.data} --split validation", err=True)


def _new(recipe: Path | None, data: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.data.manifest import load_dataset
    from mien.train.config import load_recipe
    from mien.train.networks.registry import network_options
    from mien.train.recipes import find_recipe
    from mien.train.runfolder import create_run, next_run_path

    if recipe is None or data is None:
        raise ConfigError(
            "mien train needs a recipe and --data DIR",
            hint="for example: mien train recipes/small.toml --data datasets/mine",
        )
    resolved = load_recipe(find_recipe(recipe), set_)
    network_options(resolved.network.name, resolved.network.options)
    path = out or next_run_path(Path("runs"), resolved.name)
    return create_run(path, resolved, load_dataset(data), data)


def _resumed(resume: Path, recipe: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.train.runfolder import open_run

    if recipe or set_ or out:
        raise ConfigError(
            "--resume goes on with the run's own recipe and folder",
            hint=f"leave out the recipe, --set and --out: mien train --resume {resume}",
        )
    return open_run(resume)
