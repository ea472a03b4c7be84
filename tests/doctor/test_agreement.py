"""Rules about watched loops speak only where their measurements agree, and print only those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.doctor.faults import epoch, healthy, measured, program

from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Evidence
from mien.doctor.finding import Finding
from mien.doctor.programs.measurements import Settings
from mien.train.loop.signals import EpochSignals, LayerSignals


def watched(signals: list[EpochSignals] | None = None, **changes: Any) -> Evidence:
    """Return a sound watched loop that has not reached the baseline, with measured steps."""
    evidence = healthy(program=program(**changes), chance=1.1)
    return evidence if signals is None else replace(evidence, signals=signals)


def found(evidence: Evidence, name: str) -> Finding | None:
    return next((f for f in diagnose(evidence) if f.name == name), None)


def test_a_low_ratio_alone_is_no_rate_that_is_too_high() -> None:
    assert found(watched(measured(gain=0.13, worse=0.0)), "learning-rate-too-high") is None
    finding = found(watched(measured(gain=0.13, worse=0.3)), "learning-rate-too-high")
    assert finding is not None
    assert "loss reduction was 0.13" in finding.evidence
    assert "30% of the steps" in finding.evidence
    # One step of three may have got worse by chance.
    few = [epoch(1, gain=0.6, worse=0.33, measured=3)]
    assert found(watched(few), "learning-rate-too-high") is None
    # What was within its threshold is not printed.
    assert "update-to-weight" not in finding.evidence
    assert "times its initial value" not in finding.evidence


def test_long_updates_that_reduce_the_loss_as_predicted_are_sound() -> None:
    layers = {"0.weight": LayerSignals(0.01, 0.1, 6e-2)}
    long = measured(gain=0.98, worse=0.2, layers=layers)
    assert found(watched(long), "learning-rate-too-high") is None


def test_a_spike_that_the_loss_recovers_from_is_no_serious_rate() -> None:
    first = epoch(1, gain=None, losses=(1.2, 2.4, 1.1, 0.9))
    later = [epoch(i, gain=None) for i in range(2, 11)]
    assert found(watched([first, *later]), "learning-rate-too-high") is None
    stuck = [epoch(i, gain=None, losses=(2.4,) * 8) for i in range(2, 11)]
    finding = found(watched([first, *stuck], class_runs=9.0), "learning-rate-too-high")
    assert finding is not None
    assert "not measurable" not in finding.evidence
    assert "0%" not in finding.evidence


def test_a_factor_of_many_digits_is_rounded() -> None:
    first = epoch(1, gain=-0.4, worse=0.5, losses=(1.2, 3.6e20, 1.0))
    later = [epoch(i, gain=-0.4, worse=0.5) for i in range(2, 11)]
    finding = found(watched([first, *later]), "learning-rate-too-high")
    assert finding is not None
    assert "3.0e+20 times" in finding.evidence


def test_updates_that_no_rate_would_make_long_are_not_the_rates_fault() -> None:
    # 1.2e-8 at a rate of 0.05: even a rate of 1 would not move the weights.
    dead = {"0.weight": LayerSignals(1e-9, 0.1, 1.2e-8)}
    quiet = measured(gain=0.99, lr=0.05, layers=dead)
    assert found(watched(quiet), "learning-rate-too-low") is None
    small = {"0.weight": LayerSignals(0.01, 0.1, 1e-6)}
    finding = found(watched(measured(gain=0.99, lr=1e-5, layers=small)), "learning-rate-too-low")
    assert finding is not None


def test_a_loss_that_never_rose_did_not_diverge() -> None:
    high = measured(losses=(4.0,) * 8)
    assert found(watched(high), "diverged") is None
    summed = program(settings=Settings(reduction="sum"))
    level = [epoch(1, losses=(3.9,) * 8), *high[1:]]
    assert found(healthy(program=summed, chance=1.1, signals=level), "diverged") is not None
    rising = [epoch(1, losses=(1.5,) * 8), *[epoch(i, losses=(4.0,) * 8) for i in range(2, 11)]]
    assert found(watched(rising), "diverged") is not None
    assert found(watched(rising, class_runs=9.0), "diverged") is None


def test_evaluation_mode_explains_steps_that_overshoot() -> None:
    names = [f.name for f in diagnose(watched(measured(gain=-0.3, worse=0.5), eval_mode_steps=1.0))]
    assert names == ["trained-in-eval-mode"]


def test_a_long_first_step_before_dead_units_is_the_rates_fault() -> None:
    # Units that are dead get no gradient: all later steps are short, and as predicted.
    stuck = measured(losses=(1.1,) * 8, stuck={"body.2": 1.0}, lr=5.0)
    finding = found(watched(stuck, first_update=0.12), "learning-rate-too-high")
    assert finding is not None
    assert "the first step changed the weights by 12%" in finding.evidence
    assert "100% of the units of layer body.2" in finding.evidence
    assert finding.settings == ("optimizer.lr=0.42",)
    # Dead before the first step, or in spite of a short one; or it learns with what is left.
    assert found(watched(stuck, first_update=0.005), "learning-rate-too-high") is None
    learns = measured(stuck={"body.2": 1.0}, lr=5.0)
    assert found(watched(learns, first_update=0.12), "learning-rate-too-high") is None
    # A loss without a chance level shows no training that learns nothing.
    critic = replace(watched(stuck, first_update=0.12), chance=0.0)
    assert found(critic, "learning-rate-too-high") is None


def test_a_batch_norm_alone_is_named_beside_a_few_steps_in_evaluation_mode() -> None:
    few = watched(eval_mode_steps=0.1, initial_norms=("1",))
    finding = found(few, "trained-in-eval-mode")
    assert finding is not None
    assert finding.title == "batch norm is trained in evaluation mode"
    assert finding.plot is None


def test_the_first_loss_of_a_regression_is_the_recorded_one() -> None:
    signals = [epoch(1, losses=(8.0,) * 8, gradient_norm=90.0)]
    finding = found(watched(signals, kind="regression"), "exploding-gradients")
    assert finding is not None
    assert "a loss of 8;" in finding.evidence
