"""A newcomer's mistakes in calling the watch: the report names them, and blames nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from mien import doctor
from mien.doctor.programs import supply
from mien.doctor.report import Report
from mien.errors import ConfigError


def train(
    watch: Any, model: nn.Module, optimizer: Any, *, factor: float = 1.0, when: str = "after",
    given: bool = True,
) -> None:  # fmt: skip
    """Train, with `Watch.step` after the optimiser's step, before it, or before the backward."""
    torch.manual_seed(1)
    x = torch.randn(240, 8)
    y = (x[:, 0] > 0).long()
    for rows in torch.randperm(240).split(16):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows]) * factor
        optimizer.zero_grad()
        for name in ("backward", "before", "after"):
            if name == when:
                watch.step(loss if given else None, x[rows], y[rows])
            if name == "backward":
                loss.backward()
            if name == "before":
                optimizer.step()


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


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("backward", "Watch.step was called before loss.backward() and optimizer.step() in 13 of"),
        ("before", "Watch.step was called before optimizer.step() in 13 of"),
        ("after", ""),
    ],
)
def test_a_step_recorded_too_early_is_a_note_and_nothing_is_computed_from_it(
    when: str, text: str
) -> None:
    model, optimizer = parts()
    with doctor.watch(model, optimizer, loss=nn.CrossEntropyLoss(), every=1) as watch:
        train(watch, model, optimizer, when=when)
    remarks = watch.report().remarks
    assert [r[: len(text)] for r in remarks] == ([text] if text else [])
    rows = watch.rows[1:]  # the first is measured from the watch's start
    known = sum(row.change is not None and row.carried is not None for row in rows)
    assert known == (0 if text else len(rows))


def test_a_closure_an_opponent_and_a_step_before_the_loop_are_no_wrong_order() -> None:
    model, _ = parts()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    x = torch.randn(64, 8)
    y = (x[:, 0] > 0).long()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with doctor.watch(model, optimizer, every=1) as watch:
        for _ in range(4):
            watch.step(optimizer.step(closure), x, y)
    assert len(watch.rows) == 4
    assert watch.report().remarks == ()
    critic = nn.Linear(2, 1)
    both = [torch.optim.SGD(m.parameters(), lr=1e-3) for m in (model, critic)]
    both[0].step()
    with doctor.watch(model, both, every=1) as watch:
        for _ in range(6):
            with torch.no_grad():
                made = model(x)
            both[1].zero_grad()
            critic(made).mean().backward()
            both[1].step()
            both[0].zero_grad()
            loss = critic(model(x)).mean()
            loss.backward()
            both[0].step()
            watch.step(loss, x, y)
    assert not any("was called before" in remark for remark in watch.report().remarks)


class Listed(nn.Module):
    """Holds its only layer where PyTorch does not find it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(8, 2)]

    def forward(self, x: torch.Tensor) -> Any:
        return self.layers[0](x)


def test_a_model_or_an_optimiser_without_parameters_is_refused() -> None:
    model, optimizer = parts()
    with pytest.raises(ConfigError, match="model: ReLU has no parameters, so there is nothing"):
        doctor.watch(nn.ReLU(), optimizer)
    with pytest.raises(ConfigError, match="optimizer: expected .* found a list without any"):
        doctor.watch(model, [])
    with pytest.raises(ConfigError, match="optimizer: SGD holds no parameters"):
        doctor.watch(model, torch.optim.SGD([{"params": []}], lr=0.1))
    # One of several may hold none, such as Muon's in a network without matrices.
    doctor.watch(model, [optimizer, torch.optim.SGD([{"params": []}], lr=0.1)])
    listed = Listed()
    held = torch.optim.SGD(listed.layers[0].parameters(), lr=0.1)
    with doctor.watch(listed, held) as watch:
        train(watch, listed, held)
    assert "unregistered-parameters" in names(watch.report())


def test_an_optimiser_given_twice_counts_once() -> None:
    model, optimizer = parts()
    with doctor.watch(model, [optimizer, optimizer]) as watch:
        train(watch, model, optimizer)
    assert "parameters-in-two-optimizers" not in names(watch.report())
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    with doctor.watch(model, [optimizer, other]) as watch:
        train(watch, model, optimizer)
    assert "parameters-in-two-optimizers" in names(watch.report())


def test_a_loop_that_never_calls_step_is_not_said_to_be_sound() -> None:
    model, optimizer = parts()
    with doctor.watch(model, optimizer) as watch:
        train(watch, model, optimizer, when="never")
        watch.validate(model, torch.randn(40, 8), torch.zeros(40, dtype=torch.long))
    report = watch.report()
    assert report.findings == ()
    assert report.verdict.startswith("nothing could be judged; ")
    assert report.verdict.endswith("rules could not judge this training: no step was recorded")
    assert report.remarks[0].startswith("Watch.step was never called")


def test_a_loop_without_losses_is_not_said_to_have_no_epoch() -> None:
    model, optimizer = parts()
    reasons = []
    for validates in (True, False):
        with doctor.watch(model, optimizer) as watch:
            train(watch, model, optimizer, given=False)
            if validates:
                watch.validate(model, torch.randn(40, 8), torch.zeros(40, dtype=torch.long))
        report = watch.report()
        assert report.remarks == ("Watch.step got no loss: what needs losses was not judged",)
        reasons.append(report.not_judged["overfitting"])
    assert reasons == ["the loss of no validation was known", "Watch.validate was never called"]


def test_a_report_that_fails_is_a_remark_and_ends_no_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, optimizer = parts()
    with doctor.watch(model, optimizer) as watch:
        train(watch, model, optimizer)
    monkeypatch.setattr(supply, "gather", dict[str, Any]().__getitem__)
    report = watch.report()
    assert report.verdict == "nothing could be judged"
    assert report.remarks[-1].startswith("the report failed after 15 steps and was stopped: Key")
    monkeypatch.undo()
    optimizer.param_groups.clear()
    assert watch.report().verdict != report.verdict
