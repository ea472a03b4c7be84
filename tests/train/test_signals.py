from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mien.data.dataset import Dataset
from mien.doctor.replay import is_reproducible, replayed_digest
from mien.train.loop import fit as fit_module
from mien.train.loop.fit import fit
from mien.train.loop.signals import (
    POINTS,
    EpochSignals,
    Recorder,
    _extremes,
    condense,
    stride_for,
)
from tests.train.test_fit import start, weights


class Quadratic(nn.Module):
    """Half of w squared: the predicted loss reduction is exactly known."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[3.0, -2.0]]))

    def forward(self) -> torch.Tensor:
        return 0.5 * self.w.square().sum()


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0, 2.0, 3.0])
def test_the_gain_ratio_of_a_quadratic_is_one_minus_half_the_rate(rate: float) -> None:
    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), rate)
    recorder = Recorder(1, stride=1)
    assert recorder.prepare(0, torch.device("cpu"))
    loss = model()
    loss.backward()
    recorder.step_and_measure(model, optimizer, model.forward, loss.item())
    signals = recorder.signals()
    assert signals.gain == pytest.approx(1 - rate / 2, abs=1e-4)
    assert signals.worse == (1.0 if rate > 2 else 0.0)
    assert signals.layers["w"].update == pytest.approx(rate, rel=1e-4)
    assert signals.layers["w"].gradient == pytest.approx(np.sqrt(13 / 2), rel=1e-4)
    assert signals.gradient_norm == pytest.approx(np.sqrt(13), rel=1e-4)


def test_measuring_does_not_change_the_training(
    tmp_path: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "network": {"conv_batch_norm": True, "dropout": 0.5},
        "fit": {"epochs": 2},
    }
    closely = start(tmp_path / "closely", drawn, **changes)
    never = start(tmp_path / "never", drawn, **changes)
    monkeypatch.setattr(fit_module, "stride_for", lambda steps: 1)
    fit(closely, drawn)
    monkeypatch.setattr(fit_module, "stride_for", lambda steps: 10**9)
    fit(never, drawn)
    assert all(e.measured > 5 for e in closely.read_signals())
    assert not any(e.measured for e in never.read_signals())
    ours, theirs = weights(closely), weights(never)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_units_with_constant_output_are_counted() -> None:
    convolution = nn.Conv2d(1, 4, 3)
    torch.nn.init.constant_(convolution.weight, 0.1)
    model = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        assert convolution.bias is not None
        convolution.bias[:3] = -1e3
    x = torch.rand(8, 1, 4, 4)
    recorder = Recorder(1, stride=1)
    recorder.prepare(0, torch.device("cpu"))
    loss = model(x).square().mean()
    loss.backward()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    recorder.step_and_measure(model, optimizer, lambda: model(x).square().mean(), loss.item())
    assert recorder.signals().stuck["1"] == 0.75


@pytest.mark.parametrize("shape", [(8, 5), (8, 5, 7), (8, 5, 6, 4)])
def test_extremes_are_each_units_whatever_lies_where_in_memory(shape: tuple[int, ...]) -> None:
    output = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    flat = output.transpose(0, 1).reshape(5, -1)
    layouts = [output]
    if len(shape) == 4:
        layouts.append(output.contiguous(memory_format=torch.channels_last))
    for each in layouts:
        low, high = _extremes(each)
        assert torch.equal(low, flat.min(dim=1).values)
        assert torch.equal(high, flat.max(dim=1).values)


def test_signals_are_kept_for_each_epoch_and_survive_json(tmp_path: Path, drawn: Dataset) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 2})
    state = fit(run, drawn)
    read = run.read_signals()
    assert read == state.signals
    assert [e.epoch for e in read] == [1, 2]
    assert len(read[0].digest) == 16
    assert read[1].digest == ""
    assert EpochSignals.from_dict(read[0].to_dict()) == read[0]


def test_losses_are_condensed_and_infinite_ones_left_out() -> None:
    means, peaks = condense([1.0] * 100 + [9.0] + [float("nan")])
    assert len(means) == len(peaks) == POINTS
    assert peaks[-1] == 9.0
    assert max(means) < 9.0
    assert condense([]) == ((), ())


def test_long_trainings_measure_one_step_in_twentyeight_and_short_ones_more() -> None:
    assert stride_for(100_000) == 28
    assert stride_for(300) == 20
    assert stride_for(600) == 25
    assert stride_for(10) == 20


def test_a_training_repeats_bit_for_bit_and_a_changed_one_does_not(
    tmp_path: Path, drawn: Dataset
) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 1})
    fit(run, drawn)
    before = torch.get_rng_state()
    assert is_reproducible(run, drawn) is True
    assert torch.equal(before, torch.get_rng_state())
    images = np.array(drawn.images_nhw)
    images[:, :4] = 0
    assert is_reproducible(run, replace(drawn, images_nhw=images)) is False
    assert replayed_digest(run, drawn) == run.read_signals()[0].digest


def test_whether_another_machine_s_training_repeats_is_not_claimed(
    tmp_path: Path, drawn: Dataset
) -> None:
    run = start(tmp_path / "run", drawn, fit={"epochs": 1})
    fit(run, drawn)
    config = run.path / "config.json"
    config.write_text(config.read_text().replace(torch.__version__, "0.0"))
    assert is_reproducible(run, drawn) is None
