"""`mien train`: a recipe and a dataset to a run folder. Read `train` first, then `_train_run`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.doctor import print_findings
from mien.cli.extras import needs
from mien.cli.options import Override
from mien.cli.render import step_lines
from mien.errors import ConfigError, DataError, ModelFileError, RunFolderError, TrainingError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.train.loop.distributed import ProcessGroup
    from mien.train.loop.find_lr import RangeTest
    from mien.train.loop.state import TrainingState
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder

RecipeName = Annotated[
    Path | None,
    typer.Argument(
        metavar="RECIPE",
        help="TOML file, or name of a shipped recipe: finetune, small, tiny, poster...",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Dataset folder made by mien data, needed for a new run (default with --resume: the "
        "run's own).",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Run folder to create (default: runs/RECIPE-001)."),
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Resume an interrupted run from its checkpoint."),
]
FindLr = Annotated[
    bool,
    typer.Option("--find-lr", help="Run a learning-rate range test only; train nothing."),
]
Settings = Annotated[
    bool,
    typer.Option(
        "--settings", help="Print every recipe setting with its range and default, and exit."
    ),
]
# Options of other tools, accepted so that the error can name mien's own spelling.
ForeignEpochs = Annotated[str, typer.Option("--epochs", hidden=True)]
ForeignLr = Annotated[str, typer.Option("--lr", "--learning-rate", hidden=True)]
ForeignBatchSize = Annotated[str, typer.Option("--batch-size", hidden=True)]
ForeignSeed = Annotated[str, typer.Option("--seed", hidden=True)]


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for: a new run of a recipe, or an existing run to resume."""

    recipe: Path | None
    data: Path | None
    overrides: list[str]
    out: Path | None
    resume: Path | None


def train(
    recipe: RecipeName = None,
    data: Data = None,
    set_: Override = [],
    out: Out = None,
    resume: Resume = None,
    find_lr: FindLr = False,
    settings: Settings = False,
    epochs: ForeignEpochs = "",
    lr: ForeignLr = "",
    batch_size: ForeignBatchSize = "",
    seed: ForeignSeed = "",
) -> None:
    """Train a network from a recipe; after Ctrl-C the run can be used and resumed.

    The run folder holds the recipe, a checkpoint after each epoch, metrics and plots. At the end
    mien doctor lists problems of the training, with evidence and a remedy. Several processes split
    each batch: torchrun --nproc-per-node 2 -m mien train RECIPE --data DIR.
    """
    _refuse_foreign({"fit.epochs": epochs, "optimizer.lr": lr, "fit.batch_size": batch_size,
                     "fit.seed": seed})  # fmt: skip
    request = Request(recipe, data, set_, out, resume)
    with needs("train", "mien train"):  # fail now, not after a minute
        import mien.doctor.run_diagnostics
        import mien.train.loop.tensorboard  # noqa: F401
    if settings:
        from mien.train.recipe.reference import settings_reference

        typer.echo(settings_reference(), nl=False)
    elif find_lr:
        _find_learning_rate(request)
    else:
        _train_run(request)


def _train_run(request: Request) -> None:
    """Create or open the run folder, train in it, and print the result and the diagnosis."""
    from mien.train.loop.distributed import process_group
    from mien.train.loop.initial_state import choose_device
    from mien.train.run.folder import open_run

    resumed = request.resume
    recipe = _load_recipe(request)[0] if resumed is None else open_run(resumed).recipe
    with process_group(choose_device(recipe.fit.device)) as group:
        _train_in_group(request, group)


def _train_in_group(request: Request, group: ProcessGroup) -> None:
    """Train as one of the group's processes; all but rank 0 end with the training."""
    from mien.data.dataset import load_dataset
    from mien.doctor.run_diagnostics import run_diagnostics

    run = _open_run(request, request.resume) if request.resume else _new_run(request, group)
    folder = request.data or Path(run.data)
    dataset = load_dataset(folder)
    # Epochs on other data would be one history of two trainings.
    if dataset.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.path} was started on other data than {folder} (fingerprint {run.fingerprint}, "
            f"now {dataset.fingerprint})",
            hint="resume with the data it was started on, or start a new run",
        )
    state = _fit(run, dataset, request, group)
    if not group.is_main:
        return
    best = state.history[state.best_epoch - 1]
    typer.echo(
        f"{run.path}: best epoch {best.epoch}, validation accuracy "
        f"{best.validation_accuracy:.4f} (n = {best.validation_n})"
    )
    # After the result: the accuracy is what most people look for first.
    print_findings(run, run_diagnostics(run, dataset))
    command = ["mien", "evaluate", str(run.path), "--data", str(folder), "--split", "validation"]
    typer.echo(f"next: {shlex.join(command)}", err=True)


def _new_run(request: Request, group: ProcessGroup) -> RunFolder:
    """Create the run folder in rank 0 and open it in every process."""
    from mien.train.run.folder import open_run

    path = str(_create_run(request, group.size).path) if group.is_main else ""
    return open_run(Path(group.from_main(path)))


def _fit(run: RunFolder, dataset: Dataset, request: Request, group: ProcessGroup) -> TrainingState:
    """Train; on failure print the diagnosis, and remove a new run that holds no epoch."""
    from mien.doctor.run_diagnostics import run_diagnostics
    from mien.train.loop.curves import CurvesPlot
    from mien.train.loop.fit import fit
    from mien.train.loop.progress import ProgressView
    from mien.train.loop.tensorboard import TensorBoardLog
    from mien.train.run.folder import discard_run

    progress = step_lines("training the face alignment", every=500)
    try:
        views = [ProgressView(), TensorBoardLog(), CurvesPlot()]
        return fit(run, dataset, views, progress, group)
    except TrainingError:
        print_findings(run, run_diagnostics(run, dataset), err=True)
        raise
    except (ConfigError, DataError, ModelFileError, RunFolderError):
        if request.resume is None and group.is_main:
            discard_run(run)  # the corrected command would find its folder taken
        raise
    except KeyboardInterrupt:
        typer.echo(f"resume: {_resume_command(run, request.data)}", err=True)
        raise


def _create_run(request: Request, processes: int) -> RunFolder:
    from mien.data.dataset import load_dataset
    from mien.train.loop.find_lr import with_found_lr
    from mien.train.run.folder import create_run, next_run_path, refuse_existing

    given, folder = _load_recipe(request)
    path = request.out or next_run_path(Path("runs"), given.name)
    # Before the data are read, which may take a minute.
    refuse_existing(path)
    dataset = load_dataset(folder)
    dataset.split("validation")  # fails here, not after a range test of minutes
    progress = step_lines("learning-rate range test", every=40)
    resolved, test = with_found_lr(given, dataset, progress)
    run = create_run(path, resolved, dataset, folder, processes)
    # What 'auto' stood for depends on the data, so it is printed.
    if given.labels == "auto":
        targets = "rater votes" if run.recipe.targets.kind == "votes" else "labels"
        typer.echo(f"targets: {targets}; {', '.join(run.recipe.predicted_labels)}", err=True)
    # The recipe asked for another size; a silent change would puzzle whoever compares runs.
    if run.recipe.fit.batch_size != given.fit.batch_size:
        typer.echo(
            f"note: batch size reduced from {given.fit.batch_size} to {run.recipe.fit.batch_size}, "
            "the dataset is small",
            err=True,
        )
    if test is not None:
        _write_range_test(test, run.path)
    return run


def _open_run(request: Request, path: Path) -> RunFolder:
    from mien.train.run.folder import open_run

    # A resumed run must be the same training: other settings would make it another one.
    if request.recipe or request.overrides or request.out:
        raise ConfigError(
            "--resume uses the run's own recipe and folder: RECIPE, --set and --out do not apply",
            hint=f"leave them out: mien train --resume {shlex.quote(str(path))}",
        )
    run = open_run(path)
    status = run.read_status()
    if status.get("status") in ("finished", "stopped early"):
        typer.echo(
            f"note: {run.path} was {status['status']} already, after epoch {status.get('epoch')} "
            f"of {run.recipe.fit.epochs}: nothing is left to train",
            err=True,
        )
    return run


def _resume_command(run: RunFolder, data: Path | None) -> str:
    # Repeated in the command only where it differs from what the run itself knows.
    moved = data is not None and data.resolve() != Path(run.data)
    command = ["mien", "train", "--resume", str(run.path)]
    return shlex.join([*command, *(["--data", str(data)] if moved else [])])


def _load_recipe(request: Request) -> tuple[Recipe, Path]:
    """Return the recipe with its overrides, checked before the data are read, and the data."""
    from mien.train.networks.registry import network_options
    from mien.train.recipe.find import find_recipe
    from mien.train.recipe.recipe import load_recipe

    if request.recipe is None or request.data is None:
        raise ConfigError(
            "mien train needs a recipe and --data DIR",
            hint="for example: mien train finetune --data datasets/mine",
        )
    recipe = load_recipe(find_recipe(request.recipe), request.overrides)
    # Checked here too: reading the data may take a minute.
    network_options(recipe.network.name, recipe.network.options)
    return recipe, request.data


def _find_learning_rate(request: Request) -> None:
    from mien.data.dataset import load_dataset
    from mien.train.loop.find_lr import IMAGE, JSON, find_lr
    from mien.train.run.folder import next_run_path

    recipe, data = _load_recipe(request)
    folder = request.out or next_run_path(Path("runs"), f"{recipe.name}-find-lr")
    # Before the test, which takes minutes, and whose files are not to be overwritten.
    existing = [folder / name for name in (JSON, IMAGE) if (folder / name).exists()]
    if existing:
        raise RunFolderError(
            f"{existing[0]} exists already", hint="give another folder, or leave out --out"
        )
    progress = step_lines("learning-rate range test", every=40)
    test = find_lr(recipe, load_dataset(data), progress)
    _write_range_test(test, folder)
    typer.echo(
        f"suggestion: --set optimizer.lr={test.suggestion:g} (lowest loss at {test.min_loss_lr:g}; "
        "above it the loss grows)"
    )


def _write_range_test(test: RangeTest, folder: Path) -> None:
    from mien.train.loop.find_lr import write_range_test

    image = write_range_test(test, folder)
    typer.echo(f"learning rate {test.suggestion:g}: {image}", err=True)


def _refuse_foreign(given: dict[str, str]) -> None:
    """Refuse options of other tools, such as --epochs 2, and name the setting to use instead."""
    for key, value in given.items():
        if value:
            option = key.rpartition(".")[2].replace("_", "-")
            raise ConfigError(
                f"mien train has no option --{option}",
                hint=f"did you mean --set {key}={shlex.quote(value)}? mien train --settings lists "
                "all settings",
            )
