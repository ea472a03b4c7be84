"""A newcomer's mistakes in calling the watch: the report names them, and blames nothing else."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mien import doctor
from mien.doctor.report import Report


def train(watch: Any, model: nn.Module, optimizer: Any, *, factor: float = 1.0) -> None:
    torch.manual_seed(1)
    x = torch.randn(240, 8)
    y = (x[:, 0] > 0).long()
    for rows in torch.randperm(240).split(16):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows]) * factor
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss, x[rows], y[rows])


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(8, 2)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def names(report: Report) -> set[str]:
    return {finding.name for finding in report.findings}


def test_a_watch_without_its_with_block_says_so_and_blames_no_optimiser() -> None:
    model, optimizer = parts()
    watch = doctor.watch(model, optimizer)
    train(watch, model, optimizer)
    report = watch.report()
    assert not {"optimizer-replaced", "optimizer-not-stepped"} & names(report)
    assert report.remarks[0].startswith("Watch.step was called outside of the watch's with block")


def test_steps_after_the_with_block_say_so_and_blame_no_optimiser() -> None:
    model, optimizer = parts()
    with doctor.watch(model, optimizer) as watch:
        pass
    train(watch, model, optimizer)
    report = watch.report()
    assert not {"optimizer-replaced", "optimizer-not-stepped"} & names(report)
    assert report.remarks[0].startswith("Watch.step was called outside of the watch's with block")


def test_a_watch_that_was_never_entered_has_no_finding() -> None:
    report = doctor.watch(*parts()).report()
    assert names(report) == set()
    assert any(r.startswith("the watch was never entered") for r in report.remarks)


def test_validating_without_a_model_is_a_note_and_ends_neither_loop_nor_report() -> None:
    model, optimizer = parts()
    swapped: Any = torch.randn(20, 8)
    with doctor.watch(model, optimizer) as watch:
        train(watch, model, optimizer)
        watch.validate(swapped, torch.zeros(20))
    assert "expected a torch.nn.Module or None, found Tensor" in watch.report().remarks[0]


def test_a_loss_that_is_nan_from_the_first_step_is_not_blamed_on_the_rate() -> None:
    model, optimizer = parts()
    with doctor.watch(model, optimizer) as watch:
        train(watch, model, optimizer, factor=math.nan)
    found = next(f for f in watch.report().findings if f.name == "diverged")
    assert "in step 1" in found.evidence
    assert found.remedy.startswith("The learning rate is not the cause")
