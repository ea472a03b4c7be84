"""Every network of the registry goes through the same checks."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from mien.errors import ConfigError
from mien.train.loop.freeze import freeze, set_training_mode
from mien.train.networks.activation import ACTIVATIONS
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import NETWORKS, Model, build_model, measure_cost
from mien.train.recipe.settings import FitConfig, NetworkConfig


def build(name: str, size: int = 48, classes: int = 3, **options: Any) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(name, mirror=bool(options.pop("mirror", False)), options=dict(options))
    return build_model(config, normalise=Normalise("image"), input_size=size, classes=classes)


@pytest.fixture(params=sorted(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(4, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 255


def test_forward_and_backward(name: str, pixels: torch.Tensor) -> None:
    model = build(name, classes=7)
    logits = model(pixels)
    assert logits.shape == (4, 7)
    logits.logsumexp(dim=1).sum().backward()
    # A residual branch whose scale starts at zero learns from the second step on.
    reached = [p.grad is not None for p in model.parameters()]
    assert all(reached)
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)


def test_same_seed_same_weights(name: str) -> None:
    first, second = build(name).state_dict(), build(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_each_face_is_answered_by_itself(name: str, pixels: torch.Tensor) -> None:
    model = build(name).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(pixels)[:1], model(pixels[:1]), atol=1e-5, rtol=1e-4)


def test_light_and_contrast_are_normalised_away(name: str, pixels: torch.Tensor) -> None:
    model = build(name).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model(pixels * 0.5 + 20), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [64, 45, 30, 8])
def test_other_sizes(name: str, size: int) -> None:
    assert build(name, size=size)(torch.zeros(2, 1, size, size)).shape == (2, 3)


def test_mirror_answers_a_face_and_its_mirror_image_alike(name: str, pixels: torch.Tensor) -> None:
    model = build(name, mirror=True).eval()
    plain = build(name).eval()
    with torch.no_grad():
        both = model(pixels)
        torch.testing.assert_close(both, model(pixels.flip(3)), atol=1e-5, rtol=1e-4)
        mean = (plain(pixels) + plain(pixels.flip(3))) / 2
        torch.testing.assert_close(both, mean, atol=1e-5, rtol=1e-4)


def test_small_is_small() -> None:
    assert measure_cost(build("small", classes=8), 48).parameters <= 1_200_000


def test_cost_by_hand() -> None:
    options: dict[str, Any] = {
        "width": 2,
        "depth": 1,
        "hidden": 4,
        "hidden_layers": 1,
        "batch_norm": False,
    }
    cost = measure_cost(build("poster", size=8, **options), 8)
    assert cost.parameters == (9 * 2 + 2) + (2 * 16 * 4 + 4) + (4 * 3 + 3)
    assert cost.multiply_adds == 9 * 2 * 64 + 2 * 16 * 4 + 4 * 3


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_poster_takes_any_activation(activation: str, pixels: torch.Tensor) -> None:
    model = build("poster", activation=activation, width=4, hidden=8)
    assert torch.isfinite(model(pixels)).all()


def test_every_part_of_the_poster_can_be_switched() -> None:
    kinds = lambda **o: [type(m).__name__ for m in build("poster", **o).modules()]  # noqa: E731
    default = kinds()
    assert {"Conv2d", "LeakyReLU", "MaxPool2d", "BatchNorm1d", "Dropout"} <= set(default)
    assert "Dropout" not in kinds(dropout=0.0)
    assert "BatchNorm1d" not in kinds(batch_norm=False)
    assert "BatchNorm2d" in kinds(conv_batch_norm=True)
    assert "ReLU" in kinds(activation="relu")
    assert kinds(depth=5).count("Conv2d") == 5
    assert kinds(hidden_layers=0).count("Linear") == 1


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (
            "poster",
            {"dropout": 1.0},
            "network.dropout: 1.0 is out of range, must be at least 0 and b",
        ),
        ("poster", {"width": 0}, "network.width: 0 is out of range 1 to 4096"),
        ("poster", {"hidden": 10**9}, "network.hidden: 1000000000 is out of range"),
        ("small", {"dropout": -1.0}, "network.dropout: -1.0 is out of range, must be at least 0"),
        ("small", {"widths": [16], "blocks": []}, "0 stages do not fit a crop"),
        ("poster", {"depth": 6}, "network.depth: 6 blocks do not fit a crop of 48"),
        (
            "poster",
            {"activation": "rellu"},
            "network.activation: .rellu. is not one of",
        ),
        ("small", {"widths": [8, 16]}, r"network.widths: \[8, 16\] has 2 values, must have 4"),
        ("small", {"blocks": [1, 0, 1]}, "network.blocks: 0 is out of range, must be above 0"),
        ("small", {"stem_kernel": 4}, "network.stem_kernel: 4 is not odd"),
        ("small", {"stem_stride": 3}, "network.stem_stride: 3 is not one of 1, 2"),
        ("smal", {}, "no network is called 'smal'"),
    ],
)
def test_mistakes(network: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(network, **options)


@pytest.mark.parametrize("trainable", ["head", "last_stage"])
def test_frozen_parts_keep_weights_and_statistics(
    name: str, trainable: Literal["head", "last_stage"], pixels: torch.Tensor
) -> None:
    # Batch normalisation in the poster's network is an option.
    options = {"conv_batch_norm": True} if name == "poster" else {}
    model = build(name, **options)
    fit = FitConfig(trainable=trainable, init_from="mien-small")
    freeze(model, fit)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        set_training_mode(model, fit)
        model(pixels).logsumexp(dim=1).sum().backward()
        optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    trained = {id(m) for root in parts_of(model, trainable) for m in root.modules()}
    allowed = {
        f"{path}.{key}"
        for path, module in model.named_modules() if id(module) in trained
        for key in module.state_dict()
    }  # fmt: skip
    head = next(n for n, m in model.named_modules() if m is model.body.classifier())
    assert f"{head}.weight" in changed <= allowed
    assert (len(changed) > 2) == (trainable == "last_stage")


def parts_of(model: Model, trainable: str) -> list[torch.nn.Module]:
    body = model.body
    return [body.classifier()] if trainable == "head" else body.last_stage()
