"""One training of a study, and its result."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien import __version__
from mien.errors import DataError, MienError, TrainingError
from mien.files import finite, read_json, write_json
from mien.study.measures import measure, measure_diverged
from mien.train.loop.callbacks import Callback
from mien.train.loop.fit import fit
from mien.train.loop.signals import stride_for
from mien.train.loop.validate import true_labels
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model
from mien.train.recipe.adapt import adapted
from mien.train.run.folder import create_run, open_run

if TYPE_CHECKING:
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.study.plan import Training
    from mien.study.sharing import Job
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics

RESULT = "result.json"
VALIDATION_SEED = 20_221
"""Samples the validation images: the same ones in every training of every study."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a training.

    Attributes:
        key: of the training.
        fingerprint: of the data.
        measures: see measures.MEASURES; None where it could not be measured.
        parameters: of the network.
        train_n: training images.
        validation_n: validation images.
        seconds: CPU time of the training, on one thread.
        note: what went wrong, such as a NaN loss; '' for nothing.
        part_of: key of the longer training whose first epochs it is, and whose CPU time includes
            its own; '' for a training that was run by itself.
        mien: version that trained; '' where it was not recorded.
    """

    key: str
    fingerprint: str
    measures: dict[str, float | None]
    parameters: int
    train_n: int
    validation_n: int
    seconds: float
    note: str = ""
    part_of: str = ""
    mien: str = ""

    @property
    def own_seconds(self) -> float:
        """CPU seconds that no other training's result includes."""
        return 0.0 if self.part_of else self.seconds


def run_job(job: Job, dataset: Dataset, folder: Path) -> list[Result]:
    """Run a job's training, and write the results of its shorter trainings too.

    Shorter trainings whose steps are measured at other places, which their length decides, are run
    by themselves.

    Raises:
        MienError: the data do not fit the recipe.
    """
    ends: list[float] = []
    results = [run_training(job.training, dataset, folder, ends)]
    run = open_run(folder / job.training.key)
    steps = results[0].train_n // job.training.recipe.fit.batch_size
    stride = stride_for(steps * job.training.recipe.fit.epochs)
    for training in job.shorter:
        epochs = training.recipe.fit.epochs
        if stride_for(steps * epochs) != stride:
            results.append(run_training(training, dataset, folder))
            continue
        # A training that failed before has the failed one's measures, and its time.
        whole = len(ends) < epochs
        part = replace(
            results[0],
            key=training.key,
            measures=results[0].measures if whole else _measures(run, epochs),
            seconds=results[0].seconds if whole else ends[epochs - 1],
            note=results[0].note if whole else "",
            part_of=job.training.key,
        )
        write_json(folder / training.key / RESULT, asdict(part))
        results.append(part)
    return results


def run_training(
    training: Training, dataset: Dataset, folder: Path, ends: list[float] | None = None
) -> Result:
    """Train, write result.json into the training's folder and return the result.

    A NaN loss is a result too: the accuracy is that of predicting the most common class. The folder
    of an earlier attempt is removed first; the checkpoints are removed at the end.

    Args:
        training: to run.
        dataset: that it samples its images from.
        folder: of the trainings.
        ends: receives the CPU seconds from the start to the end of each epoch.

    Raises:
        MienError: the data do not fit the recipe.
    """
    path = folder / training.key
    _clear(path)
    part = random_subset(dataset, training)
    run = create_run(path, training.recipe, part, path)
    # CPU time: trainings share the cores, so wall time would depend on the others.
    started = time.process_time()
    try:
        fit(run, part, [_Clock(started, [] if ends is None else ends)])
    except TrainingError as error:
        measures = measure_diverged(part, run.recipe)
        note = error.message
    else:
        measures, note = measure(run.read_metrics(), run.read_signals()), ""
    result = Result(
        key=training.key,
        fingerprint=dataset.fingerprint,
        # JSON has neither nan nor infinity.
        measures=finite(measures),
        # A diverged training returns no network that could be counted.
        parameters=count_parameters(run.recipe, run.input_size),
        train_n=int((part.splits_n == "train").sum()),
        validation_n=int((part.splits_n == "validation").sum()),
        seconds=time.process_time() - started,
        note=note,
        mien=__version__,
    )
    _clear(path / "checkpoints")
    # Last: the file's presence says that the training is complete.
    write_json(path / RESULT, asdict(result))
    return result


class _Clock(Callback):
    """Records the CPU seconds from `started` to the end of each epoch."""

    def __init__(self, started: float, ends: list[float]) -> None:
        self.started, self.ends = started, ends

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        self.ends.append(time.process_time() - self.started)


def _measures(run: RunFolder, epochs: int) -> dict[str, float | None]:
    """Return the measures of a run's first epochs."""
    history = [m for m in run.read_metrics() if m.epoch <= epochs]
    signals = [s for s in run.read_signals() if s.epoch <= epochs]
    values: dict[str, float | None] = finite(measure(history, signals))
    return values


def read_result(folder: Path, key: str, fingerprint: str) -> Result | None:
    """Return a training's result; None if it is missing, incomplete or of other data."""
    path = folder / key / RESULT
    if not path.exists():
        return None
    try:
        values = read_json(path)
        values.pop("error", None)  # older versions wrote it, always ''
        result = Result(**values)
    except (MienError, TypeError, AttributeError, ValueError):
        return None  # a killed process wrote half of it: the training is repeated
    return result if result.key == key and result.fingerprint == fingerprint else None


def random_subset(dataset: Dataset, training: Training) -> Dataset:
    """Return the images of a training: its seed samples the training images, validation is fixed.

    Only images with a ground truth count towards the sizes.

    Raises:
        DataError: a split has fewer images than requested.
    """
    recipe = adapted(training.recipe, dataset)
    y_true = true_labels(dataset, recipe)
    rows = []
    for split, size, seed in (
        ("train", training.train, recipe.fit.seed),
        ("validation", training.validation, VALIDATION_SEED),
    ):
        known = np.flatnonzero((dataset.splits_n == split) & (y_true >= 0))
        size = int(size * len(known)) if 0 < size < 1 else int(size)
        if len(known) < max(size, 1):
            raise DataError(
                f"{dataset.name} has {len(known):,} {split} images with a ground truth; the "
                f"study needs {size:,}",
                hint="lower train or validation in the study, or import more images",
            )
        # A permutation, so that a smaller size is a subset of a larger one with the same seed.
        chosen = np.random.default_rng(seed).permutation(known)
        rows.append(chosen[:size] if size else known)
    # Sorted as in the dataset: the recipe's seed, not the sample, decides the order of training.
    both = np.sort(np.concatenate(rows))
    part = dataset.subset(both)
    return replace(part, images_nhw=np.ascontiguousarray(part.images_nhw))


def count_parameters(recipe: Recipe, input_size: int) -> int:
    """Return the number of parameters of a recipe's network."""
    model = build_model(
        recipe.network,
        normalise=Normalise(recipe.network.normalise),
        input_size=input_size,
        classes=len(recipe.learnt_labels),
    )
    return sum(p.numel() for p in model.parameters())


def _clear(path: Path) -> None:
    import shutil

    if path.exists():
        shutil.rmtree(path)
