from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from mien.data.dataset import Dataset, load_dataset
from mien.errors import ConfigError, DataError, ModelFileError, RunFolderError, TrainingError
from mien.files import WriteError
from mien.labels import FERPLUS_VOTES
from mien.train.loop import curves
from mien.train.loop import fit as fit_module
from mien.train.loop.curves import CurvesPlot
from mien.train.loop.fit import fit
from mien.train.loop.initial_state import choose_device
from mien.train.loop.loader import batches, make_examples
from mien.train.loop.tensorboard import TensorBoardLog
from mien.train.recipe.recipe import Recipe, recipe_from_dict
from mien.train.run.checkpoint import load_checkpoint
from mien.train.run.folder import RunFolder, create_run, load_scorer, next_run_path, open_run
from mien.train.run.metrics import EpochMetrics

SMALL = {
    "network": {"name": "poster", "width": 4, "hidden": 16, "depth": 3},
    "augment": {"flip": 0.5, "rotation": 10, "blur": 0.5, "noise": 0.02, "erase": 0.2},
    "optimizer": {"lr": 0.05},
    "fit": {"epochs": 4, "batch_size": 32, "ema_decay": 0.9, "threads": 1, "device": "cpu"},
}


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {"name": "test", **SMALL}
    for key, value in changes.items():
        old = values.get(key)
        values[key] = {**old, **value} if isinstance(old, dict) else value  # type: ignore[dict-item]
    return recipe_from_dict(values)


def start(path: Path, dataset: Dataset, **changes: object) -> RunFolder:
    return create_run(path, recipe(**changes), dataset, path.parent / "data")


def weights(run: RunFolder, name: str = "last") -> dict[str, torch.Tensor]:
    return load_checkpoint(run.checkpoints, name)[0]


def assert_same(first: RunFolder, second: RunFolder) -> None:
    for name in ("last", "best"):
        ours, theirs = weights(first, name), weights(second, name)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert torch.equal(value, theirs[key]), key
    timed = ("seconds", "images_per_second")
    one, other = (
        [{k: v for k, v in m.to_dict().items() if k not in timed} for m in run.read_metrics()]
        for run in (first, second)
    )
    assert one == other


def test_a_network_learns_drawn_expressions(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 30, "ema_decay": 0.0},
                network={"width": 8, "conv_batch_norm": True, "dropout": 0.1},
                augment={"noise": 0, "erase": 0}, optimizer={"lr": 0.02})  # fmt: skip
    state = fit(run, drawn)
    best = state.history[state.best_epoch - 1]
    assert best.validation_accuracy > 0.6  # a third by chance
    assert state.history[-1].loss < state.history[0].loss


def test_the_run_folder_holds_everything(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn)
    fit(run, drawn, [CurvesPlot(), TensorBoardLog()])
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]
    config = json.loads((run.path / "config.json").read_text())
    assert recipe_from_dict(config["recipe"]) == run.recipe
    assert config["fingerprint"] == drawn.fingerprint
    assert json.loads((run.path / "status.json").read_text())["status"] == "finished"
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    [events] = (run.path / "tensorboard").iterdir()
    first, *rest = EventFileLoader(str(events)).Load()
    assert first.file_version == "brain.Event:2"
    assert [event.step for event in rest] == [1, 2, 3, 4]
    for event, metrics in zip(rest, run.read_metrics(), strict=True):
        figures = {v.tag: tensor_util.make_ndarray(v.tensor).item() for v in event.summary.value}
        expected = {k: v for k, v in metrics.to_dict().items() if k != "epoch"}
        assert figures == pytest.approx(expected, rel=1e-6)
    names = {p.suffix for p in run.checkpoints.iterdir()}
    assert names == {".json", ".safetensors"}


def test_short_epochs_are_not_all_drawn_but_the_last_is(
    tmp_path: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []

    def draw(history: list[EpochMetrics], *, title: str) -> bytes:
        epochs.append(len(history))
        return b""

    monkeypatch.setattr(curves, "draw_curves", draw)
    monkeypatch.setattr(curves, "PAUSE_S", 1e9)
    fit(start(tmp_path / "run", drawn), drawn, [CurvesPlot()])
    assert epochs == [1, 4]
    monkeypatch.setattr(curves, "PAUSE_S", 0.0)
    fit(start(tmp_path / "other", drawn), drawn, [CurvesPlot()])
    assert epochs == [1, 4, 1, 2, 3, 4]


def test_the_seed_decides(tmp_path: Path, drawn: Dataset) -> None:
    runs = [start(tmp_path / name, drawn, fit={"epochs": 1, "seed": s})
            for name, s in (("a", 0), ("b", 0), ("c", 1))]  # fmt: skip
    for run in runs:
        fit(run, drawn)
    assert_same(runs[0], runs[1])
    key = "model.body.layers.0.weight"
    assert not torch.equal(weights(runs[0])[key], weights(runs[2])[key])


def test_early_stopping(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 50, "early_stopping": 2},
                optimizer={"lr": 1e-9}, augment={"noise": 0})  # fmt: skip
    state = fit(run, drawn)
    assert state.epoch == state.best_epoch + 2 < 50
    assert json.loads((run.path / "status.json").read_text())["status"] == "stopped early"


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, optimizer={"lr": 1e30, "name": "sgd"},
                schedule={"name": "constant"}, network={"batch_norm": False})  # fmt: skip
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1, batch"):
        fit(run, drawn)
    assert json.loads((run.path / "status.json").read_text())["status"] == "failed"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_disk_that_is_full_for_tensorboard(
    tmp_path: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path / "run", drawn)
    log = TensorBoardLog()
    monkeypatch.setattr(log, "on_train_start", lambda *_: None)
    with (
        Path("/dev/full").open("wb", buffering=0) as log.stream,
        pytest.raises(WriteError, match="cannot write /dev/full: No space left on device"),
    ):
        fit(run, drawn, [log])
    assert run.read_status()["reason"].startswith("cannot write /dev/full")
    assert load_scorer(run.path).epoch == 1


def test_the_status_holds_the_reason_of_a_write_error(
    tmp_path: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path / "run", drawn)

    def no_space(*_: object, **__: object) -> None:
        raise WriteError("cannot write it", hint="free some space")

    monkeypatch.setattr(fit_module, "save_state", no_space)
    with pytest.raises(WriteError):
        fit(run, drawn)
    status = run.read_status()
    assert (status["status"], status["reason"]) == ("failed", "cannot write it")


def test_fewer_images_than_a_batch(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={"batch_size": 1000})
    with pytest.raises(DataError, match="training images are fewer than one batch of 1000"):
        fit(run, drawn)


def test_one_class_only(tmp_path: Path, drawn: Dataset) -> None:
    chosen = drawn.subset((drawn.labels_n == 0) | (drawn.splits_n == "validation"))
    run = start(tmp_path / "run", chosen)
    with pytest.raises(DataError, match="only 'happy' occurs in the"):
        fit(run, chosen)


def test_a_label_that_the_data_do_not_have(drawn: Dataset) -> None:
    with pytest.raises(DataError, match="drawn has no label 'hapy'") as caught:
        make_examples(drawn, recipe(labels="hapy,sad"))
    assert caught.value.hint.startswith("did you mean 'happy'?")


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="fit.device is 'cuda', and torch sees none here"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


def test_no_validation_images(tmp_path: Path, drawn: Dataset) -> None:
    chosen = drawn.subset(drawn.splits_n == "train")
    with pytest.raises(DataError, match="drawn has no validation split"):
        fit(start(tmp_path / "run", chosen), chosen)


def test_votes_that_are_not_there(drawn: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"drawn has no votes .* targets.kind = 'votes'"):
        make_examples(drawn, recipe(targets={"kind": "votes"}))


def one_rater(drawn: Dataset) -> Dataset:
    """The faces with one vote each, for their label."""
    votes = np.zeros((len(drawn), len(FERPLUS_VOTES)), np.float32)
    columns = np.array([FERPLUS_VOTES.index(name) for name in drawn.label_names])
    votes[np.arange(len(drawn)), columns[drawn.labels_n]] = 1
    return replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)


def test_votes_of_one_rater_are_labels(drawn: Dataset) -> None:
    voted = one_rater(drawn)
    with pytest.raises(DataError, match=r"targets.min_votes = 3 votes .* the most is 1") as caught:
        make_examples(voted, recipe(targets={"kind": "votes"}))
    assert "targets.min_votes=1" in caught.value.hint
    found = make_examples(voted, recipe(targets={"kind": "votes", "min_votes": 1}))
    plain = make_examples(voted, recipe())
    assert torch.equal(found.targets_nk, plain.targets_nk)
    assert torch.equal(found.weights_n, plain.weights_n)


def test_votes_as_soft_labels(drawn: Dataset) -> None:
    votes = np.zeros((len(drawn), 10), np.float32)
    votes[:, FERPLUS_VOTES.index("happy")] = 6
    votes[:, FERPLUS_VOTES.index("sad")] = 2
    votes[:, FERPLUS_VOTES.index("angry")] = 2
    votes[0] = 0
    votes[0, FERPLUS_VOTES.index("angry")] = 10
    voted = replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)
    three = make_examples(voted, recipe(targets={"kind": "votes"}))
    assert len(three) == len(drawn) - 1
    torch.testing.assert_close(three.targets_nk[0], torch.tensor([0.75, 0, 0.25]))
    assert three.weights_n[0] == pytest.approx(0.8)
    eight = make_examples(voted, recipe(targets={"kind": "votes", "classes": "eight"}))
    assert len(eight) == len(drawn)
    assert eight.targets_nk[1].tolist() == pytest.approx([0.6, 0, 0.2, 0.2, 0, 0, 0, 0])
    sharp = make_examples(voted, recipe(targets={"kind": "votes", "sharpen": 2.0}))
    torch.testing.assert_close(sharp.targets_nk[0], torch.tensor([0.9, 0, 0.1]))


def test_an_epoch_sees_every_image_at_most_once(drawn: Dataset) -> None:
    examples = make_examples(drawn, recipe())
    numbered = replace(examples, weights_n=torch.arange(len(examples)).float())
    seen = torch.cat([w for _, _, w in batches(numbered, 32, torch.Generator().manual_seed(0))])
    assert len(seen) == len(examples) // 32 * 32
    assert len(seen.unique()) == len(seen)


def test_run_folders(tmp_path: Path, drawn: Dataset) -> None:
    assert next_run_path(tmp_path, "a") == tmp_path / "a-001"
    run = start(tmp_path / "a-001", drawn)
    assert next_run_path(tmp_path, "a") == tmp_path / "a-002"
    with pytest.raises(RunFolderError, match="exists and is not empty") as caught:
        start(run.path, drawn)
    assert f"mien train --resume {run.path}" in caught.value.hint
    with pytest.raises(RunFolderError, match="no epoch of it was finished"):
        load_scorer(run.path)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is damaged"), ("[]", "was not written by mien"),
     ('{"schema": 9, "recipe": {}}', "has run folder schema 9; this mien reads up to 2")],
)  # fmt: skip
def test_a_damaged_run_folder(tmp_path: Path, drawn: Dataset, text: str, message: str) -> None:
    run = start(tmp_path / "run", drawn)
    (run.path / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match=message):
        open_run(run.path)


def test_a_checkpoint_of_another_network(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 1})
    fit(run, drawn)
    config = json.loads((run.path / "config.json").read_text())
    config["recipe"]["network"]["width"] = 8
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="does not fit the run's recipe"):
        fit(open_run(run.path), drawn)


def test_the_scorer_predicts_with_the_best_epochs_weights(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn)
    state = fit(run, drawn)
    scorer = load_scorer(run.path)
    assert scorer.epoch == state.best_epoch
    validation = drawn.split("validation")
    logits = scorer.logits(validation.images_nhw)
    accuracy = (logits.argmax(axis=1) == validation.labels_n).mean()
    best: EpochMetrics = state.history[state.best_epoch - 1]
    assert accuracy == pytest.approx(best.validation_accuracy)
    assert scorer.logits(validation.images_nhw[:0]).shape == (0, 3)


def test_saved_datasets_train_alike(tmp_path: Path, drawn: Dataset) -> None:
    from mien.data.build import write_dataset

    write_dataset(drawn, tmp_path / "data")
    loaded = load_dataset(tmp_path / "data")
    assert loaded.fingerprint == drawn.fingerprint
    first = start(tmp_path / "a", drawn, fit={"epochs": 1})
    second = start(tmp_path / "b", loaded, fit={"epochs": 1})
    fit(first, drawn)
    fit(second, loaded)
    assert_same(first, second)
