"""Trainings that begin with another's weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mien.data.manifest import Dataset
from mien.errors import ConfigError, RunFolderError
from mien.train.doctor.evidence import gather
from mien.train.fit import fit
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import Model, build_model
from mien.train.runfolder import load_scorer, open_run
from mien.train.start import begin_from
from tests.train.test_fit import recipe, start, weights


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, drawn: Dataset) -> Path:
    run = start(tmp_path_factory.mktemp("start") / "first", drawn, fit={"epochs": 1})
    fit(run, drawn)
    return run.path


def fresh(classes: int = 3, **changes: object) -> Model:
    config = recipe(**changes).network
    return build_model(config, normalise=Normalise("picture"), input_size=48, classes=classes)


def test_all_weights_are_taken(first: Path) -> None:
    model = fresh()
    begin_from(model, recipe(fit={"start": str(first)}))
    theirs = load_scorer(first).model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    untouched = fresh()
    before = {name: value.clone() for name, value in untouched.state_dict().items()}
    begin_from(untouched, recipe())
    assert all(torch.equal(v, before[name]) for name, v in untouched.state_dict().items())


def test_other_labels_keep_a_random_last_layer(first: Path) -> None:
    wanted = recipe(labels="sad,happy", fit={"start": str(first)})
    model = fresh(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    begin_from(model, wanted)
    theirs = load_scorer(first).model.state_dict()
    kept = {n for n, v in model.state_dict().items() if torch.equal(v, before[n])}
    last = {n for n, v in theirs.items() if v.shape != before[n].shape}
    assert last and last <= kept
    taken = {n for n, v in model.state_dict().items() if n not in last and v.ndim > 1}
    assert taken and all(torch.equal(model.state_dict()[n], theirs[n]) for n in taken)


def test_a_training_begins_there_and_goes_on_without(
    first: Path, drawn: Dataset, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(first, gone)
    still = {"start": str(gone), "epochs": 1, "average": 0.0}
    run = start(tmp_path / "run", drawn, fit=still, optimizer={"lr": 1e-9})
    fit(run, drawn)
    # With next to no steps the weights are still those begun with.
    theirs = load_scorer(first).model.state_dict()
    for name, value in weights(run).items():
        bare = name.removeprefix("model.")
        if name.startswith("model.") and value.ndim > 1:
            torch.testing.assert_close(value, theirs[bare], atol=1e-6, rtol=0)
    # A training that goes on does not ask for who has gone.
    shutil.rmtree(gone)
    assert fit(open_run(run.path), drawn).epoch == 1


def test_what_cannot_be_begun_with(first: Path, drawn: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fit\.start: the network of .* is not this recipe's"):
        begin_from(fresh(network={"width": 5}), recipe(fit={"start": str(first)}))
    with pytest.raises(RunFolderError):
        begin_from(fresh(), recipe(fit={"start": str(tmp_path / "none")}))


def test_the_doctor_does_not_take_learnt_weights_for_grown_ones(
    first: Path, drawn: Dataset, tmp_path: Path
) -> None:
    run = start(tmp_path / "run", drawn, fit={"start": str(first), "epochs": 1})
    fit(run, drawn)
    # Lengths are compared with those of random weights only where it began with such.
    assert gather(open_run(run.path), drawn).initial == {}
    assert gather(open_run(first), drawn).initial
