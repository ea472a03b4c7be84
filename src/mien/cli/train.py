"""`mien train`: a recipe and a dataset to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.doctor import print_findings
from mien.cli.extras import needs
from mien.errors import ConfigError, DataError, ModelFileError, RunFolderError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.train.config import Recipe
    from mien.train.find_lr import RangeTest
    from mien.train.runfolder import RunFolder


def train(
    recipe: Path | None = typer.Argument(
        None,
        metavar="RECIPE",
        help="A TOML recipe, or the name of a shipped one: poster, small, tiny...",
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
    find_lr: bool = typer.Option(
        False, "--find-lr", help="Only test which learning rate suits the recipe; train nothing."
    ),
) -> None:
    """Train a network from a recipe; Ctrl-C leaves a run that can be used and resumed."""
    with needs("train", "mien train"):
        from mien.data.manifest import load_dataset
        from mien.train.curves import CurvesPicture
        from mien.train.doctor.visit import visit
        from mien.train.fit import fit
        from mien.train.progress import ProgressView
        from mien.train.runfolder import discard_run
        from mien.train.tensorboard import TensorBoardLog
    if find_lr:
        _find_lr(recipe, data, set_, out)
        return
    run = _resumed(resume, recipe, set_, out) if resume else _new(recipe, data, set_, out)
    dataset = load_dataset(data or Path(run.data))
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.path} was started on other data (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="resume with the data it was started on, or start a new run",
        )
    new = resume is None
    try:
        state = fit(run, dataset, [ProgressView(), TensorBoardLog(), CurvesPicture()], _aligning)
    except TrainingError:
        print_findings(run, visit(run, dataset), err=True)
        raise
    except (ConfigError, DataError, ModelFileError, RunFolderError):
        if new:
            discard_run(run)  # else it would stand in the way of the mended command
        raise
    except KeyboardInterrupt:
        typer.echo(f"go on: mien train --resume {run.path}", err=True)
        raise
    best = state.history[state.best_epoch - 1]
    typer.echo(
        f"{run.path}: best epoch {best.epoch}, validation accuracy "
        f"{best.validation_accuracy:.4f} (n = {best.validation_n})"
    )
    print_findings(run, visit(run, dataset))
    typer.echo(f"next: mien evaluate {run.path} --data {run.data} --split validation", err=True)


def _resolved(recipe: Path | None, data: Path | None, set_: list[str]) -> tuple[Recipe, Path]:
    from mien.train.config import load_recipe
    from mien.train.networks.registry import network_options
    from mien.train.recipes import find_recipe

    if recipe is None or data is None:
        raise ConfigError(
            "mien train needs a recipe and --data DIR",
            hint="for example: mien train recipes/small.toml --data datasets/mine",
        )
    resolved = load_recipe(find_recipe(recipe), set_)
    network_options(resolved.network.name, resolved.network.options)
    return resolved, data


def _new(recipe: Path | None, data: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.data.manifest import load_dataset
    from mien.train.find_lr import with_found_rate
    from mien.train.runfolder import create_run, next_run_path, refuse_existing

    resolved, folder = _resolved(recipe, data, set_)
    path = out or next_run_path(Path("runs"), resolved.name)
    refuse_existing(path)
    dataset = load_dataset(folder)
    resolved, test = with_found_rate(resolved, dataset, _test_progress())
    run = create_run(path, resolved, dataset, folder)
    if test is not None:
        _write_test(test, run.path)
    return run


def _find_lr(recipe: Path | None, data: Path | None, set_: list[str], out: Path | None) -> None:
    from mien.data.manifest import load_dataset
    from mien.train.find_lr import find_lr

    resolved, folder = _resolved(recipe, data, set_)
    test = find_lr(resolved, load_dataset(folder), _test_progress())
    _write_test(test, out or Path())
    typer.echo(
        f"suggestion: --set optimizer.lr={test.suggestion:g} (the loss was least at "
        f"{test.least:g}, and grows above it)"
    )


def _write_test(test: RangeTest, folder: Path) -> None:
    from mien.train.find_lr import write_range_test

    picture = write_range_test(test, folder)
    typer.echo(f"learning rate {test.suggestion:g}: {picture}", err=True)


def _test_progress() -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done == 1 or done % 40 == 0:
            typer.echo(f"learning-rate range test: step {done} of {total}", err=True)

    return show


def _aligning(done: int, total: int) -> None:
    if done == 1 or done % 500 == 0:
        typer.echo(f"learning where faces lie: step {done} of {total}", err=True)


def _resumed(resume: Path, recipe: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.train.runfolder import open_run

    if recipe or set_ or out:
        raise ConfigError(
            "--resume goes on with the run's own recipe and folder",
            hint=f"leave out the recipe, --set and --out: mien train --resume {resume}",
        )
    return open_run(resume)
