"""The contract of every registered network, optimizer, schedule and activation."""

from __future__ import annotations

import copy
import logging
import warnings
from itertools import pairwise
from typing import get_args, get_type_hints

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mien.train.loop.optimizer import OPTIMIZERS, SCHEDULES, learning_rate, make_optimizer
from mien.train.networks.activation import ACTIVATIONS, ActivationName, make_activation
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import NETWORKS, Model, build_model, measure_cost
from mien.train.recipe.settings import NetworkConfig, OptimizerConfig, ScheduleConfig

LIMITS = {"tiny": 150_000, "small": 1_200_000, "base": 1_200_000, "large": 12_000_000}
"""Maximum parameters, as the registry's descriptions and the documentation state them."""


def built(name: str, *, align: int = 0, mirror: bool = False) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(name, align=align, mirror=mirror)
    return build_model(config, normalise=Normalise("image"), input_size=48, classes=8)


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> tuple[str, Model]:
    """Each network at its default options, with alignment and mirroring, in evaluation mode."""
    return request.param, built(request.param, align=4, mirror=True).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Six crops, float32 [6, 1, 48, 48], whole numbers from 0 to 255."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (6, 1, 48, 48), generator=generator).float()


class FromBytes(nn.Module):
    """Takes uint8 pixels, as every exported model does."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(pixels.float())
        return logits


def test_a_network_returns_one_float32_row_of_logits_per_crop(
    network: tuple[str, Model], pixels: torch.Tensor
) -> None:
    name, model = network
    with torch.no_grad():
        logits, none = model(pixels), model(pixels[:0])
    assert logits.dtype == torch.float32
    assert logits.shape == (6, 8)
    assert none.shape == (0, 8)
    assert torch.isfinite(logits).all()
    assert logits.std(dim=0).min() > 0  # each logit depends on the crop
    if name in LIMITS:
        assert measure_cost(built(name), 48).parameters <= LIMITS[name]


def test_a_network_is_deterministic_in_evaluation(
    network: tuple[str, Model], pixels: torch.Tensor
) -> None:
    _, model = network
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        first = model(pixels)
        torch.manual_seed(123)
        second = model(pixels)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_network_exports_to_onnx(network: tuple[str, Model], pixels: torch.Tensor) -> None:
    name, model = network
    crops = pixels.to(torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            FromBytes(model).eval(), (crops[:2],), input_names=["pixels"],
            dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("n")},), opset_version=20,
        )  # fmt: skip
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (found,) = session.run(None, {"pixels": crops.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, model(pixels).numpy(), atol=1e-3, err_msg=name)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_an_optimizer_reduces_the_loss_and_resumes(name: str, pixels: torch.Tensor) -> None:
    config = OptimizerConfig(name, lr=0.002)  # type: ignore[arg-type]
    targets = torch.arange(6)

    def train(model: Model, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(pixels), targets)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    model = built("tiny").train()
    optimizer = make_optimizer(model, config)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))
    decayed = [p for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]]
    assert {p.ndim > 1 for p in decayed} == {True}
    losses = train(model, optimizer, 12)
    assert losses[-1] < losses[0]
    # A copy of weights and optimizer state takes the same next steps.
    other = copy.deepcopy(model)
    resumed = make_optimizer(other, config)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(model, optimizer, 2) == train(other, resumed, 2)


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("warmup", [0.0, 1.5])
def test_a_schedule_warms_up_to_the_peak_and_never_exceeds_it(name: str, warmup: float) -> None:
    config = ScheduleConfig(name, warmup_epochs=warmup, final=0.1)  # type: ignore[arg-type]
    rates = [learning_rate(step, 10, 8, 0.5, config) for step in range(80)]
    top = round(warmup * 10)
    assert all(0 < rate <= 0.5 for rate in rates)
    assert rates[top] == 0.5
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    end = {"constant": 0.5, "step": 0.005}.get(name, 0.05)
    assert learning_rate(80, 10, 8, 0.5, config) == pytest.approx(end)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_keeps_shape_and_type_and_is_new_each_time(name: str) -> None:
    values = torch.linspace(-3, 3, 12).reshape(2, 3, 2)
    activated = make_activation(name)(values.clone())
    assert (activated.shape, activated.dtype) == (values.shape, torch.float32)
    assert torch.isfinite(activated).all()
    assert not torch.equal(activated, values)
    assert make_activation(name) is not make_activation(name)


def test_settings_allow_exactly_what_is_registered() -> None:
    assert set(get_args(get_type_hints(OptimizerConfig)["name"])) == set(OPTIMIZERS)
    assert set(get_args(get_type_hints(ScheduleConfig)["name"])) == set(SCHEDULES)
    assert set(get_args(ActivationName)) == set(ACTIVATIONS)
    assert NetworkConfig().name in NETWORKS
