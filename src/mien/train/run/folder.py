"""The run folder: all files of one training, and how to load them.

config.json        the resolved recipe, the data and its fingerprint, versions, the command
metrics.jsonl      one line per finished epoch
signals.jsonl      one line per finished epoch: gradients, steps and activations, for the doctor
status.json        running, finished, stopped early, interrupted or failed, and why
checkpoints/       last.json and best.json, each naming its .safetensors file
curves.png         loss, accuracy and learning rate over the epochs
tensorboard/       the metrics for TensorBoard
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from mien import __version__
from mien.errors import ConfigError, RunFolderError
from mien.files import JsonKind, read_json, read_schema_json, write_json, write_text
from mien.train.loop.signals import EpochSignals
from mien.train.networks.ensemble import Ensemble
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import Model, build_model, network_options
from mien.train.recipe.adapt import adapted
from mien.train.recipe.recipe import Recipe, recipe_from_dict
from mien.train.recipe.schema import SCHEMA_VERSION, upgraded
from mien.train.run.checkpoint import load_checkpoint
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

T = TypeVar("T")
M_co = TypeVar("M_co", bound=nn.Module, covariant=True)

SCORING_BATCH = 256
CONFIG_JSON = JsonKind(
    noun="run folder",
    newest=SCHEMA_VERSION,
    required=("recipe", "data", "fingerprint", "input_size"),
    error=RunFolderError,
    if_missing="give the folder that mien train wrote",
    if_damaged="start a new run; its checkpoints are unharmed",
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a training and the settings it was started with.

    Attributes:
        path: the folder.
        recipe: all settings of the training.
        data: folder of the dataset.
        fingerprint: of the dataset's content.
        input_size: side of the crops, pixels.
    """

    path: Path
    recipe: Recipe
    data: str
    fingerprint: str
    input_size: int

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether a finished epoch was saved."""
        return (self.checkpoints / "last.json").exists()

    def started_here(self) -> bool:
        """Whether the run was started on this CPU by one process with this torch and threads."""
        config = read_json(self.path / "config.json")
        machine = config.get("machine", {})
        # Sums of floats, and so all weights, depend on the CPU, torch and the threads.
        threads = self.recipe.fit.threads or torch.get_num_threads()
        return (
            config.get("versions", {}).get("torch") == torch.__version__
            and machine.get("processor") == platform.processor()
            and (self.recipe.fit.threads or machine.get("threads")) == threads
            # Several processes add their gradients up in another order.
            and machine.get("processes", 1) == 1
        )

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write metrics.jsonl, one line per epoch."""
        # NaN is no JSON; an epoch with a loss of NaN has failed and is not in the list.
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        write_text(self.path / "metrics.jsonl", "".join(lines))

    def read_metrics(self) -> list[EpochMetrics]:
        """Return the metrics of the finished epochs; may be empty."""
        return self._lines("metrics.jsonl", lambda row: EpochMetrics(**row))

    def _lines(self, name: str, build: Callable[[dict[str, Any]], T]) -> list[T]:
        path = self.path / name
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            return [build(json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{path} is damaged: {error}",
                hint=f"the next epoch writes it again: {resume_command(self.path)}",
            ) from error

    def read_status(self) -> dict[str, Any]:
        """Return status.json: 'status', 'time', 'epoch', ...; empty where there is none."""
        path = self.path / "status.json"
        if not path.exists():
            return {}
        status = read_json(path)
        # Only a display: a damaged status must not keep a run from being used.
        return status if isinstance(status, dict) else {}

    def write_signals(self, epochs: Sequence[EpochSignals]) -> None:
        """Write signals.jsonl, one line per epoch."""
        lines = [json.dumps(e.to_dict(), allow_nan=False) + "\n" for e in epochs]
        write_text(self.path / "signals.jsonl", "".join(lines))

    def read_signals(self) -> list[EpochSignals]:
        """Return the signals of each epoch, including one that failed; may be empty."""
        return self._lines("signals.jsonl", EpochSignals.from_dict)

    def write_status(self, status: str, **details: Any) -> None:
        """Write status.json."""
        write_json(self.path / "status.json", {"status": status, "time": _now(), **details})


def create_run(
    path: Path, recipe: Recipe, dataset: Dataset, data: Path, processes: int = 1
) -> RunFolder:
    """Create a run folder at `path`, with the recipe adapted to the data (see `adapted`).

    The saved recipe is complete: it names every option of the network, so that the run does not
    change if a default does.

    Args:
        path: of the new folder.
        recipe: settings of the training.
        dataset: the data it is adapted to.
        data: their folder.
        processes: number of processes that start the training together.

    Raises:
        ConfigError: an option of the network is unknown or invalid, or only a part is to be trained
            of a network with random weights.
        DataError: labels are to be taken from data that have fewer than two.
        RunFolderError: something exists at `path` already.
    """
    refuse_existing(path)
    fit = recipe.fit
    if fit.trainable != "all" and not fit.warm_start:
        raise ConfigError(
            f"fit.trainable is {fit.trainable!r}, but the other weights would stay random",
            hint="set fit.init_from to a trained model, or fit.trainable=all",
        )
    recipe = adapted(recipe, dataset)
    # All options, defaults included: a later version may change its defaults.
    options = asdict(network_options(recipe.network.name, recipe.network.options))
    recipe = replace(recipe, network=replace(recipe.network, options=options))
    config = {
        "schema": SCHEMA_VERSION,
        "recipe": recipe.to_dict(),
        "data": str(data.resolve()),
        "data_name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "input_size": int(dataset.images_nhw.shape[1]),
        "created": _now(),
        # So that the folder alone says how its model was made.
        "command": sys.argv,
        "versions": {
            "mien": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": {
            "processor": platform.processor(),
            "threads": torch.get_num_threads(),
            "processes": processes,
        },
    }
    write_json(path / "config.json", config)
    return open_run(path)


def discard_run(run: RunFolder) -> None:
    """Remove a run folder without a finished epoch."""
    if not run.has_checkpoint:
        shutil.rmtree(run.path, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raise a RunFolderError if a file or a folder with content exists at `path`."""
    # An empty folder holds nothing that could be lost.
    if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
        raise RunFolderError(
            f"{path} exists and is not empty",
            hint=f"resume it: {resume_command(path)}; or choose another folder",
        )


def open_run(path: Path) -> RunFolder:
    """Return an existing run folder.

    Raises:
        RunFolderError: it is missing, not a run folder, damaged, or of a newer schema.
    """
    config = read_schema_json(path / "config.json", CONFIG_JSON, shown=path)
    recipe = recipe_from_dict(upgraded(config["recipe"], config["schema"]))
    return RunFolder(path, recipe, config["data"], config["fingerprint"], int(config["input_size"]))


def resume_command(path: Path) -> str:
    """Return the shell command that resumes a run."""
    return shlex.join(["mien", "train", "--resume", str(path)])


def next_run_path(parent: Path, name: str) -> Path:
    """Return `parent/name-001` or the first such number that is free."""
    number = 1
    while (parent / f"{name}-{number:03d}").exists():
        number += 1
    return parent / f"{name}-{number:03d}"


@dataclass(frozen=True, slots=True)
class RunScorer(Generic[M_co]):
    """A run's trained network, with the interface of an ONNX model.

    Attributes:
        name: name of the recipe.
        labels: predicted labels.
        input_size: side of the crops, pixels.
        epoch: epoch of the checkpoint, counted from 1.
        model: the network, in evaluation mode.
        columns: indices of `labels` among the network's logits.
    """

    name: str
    labels: tuple[str, ...]
    input_size: int
    epoch: int
    model: M_co
    columns: tuple[int, ...]

    @torch.inference_mode()
    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits, float32 [n, k], for grey crops, uint8 [n, s, s]."""
        pixels = torch.from_numpy(np.ascontiguousarray(crops_nhw))[:, None]
        parts = [self.model(part.float()) for part in torch.split(pixels, SCORING_BATCH)]
        # torch.cat refuses an empty list, and no face is a result too.
        logits = torch.cat(parts) if parts else torch.zeros(0, max(self.columns) + 1)
        chosen: NDArray[np.float32] = logits[:, list(self.columns)].contiguous().numpy()
        return chosen


def load_scorer(
    path: Path, checkpoint: str = "best", labels: Sequence[str] = ()
) -> RunScorer[Model]:
    """Return the network of a run folder on the CPU, in evaluation mode.

    Args:
        path: of the run folder.
        checkpoint: 'best' or 'last'.
        labels: labels to predict, among the learnt ones; the recipe's if empty.

    Raises:
        ConfigError: a label was not learnt.
        RunFolderError: no epoch was finished, or the folder is not a run.
        ModelFileError: the checkpoint is damaged.
    """
    run = open_run(path)
    if not (run.checkpoints / f"{checkpoint}.json").exists():
        raise RunFolderError(
            f"{path} holds no {checkpoint} checkpoint: no epoch of it was finished",
            hint=f"resume it: {resume_command(path)}",
        )
    tensors, state = load_checkpoint(run.checkpoints, checkpoint)
    # 'last' holds both, and what was scored and is exported is the average.
    prefix = "average." if any(name.startswith("average.") for name in tensors) else "model."
    weights = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    recipe = run.recipe
    model = build_model(
        recipe.network,
        normalise=Normalise(recipe.network.normalise),
        input_size=run.input_size,
        classes=len(recipe.learnt_labels),
    )
    model.load_state_dict(weights)
    model.eval()
    predicted = tuple(labels) or recipe.predicted_labels
    columns = recipe.columns_of(predicted)
    return RunScorer(recipe.name, predicted, run.input_size, state["epoch"], model, columns)


def load_ensemble(paths: Sequence[Path]) -> RunScorer[nn.Module]:
    """Return the ensemble of several runs' best networks; for one path, that run's network.

    Raises:
        ConfigError: the runs differ in labels or crop size.
        RunFolderError, ModelFileError: as `load_scorer` does.
    """
    scorers = [load_scorer(path) for path in paths]
    first = scorers[0]
    ours = open_run(paths[0])
    for path in paths[1:]:
        theirs = open_run(path)
        for what, mine, its in (
            ("learnt", ours.recipe.learnt_labels, theirs.recipe.learnt_labels),
            ("predicts", ours.recipe.predicted_labels, theirs.recipe.predicted_labels),
            ("reads crops of", (str(ours.input_size),), (str(theirs.input_size),)),
        ):
            if mine != its:
                raise ConfigError(
                    f"{path} {what} {', '.join(its)}; {paths[0]} {what} {', '.join(mine)}",
                    hint="an ensemble needs runs with the same labels and crop size",
                )
    model: nn.Module = first.model
    if len(scorers) > 1:
        model = Ensemble([scorer.model for scorer in scorers]).eval()
    return RunScorer(first.name, first.labels, first.input_size, first.epoch, model, first.columns)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
