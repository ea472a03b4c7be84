from __future__ import annotations

import gc
import json
import math
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mien import doctor
from mien.errors import ConfigError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def data(n: int = 240, k: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    y = rng.integers(k, size=n)
    x = rng.normal(size=(n, 8)) + 2 * np.eye(8)[y]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def network(last: nn.Module | None = None) -> nn.Module:
    parts = [nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)]
    return nn.Sequential(*parts, *([last] if last else []))


def train(
    model: nn.Module, *, watched: bool = True, epochs: int = 4, zero: bool = True, loss: Any = None,
    every: int | None = 2, shuffle: bool = True,
) -> doctor.Report | None:  # fmt: skip
    x, y = data()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    watch = doctor.watch(model, optimizer, loss=loss, every=every)
    if watched:
        watch.__enter__()
    for _ in range(epochs):
        order = torch.randperm(180) if shuffle else torch.argsort(y[:180], stable=True)
        for rows in order.split(16):
            if zero:
                optimizer.zero_grad()
            value = criterion(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            if watched:
                watch.step(value, x[rows], y[rows])
        if watched:
            watch.validate(model, x[180:], y[180:])
    report = watch.report() if watched else None
    watch.close()
    return report


def names(report: doctor.Report | None) -> set[str]:
    assert report is not None
    return {finding.name for finding in report.findings}


@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss()])
def test_a_watched_training_is_the_unwatched_one_bit_for_bit(loss: Any) -> None:
    states = []
    for watched in (False, True):
        torch.manual_seed(3)
        np.random.seed(3)
        model = network()
        train(model, watched=watched, loss=loss, every=1)
        legacy: Any = np.random.get_state()
        state: Any = (model.state_dict(), torch.get_rng_state(), legacy[1])
        states.append(state)
    plain, seen = states
    assert all(torch.equal(plain[0][name], seen[0][name]) for name in plain[0])
    assert torch.equal(plain[1], seen[1])
    assert np.array_equal(plain[2], seen[2])


def test_a_sound_training_has_no_finding() -> None:
    torch.manual_seed(0)
    report = train(network())
    assert names(report) == set()
    assert report is not None
    assert str(report).startswith("doctor: nothing found; 1 of ")
    assert "fewer than 30 validation examples of class 0" in str(report)
    assert not report.fails("warning")


def test_a_report_is_json_and_html(tmp_path: Path) -> None:
    torch.manual_seed(0)
    report = train(network(nn.Softmax(dim=1)))
    assert names(report) == {"loss-activation-mismatch"}
    assert report is not None
    assert report.fails("error")
    (found,) = json.loads(report.to_json())["findings"]
    assert (found["severity"], found["confidence"]) == ("serious", "high")
    report.save_html(str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>The softmax is applied twice" in page
    assert "data:image/png" in page
    assert "loss-activation-mismatch" in report._repr_html_()
    for level in ("serious", ["error"]):
        with pytest.raises(ConfigError, match="neither 'error' nor 'warning'"):
            report.fails(level)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="path: expected a path, found NoneType"):
        report.save_html(None)  # type: ignore[arg-type]


def test_most_steps_have_no_hook_on_the_optimiser() -> None:
    torch.manual_seed(0)
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    hooks, steps = 0, 300
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss()) as watch:
        for number in range(steps):
            rows = torch.arange(16) + number % 200
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(x[rows]), y[rows])
            value.backward()
            hooks += bool(optimizer._optimizer_step_pre_hooks)
            optimizer.step()
            watch.step(value, x[rows], y[rows])
        measured = len(watch.rows)
    # Each measurement needs two steps with hooks: the one before it shows that the optimiser steps.
    assert 0 < measured <= hooks <= 2 * measured + 2 < steps
    assert not optimizer._optimizer_step_pre_hooks
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_forward_passes_are_observed_until_the_mode_of_evaluations_is_known() -> None:
    x, y = data()
    model, criterion = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    observed = []
    with doctor.watch(model, optimizer) as watch:
        for _ in range(6):
            for rows in torch.arange(180).split(9):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
                observed.append(bool(model._forward_pre_hooks))
            with torch.no_grad():  # still in training mode
                for rows in torch.arange(180, 240).split(20):
                    model(x[rows])
        names = [finding.name for finding in watch.report().findings]
    assert all(observed[:60])  # the first three evaluations
    # Then around measured steps only, of which the budget allows few in so short a training.
    assert sum(observed[80:]) < 20
    assert watch.evaluations >= 7  # three batches of each of two, and the first of the third
    assert "evaluated-in-train-mode" in names
    assert not model._forward_pre_hooks


def test_validation_beyond_the_budget_is_evaluated_at_growing_distances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss(), every=1) as watch:
        for epoch in range(40):
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(x[:32]), y[:32])
            value.backward()
            optimizer.step()
            watch.step(value, x[:32], y[:32])
            monkeypatch.setattr(watch, "_validation_left", lambda now, left=epoch < 2: float(left))
            watch.validate(model, x[180:], y[180:])
        counts = [score.n for score in watch.validation.epochs]
    assert counts[:2] == [60, 60]
    assert [n > 0 for n in counts[:11]] == [True] * 8 + [False] * 2 + [True]
    assert 12 < sum(n > 0 for n in counts) < 20
    assert len(watch.boundaries) == 40


def test_forgotten_zero_grad_is_found() -> None:
    torch.manual_seed(0)
    assert "gradients-accumulate" in names(train(network(), zero=False))


def test_unshuffled_data_are_found() -> None:
    torch.manual_seed(0)
    assert "data-not-shuffled" in names(train(network(), shuffle=False))


def test_gradient_accumulation_is_no_forgotten_zero_grad() -> None:
    torch.manual_seed(0)
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer, every=1) as watch:
        for number, rows in enumerate(torch.randperm(240).split(10)):
            value = nn.functional.cross_entropy(model(x[rows]), y[rows])
            value.backward()
            if number % 2:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
                watch.step(value, x[rows], y[rows])
        assert "gradients-accumulate" not in names(watch.report())


def test_several_optimisers_hold_the_parameters_together() -> None:
    torch.manual_seed(0)
    x, y = data()
    model = network()
    halves = list(model.parameters())
    optimizers = [torch.optim.SGD(halves[:2], 0.05), torch.optim.Adam(halves[2:], 5e-3)]
    with doctor.watch(model, optimizers, loss=nn.CrossEntropyLoss(), every=3) as watch:
        for _ in range(4):
            for rows in torch.randperm(180).split(16):
                value = nn.functional.cross_entropy(model(x[rows]), y[rows])
                for optimizer in optimizers:
                    optimizer.zero_grad()
                value.backward()
                for optimizer in optimizers:
                    optimizer.step()
                watch.step(value, x[rows], y[rows])
            watch.validate(model, x[180:], y[180:])
        assert names(watch.report()) == set()
    with doctor.watch(model, optimizers[1], every=1) as watch:
        for rows in torch.arange(180).split(30):
            value = nn.functional.cross_entropy(model(x[rows]), y[rows])
            value.backward()
            optimizers[1].step()
            watch.step(value, x[rows], y[rows])
            optimizers[1].zero_grad()
        assert "parameters-not-optimized" in names(watch.report())


def test_a_loss_of_none_is_reported_without_a_loss() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer) as watch:
        for rows in torch.randperm(240).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            watch.step(None, x[rows], y[rows])
        report = watch.report()
    assert "diverged" not in names(report)
    assert "losses" in report.not_judged["diverged"] or "loss" in report.not_judged["diverged"]


@pytest.mark.parametrize("records", [0, 12])
def test_a_loop_that_never_steps_says_so(records: int) -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(records):
            value = nn.functional.cross_entropy(model(x), y)
            watch.step(value, x, y)
        assert "optimizer-not-stepped" in names(watch.report())


def test_a_loop_that_never_calls_step_keeps_one_batch_only() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    kept = []
    with doctor.watch(model, optimizer):
        for _ in range(5):
            batch = torch.randn(16, 8)
            model(batch).sum().backward()
            kept.append(weakref.ref(batch))
            del batch
        gc.collect()
        assert sum(reference() is not None for reference in kept) <= 1


def test_nan_from_the_first_step_is_explained_by_the_inputs() -> None:
    x, y = data()
    x[::3] = math.nan
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss()) as watch:
        for rows in torch.arange(240).split(16):
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            watch.step(value, x[rows], y[rows])
        watch.validate(model, x, y)
        report = watch.report()
    assert "nonfinite-inputs" in names(report)
    assert isinstance(report.to_json(), str)


def test_parallel_models_are_watched() -> None:
    torch.manual_seed(0)
    model = nn.DataParallel(network())
    assert names(train(model)) == set()


def test_compiled_models_are_watched() -> None:
    torch.manual_seed(0)
    model: Any = torch.compile(network(), backend="eager")
    assert names(train(model, epochs=2)) <= {"underfitting"}


def test_wrong_arguments_are_named() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with pytest.raises(ConfigError, match="model: expected a torch.nn.Module, found int"):
        doctor.watch(3, optimizer)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="optimizer: expected a torch.optim.Optimizer, found str"):
        doctor.watch(model, ["adam"])  # type: ignore[list-item]
    theirs = type("Adam", (), {"__module__": "keras.src.optimizers.adam"})()
    with pytest.raises(ConfigError, match="found Adam") as caught:
        doctor.watch(model, theirs)
    assert "Keras" in caught.value.hint
    with pytest.raises(ConfigError, match="loss: expected a criterion"):
        doctor.watch(model, optimizer, loss=torch.tensor(1.0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="every: 0 is out of range"):
        doctor.watch(model, optimizer, every=0)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, mien.doctor; from mien import doctor; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_public_names_are_documented() -> None:
    text = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    for name in doctor.__all__:
        assert re.search(rf"`{name}\b", text), name
    assert dir(doctor) == sorted(doctor.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = doctor.nothing


def test_the_example_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    section = text.split("## Any PyTorch training", 1)[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    exec(code.group(1), {})  # noqa: S102 - the documentation's own example
    assert "loss-activation-mismatch serious" in capsys.readouterr().out


def test_targets_are_kept_until_an_order_that_comes_again_shows() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(140, 2, 8), torch.randint(3, (140, 2))
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss()) as watch:
        watch.validate(model, x[0], y[0])  # before the first step: no epoch has ended
        for _ in range(3):
            for inputs, targets in zip(x, y, strict=True):
                optimizer.zero_grad()
                value = nn.functional.cross_entropy(model(inputs), targets)
                value.backward()
                optimizer.step()
                watch.step(value, inputs, targets)
            watch.validate(model, x[0], y[0])
    assert len(watch.order.batches) == 140 + 16
    assert watch.order.epoch_length() == 140
