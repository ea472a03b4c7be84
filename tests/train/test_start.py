"""Fine-tuning from the weights of another training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data.dataset import Dataset
from mien.doctor.evidence import gather
from mien.errors import ConfigError, ModelFileError, RunFolderError
from mien.labels import THREE
from mien.model.classifier import Classifier
from mien.model.resolve import model_content
from mien.predict.prior import prior_shift
from mien.publish.export import export_run
from mien.train.loop.fit import fit
from mien.train.loop.pretrained import load_pretrained, read_pretrained
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import Model, build_model
from mien.train.recipe.find import find_recipe
from mien.train.recipe.recipe import load_recipe, recipe_from_dict
from mien.train.run.folder import create_run, load_scorer, open_run
from tests.train.test_fit import recipe, start, weights


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, drawn: Dataset) -> Path:
    run = start(tmp_path_factory.mktemp("start") / "first", drawn, fit={"epochs": 1})
    fit(run, drawn)
    return run.path


def fresh(classes: int = 3, **changes: object) -> Model:
    config = recipe(**changes).network
    return build_model(config, normalise=Normalise("image"), input_size=48, classes=classes)


def test_all_weights_are_taken(first: Path) -> None:
    model = fresh()
    load_pretrained(model, recipe(fit={"init_from": str(first)}))
    theirs = load_scorer(first).model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    untouched = fresh()
    before = {name: value.clone() for name, value in untouched.state_dict().items()}
    load_pretrained(untouched, recipe())
    assert all(torch.equal(v, before[name]) for name, v in untouched.state_dict().items())


def test_of_other_labels_the_last_layer_takes_those_that_both_learn(first: Path) -> None:
    wanted = recipe(labels="sad,surprise,happy", fit={"init_from": str(first)})
    model = fresh(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_pretrained(model, wanted)
    theirs, ours = load_scorer(first).model.state_dict(), model.state_dict()
    *_, last = (name for name in ours if ours[name].ndim == 2)
    for name in (last, last.replace("weight", "bias")):
        for row, (mine, yours) in enumerate([(0, 2), (1, None), (2, 0)]):
            expected = before[name][row] if yours is None else theirs[name][yours]
            assert torch.equal(ours[name][mine], expected), (name, row)
    others = {n for n, v in ours.items() if n.rpartition(".")[0] != last.rpartition(".")[0]}
    assert others and all(torch.equal(ours[n], theirs[n]) for n in others)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, drawn: Dataset) -> Path:
    return trained(tmp_path_factory.mktemp("mirrored") / "run", drawn, mirror=True)


def trained(path: Path, drawn: Dataset, *, mirror: bool) -> Path:
    network = {"name": "base", "widths": [4, 4, 8, 8], "blocks": [1, 1, 1], "mirror": mirror}
    values = {"name": "t", "network": network, "fit": {"epochs": 1, "threads": 1, "device": "cpu"}}
    run = create_run(path, recipe_from_dict(values), drawn, path)
    fit(run, drawn)
    return run.path


@pytest.mark.parametrize("half", [False, True])
def test_a_model_file_is_fine_tuned_like_its_run(
    mirrored: Path, half: bool, drawn: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    export_run(mirrored, file, drawn, half=half)
    learnt = read_pretrained(str(file))
    assert learnt.labels == THREE
    theirs = read_pretrained(str(mirrored)).weights
    for name, value in learnt.weights.items():
        torch.testing.assert_close(value, theirs[name], atol=5e-3 if half else 0, rtol=0)
    lacking = theirs.keys() - learnt.weights.keys()
    assert all(n.startswith("normalise.") or n.endswith("tracked") for n in lacking)


def test_a_graph_without_normalisations_cannot_be_fine_tuned(
    drawn: Dataset, tmp_path: Path
) -> None:
    run = trained(tmp_path / "run", drawn, mirror=False)
    export_run(run, tmp_path / "model.onnx", drawn)
    with pytest.raises(ModelFileError, match="folds batch normalisation into"):
        read_pretrained(str(tmp_path / "model.onnx"))


@pytest.mark.parametrize("name", ["mien-small", "mien-tiny"])
def test_a_shipped_model_is_fine_tuned(name: str) -> None:
    changes = [f"fit.init_from={name}", "labels=three", "targets.classes=", "extra_labels="]
    recipe_file = find_recipe(Path(name.removeprefix("mien-")))
    three = load_recipe(recipe_file, [*changes, "targets.kind=labels"])
    assert three.learnt_labels == THREE
    model = build_model(
        three.network, normalise=Normalise("image"), input_size=48, classes=3
    ).eval()
    load_pretrained(model, three)
    content, _ = model_content(Path(name))
    shipped = Classifier.from_bytes(content, name=name)
    faces = np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)
    ours = model(torch.from_numpy(faces)[:, None].float()).detach().numpy()
    # The same logits, before the temperature scales them and the prior shifts them.
    back = prior_shift(shipped.info, "training")
    assert back is not None
    np.testing.assert_allclose(
        ours / shipped.info.temperature, shipped.logits(faces) + back.offset_k, atol=1e-3, rtol=0
    )


def test_of_an_ensemble_the_network_that_fits_is_taken() -> None:
    weights = read_pretrained("mien-base").weights
    for name, number in (("small", 0), ("base", 1)):
        changes = ["fit.init_from=mien-base", "labels=three"]
        fitting = load_recipe(find_recipe(Path(name)), changes)
        model = build_model(fitting.network, normalise=Normalise("image"), input_size=48, classes=8)
        assert load_pretrained(model, fitting)
        prefix = f"members.{number}."
        theirs = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
        assert len(theirs) > 30
        ours = model.state_dict()
        assert all(torch.equal(ours[n], value) for n, value in theirs.items())
    other = load_recipe(find_recipe(Path("tiny")), changes)
    model = build_model(other.network, normalise=Normalise("image"), input_size=48, classes=8)
    with pytest.raises(ConfigError, match="the network of mien-base is not this recipe's"):
        load_pretrained(model, other)


def test_a_fine_tuned_run_resumes_without_its_source(
    first: Path, drawn: Dataset, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(first, gone)
    still = {"init_from": str(gone), "epochs": 1, "ema_decay": 0.0}
    run = start(tmp_path / "run", drawn, fit=still, optimizer={"lr": 1e-9})
    fit(run, drawn)
    # With hardly any steps the weights are still the initial ones.
    theirs = load_scorer(first).model.state_dict()
    for name, value in weights(run).items():
        bare = name.removeprefix("model.")
        if name.startswith("model.") and value.ndim > 1:
            torch.testing.assert_close(value, theirs[bare], atol=1e-6, rtol=0)
    # A resumed training does not read the source, which is gone.
    shutil.rmtree(gone)
    assert fit(open_run(run.path), drawn).epoch == 1


def test_sources_that_cannot_be_fine_tuned(first: Path, drawn: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fit\.init_from: the network of .* is not this"):
        load_pretrained(fresh(network={"width": 5}), recipe(fit={"init_from": str(first)}))
    with pytest.raises(ModelFileError, match=r"fit\.init_from: there is no model"):
        load_pretrained(fresh(), recipe(fit={"init_from": str(tmp_path / "none")}))
    with pytest.raises(ModelFileError) as misspelt:
        load_pretrained(fresh(), recipe(fit={"init_from": "mien-smal"}))
    assert "did you mean 'mien-small'?" in misspelt.value.hint
    with pytest.raises(RunFolderError, match="is not a run folder"):
        load_pretrained(fresh(), recipe(fit={"init_from": str(tmp_path)}))
    with pytest.raises(ConfigError, match="the network of mien-small is not this recipe's"):
        load_pretrained(fresh(), recipe(fit={"init_from": "mien-small"}))
    narrow = ["fit.init_from=mien-small", "network.widths=[8,8,8,8]", "labels=three",
              "targets.kind=votes"]  # fmt: skip
    for more in (
        [],
        ["targets.classes=", "extra_labels="],
    ):  # the last layer with as many rows, and fewer
        small = load_recipe(find_recipe(Path("small")), [*narrow, *more])
        model = build_model(small.network, normalise=Normalise("image"), input_size=48,
                            classes=len(small.learnt_labels))  # fmt: skip
        with pytest.raises(ConfigError, match="the network of mien-small is not this recipe's"):
            load_pretrained(model, small)
    with pytest.raises(ModelFileError, match=r"mien-small-int8.onnx are int8, not float32"):
        load_pretrained(fresh(), recipe(fit={"init_from": "mien-small-int8"}))
    with pytest.raises(ModelFileError, match="none.onnx"):
        load_pretrained(fresh(), recipe(fit={"init_from": str(tmp_path / "none.onnx")}))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no graph at all")
    with pytest.raises(ModelFileError, match="not an ONNX file, or is damaged"):
        load_pretrained(fresh(), recipe(fit={"init_from": str(damaged)}))


def test_the_doctor_does_not_take_learnt_weights_for_grown_ones(
    first: Path, drawn: Dataset, tmp_path: Path
) -> None:
    run = start(tmp_path / "run", drawn, fit={"init_from": str(first), "epochs": 1})
    fit(run, drawn)
    # Lengths are compared with those of random weights only where it began with such.
    assert gather(open_run(run.path), drawn).initial == {}
    assert gather(open_run(first), drawn).initial


def test_only_the_head_is_trained(first: Path, tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={
        "epochs": 2, "init_from": str(first), "trainable": "head", "early_stopping": 0,
    })  # fmt: skip
    fit(run, drawn)
    before, after = (weights(open_run(path)) for path in (first, run.path))
    # What a run starts from is the average, which is the network that was validated.
    bodies = [key.removeprefix("average.") for key in before if key.startswith("average.body.")]
    changed = [
        key for key in bodies
        if not torch.equal(after[f"model.{key}"], before[f"average.{key}"])
    ]  # fmt: skip
    last = max(int(key.split(".")[2]) for key in bodies)
    assert set(changed) == {f"body.layers.{last}.weight", f"body.layers.{last}.bias"}
    # Resumed, the rest stays frozen although the checkpoint replaces `init_from`.
    assert fit(open_run(run.path), drawn).epoch == 2


def test_a_part_of_random_weights_is_not_trained(tmp_path: Path, drawn: Dataset) -> None:
    with pytest.raises(ConfigError, match="the other weights would stay random") as caught:
        start(tmp_path / "run", drawn, fit={"trainable": "last_stage"})
    assert "fit.init_from" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()
