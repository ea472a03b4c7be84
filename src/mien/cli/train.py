"""`mien train`: a recipe and a dataset to a run folder."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.doctor import print_findings
from mien.cli.extras import needs
from mien.errors import ConfigError, DataError, ModelFileError, RunFolderError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.train.loop.find_lr import RangeTest
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder


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
    settings: bool = typer.Option(
        False, "--settings", help="Print every setting with its range and default, and stop."
    ),
    epochs: str = typer.Option("", "--epochs", hidden=True),
    lr: str = typer.Option("", "--lr", "--learning-rate", hidden=True),
    batch_size: str = typer.Option("", "--batch-size", hidden=True),
    seed: str = typer.Option("", "--seed", hidden=True),
) -> None:
    """Train a network from a recipe; Ctrl-C leaves a run that can be used and resumed."""
    _refuse_bare({"fit.epochs": epochs, "optimizer.lr": lr, "fit.batch_size": batch_size,
                  "fit.seed": seed})  # fmt: skip
    with needs("train", "mien train"):
        from mien.data.dataset import load_dataset
        from mien.doctor.run_diagnostics import visit
        from mien.train.loop.curves import CurvesPlot
        from mien.train.loop.fit import fit
        from mien.train.loop.progress import ProgressView
        from mien.train.loop.tensorboard import TensorBoardLog
        from mien.train.run.folder import discard_run
    if settings:
        _print_settings()
        return
    if find_lr:
        _find_lr(recipe, data, set_, out)
        return
    run = _resumed(resume, recipe, set_, out) if resume else _new(recipe, data, set_, out)
    folder = data or Path(run.data)
    dataset = load_dataset(folder)
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.path} was started on other data than {folder} (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="resume with the data it was started on, or start a new run",
        )
    new = resume is None
    _say_if_over(run, new=new)
    try:
        state = fit(run, dataset, [ProgressView(), TensorBoardLog(), CurvesPlot()],
                    _told_alignment())  # fmt: skip
    except TrainingError:
        print_findings(run, visit(run, dataset), err=True)
        raise
    except (ConfigError, DataError, ModelFileError, RunFolderError):
        if new:
            discard_run(run)  # else it would stand in the way of the mended command
        raise
    except KeyboardInterrupt:
        typer.echo(f"resume: {_resume_command(run, data)}", err=True)
        raise
    best = state.history[state.best_epoch - 1]
    typer.echo(
        f"{run.path}: best epoch {best.epoch}, validation accuracy "
        f"{best.validation_accuracy:.4f} (n = {best.validation_n})"
    )
    print_findings(run, visit(run, dataset))
    command = ["mien", "evaluate", str(run.path), "--data", str(folder), "--split", "validation"]
    typer.echo(f"next: {shlex.join(command)}", err=True)


def _refuse_bare(given: dict[str, str]) -> None:
    """Answer an option that other tools have and mien spells --set: --epochs 2."""
    for key, value in given.items():
        if value:
            option = key.rpartition(".")[2].replace("_", "-")
            raise ConfigError(
                f"mien train has no option --{option}",
                hint=f"did you mean --set {key}={shlex.quote(value)}? settings are listed by "
                "mien train --settings",
            )


def _print_settings() -> None:
    from mien.train.recipe.reference import settings_reference

    typer.echo(settings_reference(), nl=False)


def _say_if_over(run: RunFolder, *, new: bool) -> None:
    """Say that a run to be resumed has ended already: nothing is trained then."""
    status = run.read_status()
    if not new and status.get("status") in ("finished", "stopped early"):
        typer.echo(
            f"{run.path} was {status['status']} already, after epoch {status.get('epoch')} of "
            f"{run.recipe.fit.epochs}: nothing is left to train",
            err=True,
        )


def _resume_command(run: RunFolder, data: Path | None) -> str:
    moved = data is not None and data.resolve() != Path(run.data)
    command = ["mien", "train", "--resume", str(run.path)]
    return shlex.join([*command, *(["--data", str(data)] if moved else [])])


def _resolved(recipe: Path | None, data: Path | None, set_: list[str]) -> tuple[Recipe, Path]:
    from mien.train.networks.registry import network_options
    from mien.train.recipe.find import find_recipe
    from mien.train.recipe.recipe import load_recipe

    if recipe is None or data is None:
        raise ConfigError(
            "mien train needs a recipe and --data DIR",
            hint="for example: mien train finetune --data datasets/mine",
        )
    resolved = load_recipe(find_recipe(recipe), set_)
    network_options(resolved.network.name, resolved.network.options)
    return resolved, data


def _new(recipe: Path | None, data: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.data.dataset import load_dataset
    from mien.train.loop.find_lr import with_found_rate
    from mien.train.run.folder import create_run, next_run_path, refuse_existing

    given, folder = _resolved(recipe, data, set_)
    resolved = given
    path = out or next_run_path(Path("runs"), resolved.name)
    refuse_existing(path)
    dataset = load_dataset(folder)
    dataset.split("validation")  # fails here, not after a learning-rate test of minutes
    resolved, test = with_found_rate(resolved, dataset, _test_progress())
    run = create_run(path, resolved, dataset, folder)
    if given.labels == "auto":
        by = "raters' votes" if run.recipe.targets.kind == "votes" else "labels"
        typer.echo(f"learns by {by}: {', '.join(run.recipe.answer_labels)}", err=True)
    if run.recipe.fit.batch_size != given.fit.batch_size:
        typer.echo(f"few images: batches of {run.recipe.fit.batch_size}", err=True)
    if test is not None:
        _write_test(test, run.path)
    return run


def _find_lr(recipe: Path | None, data: Path | None, set_: list[str], out: Path | None) -> None:
    from mien.data.dataset import load_dataset
    from mien.train.loop.find_lr import IMAGE, JSON, find_lr
    from mien.train.run.folder import next_run_path

    resolved, folder = _resolved(recipe, data, set_)
    place = out or next_run_path(Path("runs"), f"{resolved.name}-find-lr")
    there = [place / name for name in (JSON, IMAGE) if (place / name).exists()]
    if there:
        raise RunFolderError(
            f"{there[0]} exists already", hint="give another folder, or leave out --out"
        )
    test = find_lr(resolved, load_dataset(folder), _test_progress())
    _write_test(test, place)
    typer.echo(
        f"suggestion: --set optimizer.lr={test.suggestion:g} (the loss was least at "
        f"{test.least:g}, and grows above it)"
    )


def _write_test(test: RangeTest, folder: Path) -> None:
    from mien.train.loop.find_lr import write_range_test

    image = write_range_test(test, folder)
    typer.echo(f"learning rate {test.suggestion:g}: {image}", err=True)


def _test_progress() -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done == 1 or done % 40 == 0:
            typer.echo(f"learning-rate range test: step {done} of {total}", err=True)

    return show


def _told_alignment() -> Callable[[int, int], None]:
    """Return what tells how far `network.align` has learnt, and how long it will take."""
    from mien.train.loop.progress import duration

    started: list[float] = []

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if not started:
            started.append(now)
        if done in (20, 100) or done % 500 == 0:  # the first steps are slower: not counted
            left = (now - started[0]) / (done - 1) * (total - done)
            typer.echo(
                f"learning where faces lie: step {done} of {total}, time left {duration(left)}",
                err=True,
            )

    return show


def _resumed(resume: Path, recipe: Path | None, set_: list[str], out: Path | None) -> RunFolder:
    from mien.train.run.folder import open_run

    if recipe or set_ or out:
        raise ConfigError(
            "--resume goes on with the run's own recipe and folder",
            hint="leave out the recipe, --set and --out: mien train --resume "
            f"{shlex.quote(str(resume))}",
        )
    return open_run(resume)
