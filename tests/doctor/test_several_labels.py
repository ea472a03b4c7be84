"""Several labels at once: base rates, recalls of each label, and faults with their sound twins."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from tests.doctor.faults import healthy, program
from tests.doctor.loops import names, train
from torch import Tensor, nn

from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Predictions
from mien.doctor.programs.measurements import LabelScore
from mien.doctor.programs.supply import gather

LOGITS = nn.BCEWithLogitsLoss()
watched = functools.partial(train, epochs=12, lr=1e-2, batch=32, every=3)


def tags(n: int = 640, bias: float = -0.5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(n, 10)
    return x, ((x @ torch.randn(10, 4)) / 3 + bias > 0).float()


def perceptron(*last: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 4), *last)


@pytest.mark.parametrize("form", ["logits", "sigmoid"])
def test_several_labels_are_recognised_with_their_base_rates(form: str) -> None:
    x, y = tags()
    model = perceptron() if form == "logits" else perceptron(nn.Sigmoid())
    loss = LOGITS if form == "logits" else nn.BCELoss()
    watch = watched(model, loss, x, y, classes=("a", "b", "c", "d"))
    report, evidence = watch.report(), gather(watch)
    assert report.findings == ()
    assert report.facts["task"] == "multi-label"
    rates = y[:480].double().mean(0)
    entropy = -(rates * rates.log() + (1 - rates) * (1 - rates).log())
    assert evidence.chance == pytest.approx(float(entropy.mean()), rel=1e-6)
    constant = torch.where(rates > 0.5, y[480:].mean(0), 1 - y[480:].mean(0)).mean()
    assert float(report.facts["accuracy of a constant"]) == pytest.approx(float(constant), abs=1e-3)
    assert report.facts["validation recall"].startswith("a 0.")
    assert [label.count for label in evidence.program.labels] == y[:480].sum(0).int().tolist()  # type: ignore[union-attr]


def test_a_softmax_over_labels_that_hold_at_once_is_named() -> None:
    x, y = tags(bias=0.3)
    (found, *_) = watched(perceptron(nn.Softmax(1)), nn.BCELoss(), x, y).report().findings
    assert found.name == "loss-activation-mismatch"
    assert found.numbers["case"] == "softmax-for-several-labels"
    assert names(watched(perceptron(nn.Sigmoid()), nn.BCELoss(), x, y)) == []


def test_shuffled_rows_of_labels_are_named() -> None:
    x, y = tags()
    order = torch.randperm(len(y))
    assert "shuffled-labels" in names(watched(perceptron(), LOGITS, x, y[order], epochs=4))


def test_memorised_labels_are_overfitted() -> None:
    def part(right: float, n: int) -> Predictions:
        truth = np.arange(n) % 10 < 3
        given = np.where(np.arange(n) % 100 < 100 * right, truth, ~truth).astype(int)
        constant = np.tile([0.7, 0.3], (n, 1))
        return Predictions(truth.astype(int), np.eye(2)[given], np.eye(2)[truth.astype(int)],
                           constant)  # fmt: skip

    loop = program(kind="multi-label", labels=(label("a", 0.3, 90, 60, 60),))
    for right, expected in ((0.75, ["overfitting"]), (0.98, [])):
        evidence = healthy(program=loop, train=part(1.0, 2000), validation=part(right, 1000))
        assert [f.name for f in diagnose(evidence)] == expected


def test_an_autoencoder_of_black_and_white_values_has_no_labels() -> None:
    x = (tags()[0] > 0).float()
    model = nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 10))
    assert watched(model, LOGITS, x, x, epochs=3).report().facts["task"] == "other"


def label(name: str, rate: float, positives: int, found: int, baseline: int) -> LabelScore:
    return LabelScore(name, round(1000 * rate), rate, positives, found, baseline)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (label("b", 0.3, 90, 70, 60), []),
        (label("b", 0.05, 60, 5, 2), ["class-imbalance"]),
        (label("b", 0.05, 60, 48, 2), []),  # rare, and found
        (label("b", 0.05, 10, 0, 0), []),  # too few to say
        (label("b", 0.0, 0, 0, 0), ["class-imbalance"]),
        (label("b", 0.3, 90, 0, 60), ["class-never-predicted"]),
        (label("b", 0.3, 90, 0, 3), []),  # the inputs do not tell it
    ],
)
def test_single_labels(changed: LabelScore, expected: list[str]) -> None:
    truth = np.repeat([0, 1], [700, 300])
    constant = np.tile([0.7, 0.3], (1000, 1))
    part = Predictions(truth, np.eye(2)[truth] * 0.9, np.eye(2)[truth] * 0.9, constant)
    labels = (label("a", 0.4, 100, 90, 80), changed)
    evidence = healthy(
        program=program(kind="multi-label", labels=labels), train=part, validation=part
    )
    assert [f.name for f in diagnose(evidence)] == expected
