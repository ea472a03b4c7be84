"""Regressions that memorise their training examples, and gaps that noise explains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien import doctor
from mien.doctor.finding import Finding
from mien.doctor.programs.fits import fit_of
from mien.doctor.programs.measurements import Causes
from mien.doctor.programs.program import Program

HELD = 150


def values(n: int, noise: float) -> tuple[Tensor, Tensor]:
    """A sum over 24 columns, and noise in the same unit; the targets' deviation is about 1."""
    torch.manual_seed(4)
    x = torch.randn(n + HELD, 24)
    weights = torch.linspace(1, 0.1, 24)
    y = x @ weights / weights.norm()
    return x, (y + noise * torch.randn(len(x)))[:, None]


def watch_of(
    n: int, noise: float, epochs: int, width: int = 64, decay: float = 0.0
) -> doctor.Watch:
    x, y = values(n, noise)
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(24, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=decay)
    criterion = nn.MSELoss()
    with doctor.watch(model, optimizer, loss=criterion) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(16):
                loss = criterion(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[n:], y[n:])
    return watch


def found(watch: doctor.Watch) -> dict[str, Finding]:
    return {f.name: f for f in watch.report().findings}


def test_a_regression_that_memorises_and_that_a_baseline_surpasses() -> None:
    findings = found(watch_of(80, noise=0.4, epochs=60))
    assert set(findings) == {"overfitting"}
    finding = findings["overfitting"]
    assert finding.severity == "warning"
    numbers = {name: float(value or 0) for name, value in finding.numbers.items()}
    assert numbers["train"] > 0.99
    assert numbers["validation"] < numbers["baseline"] - 0.05
    assert 0 < numbers["excess_low"] < numbers["baseline"] - numbers["validation"]
    assert "R² is 1.00 on training" in finding.evidence
    assert "150 validation examples" in finding.evidence
    assert "weight decay" in finding.remedy


@pytest.mark.parametrize(
    ("n", "noise", "epochs", "decay"),
    [
        (600, 0.2, 6, 0.0),  # training R² 0.98, validation 0.95
        (600, 1.2, 4, 0.0),  # a low R² on both, by noise
        (300, 0.8, 6, 0.3),
    ],
)
def test_sound_regressions_have_no_finding(n: int, noise: float, epochs: int, decay: float) -> None:
    watch = watch_of(n, noise, epochs, decay=decay)
    assert not {"overfitting", "validation-loss-rises"} & set(found(watch))


def test_a_gap_is_no_finding_where_no_baseline_does_better() -> None:
    """A task that the baseline fits no better: the gap may be all that the examples allow."""
    torch.manual_seed(5)
    x = torch.randn(90 + HELD, 6)
    y = (torch.sin(2 * x[:, 0]) + 0.7 * x[:, 1])[:, None]
    model = nn.Sequential(
        nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer, loss=nn.MSELoss()) as watch:
        for _ in range(60):
            for rows in torch.randperm(90).split(16):
                loss = nn.functional.mse_loss(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[90:], y[90:])
    report = watch.report()
    assert "overfitting" not in {f.name for f in report.findings}
    assert "overfitting" not in report.not_judged


def test_the_fit_is_that_of_the_definitions() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(200, 2))
    network, baseline = (targets + s * rng.normal(size=(200, 2)) for s in (0.9, 0.3))
    centre = np.array([0.1, -0.2])
    fit = fit_of(0.98, targets, network, baseline, centre)
    assert fit is not None
    total = float(((targets - centre) ** 2).sum())
    assert fit.validation == pytest.approx(1 - float(((targets - network) ** 2).sum()) / total)
    assert fit.baseline == pytest.approx(1 - float(((targets - baseline) ** 2).sum()) / total)
    better = fit.baseline - fit.validation
    # The intervals of a bootstrap over the examples, the seed fixed.
    drawn = rng.integers(200, size=(4000, 200))
    own, other = (((targets - p) ** 2).sum(axis=1) for p in (network, baseline))
    gaps = 0.98 - (1 - own[drawn].mean(axis=1) * 200 / total)
    excess = (own - other)[drawn].mean(axis=1) * 200 / total
    assert fit.gap_low == pytest.approx(float(np.quantile(gaps, 0.025)), abs=0.02)
    assert fit.excess_low == pytest.approx(float(np.quantile(excess, 0.025)), abs=0.02)
    assert 0 < fit.excess_low < better
    assert fit_of(math.nan, targets, network, baseline, centre) is None
    assert fit_of(0.98, targets[:29], network[:29], baseline[:29], centre) is None
    assert fit_of(0.98, targets, network, np.zeros((0, 2)), centre) is None


def test_a_program_without_a_fit_has_none() -> None:
    assert Program().causes == Causes()
    assert Causes().fit is None
