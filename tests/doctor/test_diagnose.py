from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.doctor.faults import (
    EPOCHS,
    FAULTS,
    FLAT,
    LAYERS,
    epoch,
    finds,
    healthy,
    measured,
    metrics,
    predictions,
    recipe,
)

from mien.doctor.diagnose import apply_rules, diagnose
from mien.doctor.evidence import Evidence, Predictions
from mien.doctor.facts import (
    class_recalls,
    confident_error,
    late_loss_drop,
    newcombe_difference,
)
from mien.doctor.figure import draw_findings
from mien.doctor.plots import loss_plot
from mien.doctor.rules.rates import smaller_rate
from mien.doctor.thresholds import Thresholds
from mien.evaluate.bootstrap import wilson
from mien.train.loop.find_lr import RangeTest
from mien.train.loop.signals import LayerSignals, StartSignals


def names(evidence: Evidence) -> list[str]:
    return [finding.name for finding in diagnose(evidence)]


def test_few_validation_images_of_a_class_are_a_warning() -> None:
    held = predictions(1000, 0.88, 2)
    for few, severity in ((12, "warning"), (0, "serious")):
        own = np.flatnonzero(held.y_true_n == 2)
        kept = np.setdiff1d(np.arange(1000), own[few:])
        assert held.probs_nk is not None
        rare = Predictions(held.y_true_n[kept], held.probs_nk[kept], held.baseline_nk[kept])
        history = [metrics(i, validation_n=len(kept)) for i in range(1, EPOCHS + 1)]
        found = {f.name: f for f in diagnose(healthy(validation=rare, history=history))}
        assert found["validation-class-counts"].severity == severity
        assert f"{few} of " in found["validation-class-counts"].evidence
    # A sample of a larger split cannot tell what the split lacks.
    history = [metrics(i, validation_n=4000) for i in range(1, EPOCHS + 1)]
    assert "validation-class-counts" not in names(healthy(validation=rare, history=history))


def test_consequences_are_left_out() -> None:
    evidence = healthy(**{**FAULTS["underfitting"], **FAULTS["learning-rate-too-high"]})
    assert names(evidence) == ["learning-rate-too-high"]


def test_the_serious_comes_first() -> None:
    both = healthy(**FAULTS["dead-units"], **FAULTS["data-leakage"])
    assert names(both) == ["data-leakage", "dead-units"]


def test_rater_votes_are_not_judged_as_noisy_labels() -> None:
    evidence = healthy(recipe=recipe(targets={"kind": "votes"}), **FAULTS["label-noise"])
    assert "label-noise" not in names(evidence)


def test_label_noise_in_training_alone_is_attributed_to_training() -> None:
    evidence = healthy(
        train=predictions(2000, 0.9, 5, baseline=0.9, noise=0.3),
        validation=predictions(1000, 0.9, 6, baseline=0.9),
    )
    (finding,) = diagnose(evidence)
    assert "training labels" in finding.title


def test_a_rare_class_with_good_recall_is_no_finding() -> None:
    assert names(healthy(class_counts_k=np.array([2000.0, 100.0, 1000.0]))) == []
    balanced = recipe(loss={"class_weights": "balanced"})
    assert names(healthy(recipe=balanced, **FAULTS["class-imbalance"])) == []


def test_weight_growth_reveals_a_learning_rate_too_high_behind_batch_norm() -> None:
    evidence = healthy(initial=dict.fromkeys(LAYERS, 0.02))
    assert names(evidence) == ["learning-rate-too-high"]


HEALTHY_START = StartSignals(1.2, 0.8, dict.fromkeys(LAYERS, 0.1))


def test_a_learning_rate_too_high_in_the_first_epoch_alone_is_found() -> None:
    wild = {n: LayerSignals(0.01, 0.1, 4e-2) for n in LAYERS}
    dead = {"gain": 0.95, "gradient_norm": 0.1, "stuck": {"body.2": 1.0}}
    moved = [epoch(1, layers=wild, start=HEALTHY_START), *measured(**dead)[1:]]
    assert "learning-rate-too-high" in names(healthy(signals=moved))
    # Muon's steps have the length that the rate says: that alone is no fault of theirs.
    muon = recipe(optimizer={"name": "muon", "lr": 0.05})
    assert "learning-rate-too-high" not in names(healthy(signals=moved, recipe=muon))
    spiked = [epoch(1, losses=(1.2, 500.0, 3.0, 1.1), start=HEALTHY_START), *measured(**dead)[1:]]
    assert "learning-rate-too-high" in names(healthy(signals=spiked))


def test_a_loss_that_blew_up_is_a_learning_rate_too_high_also_beside_weight_decay() -> None:
    # The step that the rate multiplies multiplies weight decay too: 3 times 0.01 is 3% a step.
    decayed = recipe(optimizer={"lr": 3.0, "weight_decay": 0.01})
    spiked = [epoch(1, lr=3.0, losses=(1.2, 500.0, 3.0, 1.1), start=HEALTHY_START),
              *measured(lr=3.0)[1:]]  # fmt: skip
    underfits = FAULTS["underfitting"]
    evidence = healthy(**{**underfits, "signals": spiked, "recipe": decayed})
    assert names(evidence) == ["learning-rate-too-high"]


def test_a_run_too_short_for_a_measured_step_is_judged_by_its_loss() -> None:
    unknown = dict.fromkeys(("gain", "worse", "gradient_norm"))
    short: dict[str, Any] = {"measured": 0, "layers": {}, **unknown}
    spiked = [epoch(1, lr=3.0, losses=(1.2, 500.0, 1.2), start=HEALTHY_START, **short)]
    (finding,) = diagnose(healthy(signals=spiked))
    assert (finding.name, finding.settings) == ("learning-rate-too-high", ("optimizer.lr=0.3",))
    assert finding.evidence == "At lr 3 the loss rose to 416.7 times its initial value."
    tuned = [replace(spiked[0], start=replace(HEALTHY_START, loss=0.5))]  # pretrained weights
    (finding,) = diagnose(healthy(signals=tuned))
    assert finding.evidence == "At lr 3 the loss rose to 455.1 times the chance-level loss."
    calm = apply_rules(healthy(signals=[epoch(1, losses=(1.2, 1.1), **short)]))
    assert "no training step was measured" in calm.not_judged["learning-rate-too-high"]


def test_a_rate_far_above_a_range_test_is_a_plain_multiple_of_it() -> None:
    test = RangeTest((1e-4, 1e-2), (1.1, 3.0), (1.0, -9.0), 1e-3, 0.00031)
    ended = measured(lr=3.0, losses=(20.0,))
    finding = diagnose(healthy(signals=ended, range_test=test))[0]
    assert finding.evidence.startswith("The training loss ended at 20.00")
    assert "this rate is 9,677 times that" in finding.evidence


def test_gradients_spoilt_by_steps_are_not_blamed_on_the_network() -> None:
    vanished = {n: LayerSignals(10.0 ** (3 * i - 9), 0.1, 1e-3) for i, n in enumerate(LAYERS)}
    late = [epoch(1, start=HEALTHY_START), *measured(layers=vanished)[1:]]
    assert names(healthy(signals=late)) == []
    by_design = replace(
        HEALTHY_START, gradients={n: 10.0 ** (3 * i - 9) for i, n in enumerate(LAYERS)}
    )
    early = [epoch(1, start=by_design, layers=vanished), *measured(layers=vanished)[1:]]
    assert names(healthy(signals=early)) == ["vanishing-gradients"]
    exploded = measured(gradient_norm=400.0)
    spiked = epoch(1, losses=(1.2, 500.0, 3.0, 1.1), start=HEALTHY_START)
    assert names(healthy(signals=[spiked, *exploded[1:]])) == ["learning-rate-too-high"]
    huge = replace(HEALTHY_START, gradient_norm=400.0)
    assert "exploding-gradients" in names(healthy(signals=[epoch(1, start=huge), *exploded[1:]]))


def test_pretrained_weights_are_no_vanishing_gradients() -> None:
    # Long weights before a short last layer: as mien-small's, when it is fine-tuned.
    sizes = {n: (1e-4, 0.1) for n in LAYERS[:-1]} | {LAYERS[-1]: (2e-2, 0.03)}
    layers = {n: LayerSignals(gradient, weight, 1e-3) for n, (gradient, weight) in sizes.items()}
    fresh, warm = recipe(), recipe(fit={"init_from": "mien-small"})
    assert names(healthy(recipe=fresh, signals=measured(layers=layers))) == ["vanishing-gradients"]
    assert names(healthy(recipe=warm, signals=measured(layers=layers))) == []
    assert names(healthy(recipe=warm, **FAULTS["vanishing-gradients"])) == ["vanishing-gradients"]


def test_strong_weight_decay_is_underfitting_and_no_learning_rate_fault() -> None:
    decayed = recipe(optimizer={"lr": 0.05, "weight_decay": 0.5})
    signals = measured(gain=0.3, lr=0.05)
    evidence = healthy(recipe=decayed, signals=signals, **FAULTS["underfitting"])
    (finding,) = diagnose(evidence)
    assert finding.settings == ("optimizer.weight_decay=5e-4",)
    shrunk = measured(gain=0.3, lr=0.05, gradient_norm=400.0)
    evidence = healthy(recipe=decayed, signals=shrunk, **FAULTS["underfitting"])
    assert names(evidence) == ["underfitting"]


def test_a_small_gap_is_overfitting_where_training_images_are_memorised() -> None:
    validation = predictions(1000, 0.93, 8)
    assert names(healthy(train=predictions(2000, 1.0, 7), validation=validation)) == ["overfitting"]
    assert names(healthy(train=predictions(2000, 0.98, 7), validation=validation)) == []


def test_subjects_in_both_splits_are_data_leakage() -> None:
    (finding,) = diagnose(healthy(shared_subjects=3))
    assert finding.name == "data-leakage"
    assert "3 subjects" in finding.evidence


def test_the_more_steps_overshoot_the_lower_the_suggested_rate() -> None:
    assert smaller_rate(0.1, 0.4, 1.0, spiked=False) == pytest.approx(0.1 / 3)
    assert smaller_rate(0.1, 0.4, 1.0, spiked=True) == pytest.approx(0.01)
    assert smaller_rate(0.1, -3.0, 1.0, spiked=False) == pytest.approx(0.005)
    assert smaller_rate(0.1, 0.8, 10.0, spiked=False) == pytest.approx(0.001)


def test_a_range_test_gives_the_suggested_learning_rate() -> None:
    test = RangeTest(
        (1e-5, 1e-4, 1e-3, 1e-2), (1.1, 1.0, 0.8, 3.0), (1.0, 0.9, 0.2, -9.0), 1e-3, 2e-4
    )
    (large,) = diagnose(healthy(range_test=test, **FAULTS["learning-rate-too-high"]))
    assert large.settings == ("optimizer.lr=0.0002",)
    assert "suggests 0.0002: this rate is 5 times that" in large.evidence
    assert large.plot is not None
    assert large.plot.mark == 1e-3
    assert min(v for v in large.plot.lines["range test"] if v is not None) == -2
    # A suggestion that goes the other way than the finding is not repeated.
    (small,) = diagnose(healthy(range_test=test, **FAULTS["learning-rate-too-low"]))
    assert small.settings == ("optimizer.lr=0.1",)


def test_a_run_without_an_epoch_reports_why_it_failed() -> None:
    evidence = healthy(**FAULTS["diverged"])
    train, validation = (replace(a, probs_nk=None) for a in (evidence.train, evidence.validation))
    bare = replace(evidence, history=[], signals=[], train=train, validation=validation)
    assert [f.name for f in diagnose(bare)] == ["diverged"]


def test_confident_error_separates_noise_from_hardness() -> None:
    hard, noisy = predictions(4000, 0.7, 1), predictions(4000, 0.7, 1, noise=0.25)
    assert hard.probs_nk is not None
    assert noisy.probs_nk is not None
    assert confident_error(hard.y_true_n, hard.probs_nk).high < 0.02
    assert confident_error(noisy.y_true_n, noisy.probs_nk).value == pytest.approx(0.25, abs=0.06)


def test_differences_and_slopes() -> None:
    gap = newcombe_difference(wilson(900, 1000), wilson(800, 1000))
    assert gap.low < 0.1 < gap.high
    assert gap.low == pytest.approx(0.069, abs=0.002)  # Newcombe's method 10
    assert late_loss_drop(healthy(signals=measured(**FLAT))) == pytest.approx(0, abs=1e-9)
    assert late_loss_drop(healthy()) > 0.1


def test_findings_with_plots_are_drawn_as_one_image() -> None:
    drawn = [f for changes in FAULTS.values() for f in diagnose(healthy(**changes)) if f.plot]
    assert len({f.name for f in drawn}) >= 10
    image = draw_findings(drawn, title="faults")
    assert image is not None
    assert image.startswith(b"\x89PNG")
    assert draw_findings(diagnose(healthy(is_reproducible=False)), title="none") is None


def test_a_class_found_far_less_often_is_named_with_its_interval() -> None:
    (finding,) = diagnose(healthy(**FAULTS["class-recall"]))
    n = int((FAULTS["class-recall"]["validation"].y_true_n == 2).sum())
    own = wilson(np.ceil(0.5 * n), n)
    assert finding.numbers["class"] == "sad"
    assert finding.numbers["n_sad"] == n
    assert finding.numbers["recall_sad"] == pytest.approx(own.value)
    assert f"sad {own.value:.1%} (n = {n}, 95% interval {own.low:.1%} to {own.high:.1%})" in (
        finding.evidence
    )
    assert finding.settings == ("loss.class_weights=balanced", "fit.select=balanced_accuracy")
    assert finding.plot is not None
    assert finding.plot.low["recall"][2] == pytest.approx(own.low)
    balanced = recipe(loss={"class_weights": "balanced"}, fit={"select": "balanced_accuracy"})
    (finding,) = diagnose(healthy(recipe=balanced, **FAULTS["class-recall"]))
    assert finding.settings == ()


@pytest.mark.parametrize(("found", "raised"), [(0.7, False), (0.5, True)])
def test_a_class_must_lie_below_the_others_by_the_margin(found: float, raised: bool) -> None:
    evidence = healthy(validation=finds(2, found, predictions(1000, 0.88, 2)))
    limits = Thresholds()
    recalls = class_recalls(evidence.validation)
    assert recalls is not None
    gap = min(recalls[0].low, recalls[1].low) - recalls[2].high
    assert gap > 0
    assert (gap > limits.recall_gap) == raised
    assert ("class-recall" in names(evidence)) == raised


def few_sad(n: int, found: float) -> Predictions:
    """Predictions on a validation split with `n` images of sad, of which `found` are found."""
    held = predictions(1000, 0.88, 2)
    kept = np.setdiff1d(np.arange(1000), np.flatnonzero(held.y_true_n == 2)[n:])
    assert held.probs_nk is not None
    rare = Predictions(held.y_true_n[kept], held.probs_nk[kept], held.baseline_nk[kept])
    return finds(2, found, rare)


@pytest.mark.parametrize(("n", "raised"), [(29, False), (30, True)])
def test_a_class_of_fewer_than_30_images_cannot_be_judged(n: int, raised: bool) -> None:
    history = [metrics(i, validation_n=1000) for i in range(1, EPOCHS + 1)]
    diagnosis = apply_rules(healthy(validation=few_sad(n, 0.1), history=history))
    assert ("class-recall" in [f.name for f in diagnosis.findings]) == raised
    reason = diagnosis.not_judged.get("class-recall", "")
    assert (f"sad (n = {n})" in reason) == (not raised)


def test_a_class_without_an_image_has_no_recall() -> None:
    given = few_sad(0, 0.0)
    recalls = class_recalls(given)
    assert recalls is not None
    assert [r.is_defined for r in recalls] == [True, True, False]
    history = [metrics(i, validation_n=len(given.y_true_n)) for i in range(1, EPOCHS + 1)]
    diagnosis = apply_rules(healthy(validation=given, history=history))
    assert "sad (n = 0)" in diagnosis.not_judged["class-recall"]
    (finding,) = diagnosis.findings
    assert finding.name == "validation-class-counts"
    assert "balanced accuracy, macro F1) are not defined" in finding.evidence


def test_the_classes_with_enough_images_are_judged_beside_a_rare_one() -> None:
    given = finds(1, 0.4, few_sad(12, 1.0))
    found = {f.name: f for f in diagnose(healthy(validation=given))}
    assert found["class-recall"].numbers["class"] == "neutral"
    assert "Not judged: fewer than 30 validation images of sad (n = 12)" in (
        found["class-recall"].evidence
    )
    assert "recall_sad" not in found["class-recall"].numbers


@pytest.mark.parametrize("name", ["underfitting", "class-imbalance"])
def test_a_low_recall_that_another_finding_explains_is_left_out(name: str) -> None:
    assert "class-recall" in names(healthy(**FAULTS["class-recall"]))
    validation = FAULTS["class-recall"]["validation"]
    assert "class-recall" not in names(healthy(**{**FAULTS[name], "validation": validation}))


@pytest.mark.parametrize(
    ("parameters", "width", "hidden"),
    [(1_200_000, 12, 256), (5_000_000, 6, 128), (40_000_000, 3, 64), (400_000_000, 3, 64)],
)
def test_a_network_is_narrowed_until_it_is_no_longer_too_large(
    parameters: int, width: int, hidden: int
) -> None:
    own = recipe(network={"name": "poster", "width": 24, "hidden": 512})
    large = {**FAULTS["model-too-large"], "parameters": parameters, "images": 2000}
    found = {f.name: f for f in diagnose(healthy(**large, recipe=own))}["model-too-large"]
    assert found.settings == (f"network.width={width}", f"network.hidden={hidden}")
    # Half the width has a quarter of the parameters; an eighth is as far as it goes.
    if parameters < 64e6:
        assert parameters * (width / 24) ** 2 / 2000 <= Thresholds().parameters_per_image


def test_inputs_that_are_not_scaled_come_before_what_may_follow_from_them() -> None:
    pixels = FAULTS["invalid-inputs"]["pixels"]
    rate = {"pixels": pixels, "signals": FAULTS["learning-rate-too-high"]["signals"]}
    assert names(healthy(**rate)) == ["invalid-inputs", "learning-rate-too-high"]
    # Also before what was observed itself, with high confidence.
    broken = {**FAULTS["diverged"], "pixels": pixels}
    assert names(healthy(**broken))[:2] == ["invalid-inputs", "diverged"]
    assert names(healthy(**FAULTS["learning-rate-too-high"])) == ["learning-rate-too-high"]


def test_a_loss_that_blew_up_is_drawn_on_a_logarithmic_axis() -> None:
    calm, blown = (1.1, 1.0, 0.9), (1.1, 500.0, 40.0)
    for losses, log in ((calm, False), (blown, True)):
        plot = loss_plot(healthy(signals=[epoch(1, losses=losses, peaks=losses)]))
        assert plot is not None
        assert (plot.log, list(plot.lines)) == (log, ["mean"])  # the largest are the same
    several = loss_plot(healthy(signals=[epoch(1)]))
    assert several is not None
    assert list(several.lines) == ["mean", "largest"]
