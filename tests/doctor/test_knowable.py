"""Rules about data speak only where the kept examples can show the fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tests.doctor.faults import FAULTS, healthy, predictions, program
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Evidence, PixelStatistics
from mien.doctor.programs.baseline import kernel_baseline
from mien.doctor.programs.columns import columns_of
from mien.doctor.rule import RULES, Abstention
from mien.doctor.thresholds import Thresholds


def planted(name: str, **changes: Any) -> Evidence:
    """Return a watched loop with the planted fault of a rule."""
    return healthy(**{**FAULTS[name], "program": program(**changes)})


def judged(name: str, evidence: Evidence) -> Any:
    return RULES[name].judge(evidence, Thresholds())


def test_labels_of_equal_inputs_are_not_judged() -> None:
    assert judged("shuffled-labels", planted("shuffled-labels")).severity == "serious"
    outcome = judged("shuffled-labels", planted("shuffled-labels", distinct_inputs=0.3))
    assert isinstance(outcome, Abstention)
    assert "30%" in outcome.reason


def test_few_validation_images_are_not_shuffled_because_of_a_low_recall() -> None:
    """40 images of three classes: a recall of 45% is neither chance nor the 60% of training."""
    train = predictions(2000, 0.6, 1, baseline=0.6)

    def judge(n: int, right: float) -> Any:
        held = predictions(n, right, 10, baseline=right)
        return judged("shuffled-labels", healthy(train=train, validation=held))

    assert judge(40, 0.5) is None
    assert judge(1000, 0.45) is None
    # Labels that are no better than chance are named as soon as training shows what is possible.
    assert judge(1000, 1 / 3).severity == "serious"
    assert judge(80, 1 / 3).severity == "serious"


def test_labels_of_token_sequences_are_doubted_with_low_confidence() -> None:
    found = judged("shuffled-labels", planted("shuffled-labels", tokens=True))
    assert found.confidence == "low"
    assert "bag-of-features" in found.evidence


def test_augmented_inputs_are_not_compared_with_validation() -> None:
    assert judged("domain-shift", planted("domain-shift")).severity == "serious"
    assert isinstance(judged("domain-shift", planted("domain-shift", augmented=True)), Abstention)
    noisy = healthy(program=program(augmented=True, input_scale=0.12))
    assert [(f.name, f.confidence) for f in diagnose(noisy)] == [
        ("preprocessing-differs", "medium")
    ]


def test_values_that_are_no_image_have_no_brightness() -> None:
    dark = PixelStatistics(0.0, 1.0, 0.0, np.full(50, 0.0123), np.full(50, 0.0045))
    pixels = {"train": dark, "validation": dark}
    evidence = replace(planted("domain-shift"), pixels=pixels)
    assert "brightness" not in judged("domain-shift", evidence).evidence
    assert "0.0123" in judged("domain-shift", evidence).evidence


def test_a_constant_for_missing_values_is_named() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 4))
    values[rng.random((400, 4)) < 0.08] = -999.0
    columns = columns_of(values)
    pixels = PixelStatistics(-80.0, 270.0, 0.0, np.zeros(9), np.zeros(9))
    given = {"train": pixels, "validation": pixels}
    found = diagnose(healthy(program=program(columns=columns), pixels=given))
    assert [f.name for f in found] == ["invalid-inputs"]
    assert "exactly -999" in found[0].evidence
    assert "values from -999 to" in found[0].evidence
    usual = columns_of(rng.normal(size=(400, 4)) * 300 + 700)
    found = diagnose(healthy(program=program(columns=usual), pixels=given))
    assert "exactly" not in found[0].evidence


def test_a_constant_for_missing_values_does_not_blind_the_baseline() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    x = rng.normal(size=(300, 30)) + 0.8 * y[:, None]
    x[rng.random(x.shape) < 0.08] = -999.0
    scores, _ = kernel_baseline(x, np.eye(2)[y], x[:1])
    assert float((scores.argmax(axis=1) == y).mean()) > 0.9


Batch = Callable[[Tensor], Tensor]


def recorded(
    change: Batch, x: Tensor, model: nn.Module | None = None, targets: Tensor | None = None
) -> Any:
    """Return a watch over two short epochs of a classifier of `x`."""
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(x.shape[1], 8), nn.ReLU(), nn.Linear(8, 2))
    y = (x[:, 0] > x[:, 1]).long() if targets is None else targets
    optimizer = torch.optim.Adam(model.parameters())
    loss = nn.CrossEntropyLoss()
    n = len(x) * 3 // 4
    with doctor.watch(model, optimizer, loss=loss) as watch:
        for _ in range(2):
            for rows in torch.randperm(n).split(32):
                batch = change(x[rows])
                optimizer.zero_grad()
                value = loss(model(batch), y[rows])
                value.backward()
                optimizer.step()
                watch.step(value, batch, y[rows])
            watch.validate(model, x[n:], y[n:])
    return watch


def test_inputs_that_change_from_epoch_to_epoch_are_seen() -> None:
    from mien.doctor.programs.columns import distinct_fraction, is_augmented

    torch.manual_seed(0)
    x = torch.randn(400, 12)
    assert is_augmented(recorded(lambda b: b, x)) is False
    watch = recorded(lambda b: b + 0.1 * torch.randn_like(b), x)
    assert is_augmented(watch) is True
    assert distinct_fraction(watch) == 1.0
    same = recorded(lambda b: x[: len(b)], x)
    assert distinct_fraction(same) < 0.2
    assert "domain-shift" not in [f.name for f in same.report().findings]


def test_token_ids_one_to_an_example_are_no_values() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 50, (400,))
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 2))
    watch = recorded(lambda b: b, ids, model, (ids > 24).long())
    assert "invalid-inputs" not in [f.name for f in watch.report().findings]


def test_a_recurrent_layers_bias_counts() -> None:
    from mien.doctor.programs.inspection import without_bias

    model = nn.ModuleList([nn.GRU(4, 4), nn.Linear(4, 4, bias=False)])
    assert without_bias(model) == ()
    assert without_bias(nn.Sequential(nn.Linear(4, 4, bias=False))) == ("0",)


def test_targets_that_are_all_zero_are_no_classes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(40):
            t = torch.rand(32, 1)
            loss = (model(t) - t).square().mean() + model(torch.zeros(1, 1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss, t, torch.zeros(32, 1))
    report = watch.report()
    assert report.facts["task"] == "other"
    assert not {f.name for f in report.findings} & {"class-imbalance", "targets-not-scaled"}
