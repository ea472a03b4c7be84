"""Outputs and targets that broadcast in the loss, and shapes that a loss takes rightly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.programs.broadcast import broadcast_of
from mien.doctor.programs.program import Broadcast

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")
Loss = Callable[[Tensor, Tensor], Tensor]


def own(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


def own_binary(outputs: Tensor, targets: Tensor) -> Tensor:
    return -(targets * functional.logsigmoid(outputs)
             + (1 - targets) * functional.logsigmoid(-outputs)).mean()  # fmt: skip


def own_flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return own(outputs.flatten(), targets.flatten())


def pinball(outputs: Tensor, targets: Tensor) -> Tensor:
    """Quantile regression: one target for three outputs."""
    error = targets - outputs
    levels = torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def set_to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def targets_of(x: Tensor, kind: str) -> Tensor:
    y = x[:, 0] + torch.sin(2 * x[:, 1])
    if kind == "binary":
        return (y > 0).float()
    if kind == "classes":
        return (y > 0).long()
    return (y - y.mean()) / y.std()


def watched(
    model: nn.Module, criterion: Loss, y: Tensor, x: Tensor, *, loss: Loss | None = None,
    given: bool = True, rate: float = 5e-3,
) -> doctor.Watch:  # fmt: skip
    """Train 4 epochs; the loop computes `loss`, the watch is told `criterion`."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    told = criterion if given else None
    with doctor.watch(model, optimizer, loss=told, every=4) as watch:
        for _ in range(4):
            for rows in torch.randperm(len(x)).split(16):
                value = (loss or criterion)(model(x[rows]), y[rows])
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                watch.step(value, x[rows], y[rows])
    return watch


def found(
    units: int, criterion: Loss, y: Tensor, x: Tensor, last: nn.Module | None = None, **options: Any
) -> Broadcast | None:
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, units))
    return broadcast_of(
        watched(nn.Sequential(model, last or nn.Identity()), criterion, y, x, **options)
    )


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(256, 8)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    ("criterion", "kind"),
    [
        (nn.MSELoss(), "values"),
        (nn.MSELoss(reduction="sum"), "values"),
        (nn.L1Loss(), "values"),
        (nn.HuberLoss(), "values"),
        (own, "values"),
        (own_binary, "binary"),
    ],
)
def test_targets_without_the_outputs_column(
    x: Tensor, criterion: Loss, kind: str, given: bool
) -> None:
    result = found(1, criterion, targets_of(x, kind), x, given=given)
    if criterion is own_binary and not given:
        assert result is None  # no function of PyTorch's gives its loss
        return
    assert result is not None
    assert (result.outputs, result.targets, result.result) == ((16, 1), (16,), (16, 16))
    assert result.loss != result.equal_loss
    assert (result.steps, result.is_reproduced) == (0, True)


def test_a_loss_that_cannot_be_computed_again_is_judged_by_its_lower_bound(x: Tensor) -> None:
    def penalised(outputs: Tensor, targets: Tensor) -> Tensor:
        return own(outputs, targets) + 0.01 * outputs.abs().mean()

    result = found(1, nn.MSELoss(), targets_of(x, "values"), x, loss=penalised)
    assert result is not None
    assert result.result == (16, 16)
    assert (result.steps, result.is_reproduced) == (32, False)
    with_columns = targets_of(x, "values")[:, None]
    assert found(1, nn.MSELoss(), with_columns, x, loss=penalised) is None


@pytest.mark.parametrize("criterion", [nn.MSELoss(), own])
def test_a_training_of_a_few_steps_suffices(x: Tensor, criterion: Loss) -> None:
    few = x[:64]  # 16 steps
    assert found(1, criterion, targets_of(few, "values"), few) is not None
    assert found(1, criterion, targets_of(few, "values")[:, None], few) is None


def test_outputs_without_the_targets_column(x: Tensor) -> None:
    result = found(1, own, targets_of(x, "values")[:, None], x, nn.Flatten(0))
    assert result is not None
    assert (result.outputs, result.targets, result.result) == ((16,), (16, 1), (16, 16))


def test_masks_without_the_outputs_channel() -> None:
    torch.manual_seed(0)
    images = torch.randn(256, 1, 4, 4)
    model = nn.Conv2d(1, 1, 3, padding=1)
    masks = (images[:, 0] > 0).float()
    result = broadcast_of(watched(model, own_binary, masks, images))
    assert result is not None
    assert result.result == (16, 16, 4, 4)
    assert (result.steps, result.is_reproduced) == (0, True)
    assert broadcast_of(watched(model, own_binary, masks[:, None], images)) is None
    zero = nn.Conv2d(1, 1, 3, padding=1)
    set_to_zero(zero)
    sound = watched(zero, own_binary, masks, images, loss=lambda p, y: own_binary(p[:, 0], y),
                    rate=0.1)  # fmt: skip
    assert broadcast_of(sound) is None


@pytest.mark.parametrize(
    ("units", "criterion", "kind", "options"),
    [
        (2, nn.CrossEntropyLoss(), "classes", {}),
        (16, nn.CrossEntropyLoss(), "classes", {}),  # as many outputs as examples
        (1, own_flat, "values", {}),
        (1, nn.MSELoss(), "values", {"loss": lambda p, y: own(p.squeeze(1), y)}),
        (1, own, "values", {"loss": lambda p, y: own(p.squeeze(1), y)}),
        # A term that the criterion does not hold: the loss cannot be computed again.
        (1, nn.MSELoss(), "values", {"loss": lambda p, y: own(p[:, 0], y) + 0.01 * p.abs().mean()}),
        (1, nn.BCEWithLogitsLoss(), "binary",
         {"loss": lambda p, y: functional.binary_cross_entropy_with_logits(p[:, 0], y)}),
    ],
)  # fmt: skip
def test_shapes_that_the_loss_takes(
    x: Tensor, units: int, criterion: Loss, kind: str, options: Any
) -> None:
    assert found(units, criterion, targets_of(x, kind), x, **options) is None


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.L1Loss(), own])
def test_columns_of_targets_fit_columns_of_outputs(x: Tensor, criterion: Loss) -> None:
    assert found(1, criterion, targets_of(x, "values")[:, None], x) is None
    # Broadcast on purpose: one target for three quantiles, and no larger shape than the outputs'.
    assert found(3, pinball, targets_of(x, "values")[:, None], x) is None


def test_a_network_that_starts_at_zero_is_not_taken_for_it(x: Tensor) -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    set_to_zero(model[2])
    # Before its first step all outputs are equal, and either shape gives the same loss.
    watch = watched(model, own, targets_of(x, "values"), x, loss=lambda p, y: own(p[:, 0], y))
    assert broadcast_of(watch) is None


@pytest.mark.parametrize("criterion", [nn.MSELoss(), own])
def test_the_finding_is_the_only_one(x: Tensor, criterion: Loss) -> None:
    y = targets_of(x, "values")
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    report = watched(model, criterion, y, x, rate=2e-2).report()
    assert [finding.name for finding in report.findings] == ["targets-broadcast"]
    result = report.findings[0]
    assert result.severity == "serious"
    assert "(16, 1)" in result.evidence
    assert "(16, 16)" in result.evidence
    assert "unsqueeze(1)" in result.remedy


def test_its_sound_twin_has_no_finding(x: Tensor) -> None:
    y = targets_of(x, "values")[:, None]
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    names = {f.name for f in watched(model, nn.MSELoss(), y, x).report().findings}
    assert "targets-broadcast" not in names
