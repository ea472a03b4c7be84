"""The first line of a report: what was found, and how much of it could be judged."""

from __future__ import annotations

import json

import torch
from tests.doctor.faults import FAULTS, healthy
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose

WHY = {"class-recall": "no classes", "label-noise": "no classes", "dead-units": "no activation"}
SAID = "3 of 84 rules could not judge this training: no classes (2 of them), and 1 other reason"


def test_every_form_says_first_what_could_not_be_judged() -> None:
    report = doctor.Report("title", (), not_judged=WHY, rules=84)
    assert str(report) == f"doctor: nothing found; {SAID}"
    assert json.loads(report.to_json())["verdict"] == f"nothing found; {SAID}"
    assert f"Nothing found; {SAID}." in report._repr_html_()
    assert f"Nothing found; {SAID}." in report.to_html()


def test_findings_do_not_hide_it() -> None:
    findings = tuple(diagnose(healthy(**FAULTS["diverged"])))
    report = doctor.Report("title", findings, not_judged=WHY, rules=84)
    assert str(report).splitlines()[0] == f"doctor: 1 finding; {SAID}"
    assert f"1 finding; {SAID}." in report._repr_html_()
    page = report.to_html()
    assert page.index(SAID) < page.index("<h2>The training diverged")


def test_where_all_rules_judged_there_is_nothing_to_add() -> None:
    assert str(doctor.Report("title", (), rules=84)) == "doctor: nothing found"
    one = doctor.Report("title", (), not_judged={"dead-units": "no activation"})
    assert one.verdict == "nothing found; 1 rule could not judge this training: no activation"


def test_a_task_that_is_not_recognised_is_said_to_be_so() -> None:
    torch.manual_seed(0)
    x = torch.randn(128, 6)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def quantiles(p: Tensor, t: Tensor) -> Tensor:
        q = torch.tensor([0.1, 0.5, 0.9])
        return torch.maximum(q * (t - p), (q - 1) * (t - p)).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer, loss=quantiles) as watch:
        for _ in range(6):
            for rows in torch.randperm(128).split(16):
                optimizer.zero_grad()
                loss = quantiles(model(x[rows]), x[rows, :1])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], x[rows, :1])
    report = watch.report()
    assert report.facts["task"] == "other"
    assert report.findings == ()
    assert "rules could not judge this training: the task is 'other'" in report.verdict
    assert report.rules > len(report.not_judged) > 5
