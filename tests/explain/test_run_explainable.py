from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mien.data.dataset import Dataset
from mien.data.drawn import draw_dataset
from mien.explain.explain import GRAD_CAM, OCCLUSION, explain, grad_cams
from mien.explain.occlusion import occlude
from mien.explain.onnx_graph import OnnxExplainable
from mien.imaging.codec import write_image
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.info import ModelInfo
from mien.publish import export
from mien.publish.rewrite import with_info
from mien.train.loop.fit import fit
from mien.train.networks.body import Body
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import Model, build_model
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.recipe.settings import NetworkConfig
from mien.train.run.explainable import RunExplainable
from mien.train.run.folder import RunScorer, create_run

LABELS = ("happy", "neutral", "sad")
TEMPERATURE = 0.5


def scorer(name: str, *, mirror: bool, align: int = 0, **options: object) -> RunScorer[Model]:
    """A network with random weights, its normalisation layers included."""
    torch.manual_seed(0)
    config = NetworkConfig(name=name, mirror=mirror, align=align, options=options)
    model = build_model(config, normalise=Normalise("image"), input_size=48, classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    if model.align is not None:
        nn.init.normal_(model.align.place.weight, 0, 0.02)
    return RunScorer("mine", LABELS, 48, 1, model.eval(), (0, 1, 2))


def as_onnx(network: RunScorer[Model]) -> OnnxExplainable:
    info = ModelInfo("mine", LABELS, 48, ALIGNMENT_ID, temperature=TEMPERATURE)
    output = export.Output("logits", LABELS, network.columns, TEMPERATURE)
    graph = export._to_onnx(export.ExportedGraph(network, [output])).SerializeToString()
    return OnnxExplainable(with_info(graph, info), "mine.onnx")


# The exporter folds batch normalisation into fully connected layers, whose weights then differ.
NETWORKS = {
    "small": {"mirror": True, "widths": (4, 6), "blocks": (2,)},
    "small, aligned": {"mirror": True, "widths": (4, 6), "blocks": (2,), "align": 4},
    "poster": {"mirror": False, "width": 4, "depth": 2, "hidden": 8, "batch_norm": False},
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def pair(request: pytest.FixtureRequest) -> tuple[RunExplainable, OnnxExplainable]:
    """One network, seen by torch and by its exported graph."""
    name, options = request.param.split(",")[0], NETWORKS[request.param]
    network = scorer(name, **options)  # type: ignore[arg-type]
    return RunExplainable(network), as_onnx(network)


@pytest.fixture
def crops(drawn: Dataset) -> np.ndarray:
    return np.asarray(drawn.images_nhw[:3])


def test_run_and_graph_have_the_same_inside(
    pair: tuple[RunExplainable, OnnxExplainable], crops: np.ndarray
) -> None:
    run, graph = pair
    assert run.sides == graph.sides
    assert run.layers == graph.layers
    np.testing.assert_allclose(run.kernels(), graph.kernels(), atol=1e-6)
    ours, theirs = run.feature_maps(crops[0]), graph.feature_maps(crops[0])
    for side in run.sides:
        np.testing.assert_allclose(ours[side], theirs[side], atol=1e-4)


def test_grad_cam_of_the_graph_is_that_of_autograd(
    pair: tuple[RunExplainable, OnnxExplainable], crops: np.ndarray
) -> None:
    """Slopes measured on the graph against gradients: two independent ways to one map."""
    run, graph = pair
    answers = np.array([0, 1, 2])
    for side in run.sides:
        expected = run.grad_cam(crops, answers, side) / TEMPERATURE
        found = graph.grad_cam(crops, answers, side)
        # A step of finite length crosses kinks, the more the earlier the maps are.
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    last = run.sides[-1]
    found = graph.grad_cam(crops, answers, last)
    expected = run.grad_cam(crops, answers, last) / TEMPERATURE
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_random_weights_are_the_same_in_both(
    pair: tuple[RunExplainable, OnnxExplainable], crops: np.ndarray
) -> None:
    run, graph = pair
    before = run.logits(crops)
    for last in (1, len(run.layers)):
        ours, theirs = run.randomised(last, 3), graph.randomised(last, 3)
        np.testing.assert_allclose(
            ours.logits(crops) / TEMPERATURE, theirs.logits(crops), atol=1e-3
        )
        assert np.abs(ours.logits(crops) - before).max() > 0.01
    np.testing.assert_array_equal(run.logits(crops), before)  # the original is unharmed


def test_grad_cam_is_cam_for_a_linear_head_on_averages(crops: np.ndarray) -> None:
    """Zhou et al. 2016 (arXiv:1512.04150): the head's weights times the last feature maps."""
    network = scorer("small", mirror=False, widths=(4, 6, 8), blocks=(1, 1), stem_stride=1)
    model = RunExplainable(network)
    head = network.model.body.head
    assert isinstance(head, nn.Linear)
    features = model.feature_maps(crops[0])[12]
    cam = np.tensordot(head.weight.detach().numpy()[1], features, 1) / 12**2
    found = model.grad_cam(crops[:1], np.array([1]), 12)[0]
    np.testing.assert_allclose(found, cam, atol=1e-6)
    # So the map adds up to the logit, less the bias.
    logit = model.logits(crops[:1])[0, 1]
    assert float(found.sum()) == pytest.approx(float(logit - head.bias[1].detach()), abs=1e-4)


def test_a_mirroring_model_has_mirrored_maps(crops: np.ndarray) -> None:
    model = RunExplainable(scorer("small", mirror=True, widths=(4, 6, 8), blocks=(1, 1)))
    answers = np.array([0, 0, 0])
    maps = model.grad_cam(crops, answers, 12)
    flipped = model.grad_cam(np.ascontiguousarray(crops[:, :, ::-1]), answers, 12)
    np.testing.assert_allclose(flipped[:, :, ::-1], maps, atol=1e-5)
    plain = RunExplainable(scorer("small", mirror=False, widths=(4, 6, 8), blocks=(1, 1)))
    one_view = plain.grad_cam(crops, answers, 12)
    other = plain.grad_cam(np.ascontiguousarray(crops[:, :, ::-1]), answers, 12)[:, :, ::-1]
    np.testing.assert_allclose(maps, (one_view + other) / 2, atol=1e-5)


def test_run_and_graph_see_the_face_in_the_same_place(
    pair: tuple[RunExplainable, OnnxExplainable], crops: np.ndarray
) -> None:
    run, graph = pair
    places = run.places(crops)
    np.testing.assert_allclose(graph.places(crops), places, atol=1e-5)
    moved = not np.array_equal(places, np.tile(np.eye(2, 3), (3, 1, 1)))
    assert moved == (run._scorer.model.align is not None)


def test_grad_cam_lies_where_the_aligned_face_lies_on_the_crop() -> None:
    """A body that looks at the aligned lower right corner, and a face that lies up left."""
    model = scorer("small", mirror=False, align=4).model
    assert model.align is not None
    nn.init.zeros_(model.align.place.weight)
    model.align.place.bias.data.copy_(torch.tensor([-0.5, 0.0, -0.5, -0.5]))
    seen = Model(model.normalise, BrightCorner(), align=model.align)
    crop = np.full((48, 48), 90, np.uint8)
    crop[12:24, 12:24] = 255  # of the upper left quarter, which is all that is seen
    run = RunExplainable(RunScorer("mine", ("bright", "not"), 48, 1, seen.eval(), (0, 1)))
    cam = grad_cams(run, crop[None], np.array([0]), 48)[0]
    inside = cam[11:25, 11:25].sum()
    assert inside > 0
    assert np.abs(cam[25:]).max() == 0
    assert np.abs(cam[:, 25:]).max() == 0
    assert inside > 0.95 * np.maximum(cam, 0).sum()


class BrightCorner(Body):
    """A body whose first logit counts what is bright in the lower right quarter, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.act = nn.ReLU()
        nn.init.ones_(self.conv.weight)
        nn.init.constant_(self.conv.bias, -0.5)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = self.act(self.conv(x))
        score = bright[:, :, 24:, 24:].sum(dim=(1, 2, 3))
        return torch.stack([score, 0 * score, -score], dim=1)


def test_grad_cam_and_occlusion_point_where_a_known_network_looks() -> None:
    model = RunExplainable(
        RunScorer(
            "corner", LABELS, 48, 1, Model(Normalise("none"), BrightCorner()).eval(), (0, 1, 2)
        )
    )
    crop = np.full((48, 48), 60, np.uint8)  # not bright enough to count
    crop[32:44, 30:42] = 250
    cam = grad_cams(model, crop[None], np.array([0]), 48)[0]
    drop = occlude(model, crop, 0, 6).drop_hw
    for map_hw in (cam, drop):
        positive = np.maximum(map_hw, 0)
        assert positive[26:, 24:].sum() > 0.99 * positive.sum() > 0


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return draw_dataset(count=480, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, faces: Dataset) -> Path:
    """A network trained until it reads drawn faces, whose mouths carry the expression."""
    path = tmp_path_factory.mktemp("explain") / "run"
    network = {"name": "poster", "width": 8, "hidden": 32, "dropout": 0.2, "conv_batch_norm": True}
    settings = {
        "name": "drawn",
        "network": network,
        "augment": {"flip": 0.5},
        "optimizer": {"lr": 0.05},
        "fit": {"epochs": 12, "batch_size": 32, "ema_decay": 0.9, "threads": 1, "device": "cpu"},
    }
    fit(create_run(path, recipe_from_dict(settings), faces, path), faces)
    return path


def test_a_trained_network_looks_at_the_mouth(run: Path, faces: Dataset) -> None:
    model = RunExplainable.load(run)
    validation = faces.split("validation")
    answers = model.logits(validation.images_nhw).argmax(axis=1)
    right = np.flatnonzero(answers == validation.labels_n)
    assert len(right) > 0.75 * len(validation)
    done = explain(model, np.asarray(validation.images_nhw[right[:6]]), draws=1)
    drops = np.mean([np.maximum(face.maps[OCCLUSION], 0) for face in done.faces], axis=0)
    # The same area everywhere: the mouth's 16x16 pixels against each other tile of that size.
    tiles = drops.reshape(3, 16, 3, 16).mean(axis=(1, 3))
    assert tiles[2, 1] == tiles.max()
    assert tiles[2, 1] > 3 * np.delete(tiles.ravel(), 7).mean()
    assert done.sanity is not None
    assert done.sanity.passes(OCCLUSION)
    assert done.sanity.passes(GRAD_CAM)


def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mien")), "explain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_explains_a_run(run: Path, faces: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "drawn.png"
    write_image(path, np.repeat(faces.images_nhw[0][:, :, None], 3, axis=2))
    done = mien(run, path, "--faces", "whole", "--draws", 0, "--out", tmp_path / "o", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["model"] == "drawn"
    assert values["faces"][0]["source"] == str(path)
    assert values["sanity"] is None
    assert "the sanity check was skipped: the maps are not validated" in done.stderr
    with np.load(tmp_path / "o" / "maps.npz") as arrays:
        np.testing.assert_array_equal(arrays["crops_nhw"][0], faces.images_nhw[0])
    assert (tmp_path / "o" / "index.html").exists()
