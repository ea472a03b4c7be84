from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien.doctor.diagnose import EXPLAINED_BY, RULES, diagnose
from mien.doctor.evidence import Answers, Evidence, Inputs
from mien.doctor.facts import confident_error, difference, falling
from mien.doctor.figure import draw_findings
from mien.doctor.rules.steps import smaller_rate
from mien.evaluate.bootstrap import wilson
from mien.train.loop.find_lr import RangeTest
from mien.train.loop.signals import EpochSignals, LayerSignals, StartSignals
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.metrics import EpochMetrics

EPOCHS = 10
LAYERS = ("body.0.weight", "body.3.weight", "body.6.weight")


def answers(n: int, right: float, seed: int, opinion: float = 0.8, noise: float = 0.0) -> Answers:
    """Answers of which `right` are right, the sure ones more often; labels wrong by `noise`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    labels = truth.copy()
    wrong = rng.random(n) < noise
    labels[wrong] = (labels[wrong] + 1) % 3

    def scores(accuracy: float) -> Any:
        sure = rng.random(n)
        given = np.where(sure > 1 - accuracy, truth, (truth + 1) % 3)
        return np.eye(3)[given] * (0.2 + 0.8 * sure[:, None]) + 0.01

    return Answers(labels, scores(right), scores(opinion))


def never_answers(label: int, given: Answers) -> Answers:
    """The same answers, but never `label`."""
    assert given.probs_nk is not None
    probs = given.probs_nk.copy()
    probs[:, label] = 0.0
    return replace(given, probs_nk=probs)


def epoch(number: int, **changes: Any) -> EpochSignals:
    level = 1.0 / (number + 1)
    values: dict[str, Any] = {
        "epoch": number,
        "lr": 1e-3,
        "losses": tuple(level + 0.001 * i for i in range(8, 0, -1)),
        "peaks": tuple(level + 0.1 for _ in range(8)),
        "measured": 5,
        "gain": 0.85,
        "worse": 0.0,
        "gradient_norm": 2.0,
        "layers": {name: LayerSignals(0.01, 0.1, 2e-3) for name in LAYERS},
        "stuck": {"body.2": 0.0},
    }
    return EpochSignals(**{**values, **changes})


def metrics(number: int, **changes: Any) -> EpochMetrics:
    values: dict[str, Any] = {
        "epoch": number, "lr": 1e-3, "loss": 0.5, "train_loss": 0.4, "train_accuracy": 0.9,
        "validation_loss": 0.45, "validation_accuracy": 0.88, "validation_n": 1000, "gap": 0.02,
        "seconds": 1.0, "images_per_second": 1000.0,
    }  # fmt: skip
    return EpochMetrics(**{**values, **changes})


def sound(**changes: Any) -> Evidence:
    rng = np.random.default_rng(0)
    inputs = Inputs(0.0, 1.0, 0.0, rng.normal(120, 20, 500), rng.normal(50, 9, 500))
    values: dict[str, Any] = {
        "recipe": recipe_from_dict({"name": "sound", "network": {"name": "poster"}}),
        "status": "finished",
        "reason": "",
        "history": [metrics(i) for i in range(1, EPOCHS + 1)],
        "signals": [epoch(i) for i in range(1, EPOCHS + 1)],
        "images": 3000,
        "parameters": 100_000,
        "mass_k": np.array([1000.0, 1200.0, 800.0]),
        "train": answers(2000, 0.9, 1),
        "validation": answers(1000, 0.88, 2),
        "inputs": {"train": inputs, "validation": inputs},
        "apart": 0.5,
        "copied": (0.0, 400),
        "shared_subjects": 0,
        "repeats": True,
        "initial": dict.fromkeys(LAYERS, 0.09),
    }
    return Evidence(**{**values, **changes})


def measured(**changes: Any) -> list[EpochSignals]:
    return [epoch(i, **changes) for i in range(1, EPOCHS + 1)]


def recipe(**changes: Any) -> Any:
    return recipe_from_dict({"name": "x", "network": {"name": "poster"}, **changes})


FLAT = {"losses": (1.0,) * 8, "peaks": (1.1,) * 8}
FAULTS: dict[str, dict[str, Any]] = {
    "diverged": {
        "status": "failed",
        "reason": "the loss became nan in epoch 2",
        "history": [metrics(1)],
        "signals": [epoch(1)],
    },
    "step-too-large": {"signals": measured(gain=0.2, worse=0.3)},
    "step-too-small": {
        "signals": measured(
            gain=0.999, layers={n: LayerSignals(0.01, 0.1, 1e-5) for n in LAYERS}, **FLAT
        )
    },
    "exploding-gradients": {"signals": measured(gradient_norm=400.0)},
    "vanishing-gradients": {
        "signals": measured(
            layers={n: LayerSignals(10.0 ** (3 * i - 9), 0.1, 1e-3) for i, n in enumerate(LAYERS)}
        )
    },
    "dead-units": {"signals": measured(stuck={"body.2": 0.1, "body.5": 0.8})},
    "batch-statistics": {
        "history": [metrics(i, loss=0.3, train_loss=1.4) for i in range(1, EPOCHS + 1)]
    },
    "inputs": {
        "inputs": {
            split: Inputs(0.01, 0.005, 0.0, np.ones(9), np.ones(9))
            for split in ("train", "validation")
        }
    },
    "labels-shuffled": {
        "train": answers(2000, 1 / 3, 3, opinion=1 / 3),
        "validation": answers(1000, 1 / 3, 4, opinion=1 / 3),
    },
    "leak": {"copied": (0.1, 400)},
    "validation-differs": {"apart": 0.95},
    "label-noise": {
        "train": answers(2000, 0.9, 5, noise=0.3),
        "validation": answers(1000, 0.9, 6, noise=0.3),
    },
    "class-imbalance": {"mass_k": np.array([2000.0, 0.0, 900.0])},
    "class-ignored": {"validation": never_answers(2, answers(1000, 0.88, 2))},
    "validation-too-small": {
        "history": [metrics(i, validation_n=40) for i in range(1, EPOCHS + 1)]
    },
    "validation-classes": {
        "validation": replace(a := answers(1000, 0.88, 2), y_true_n=np.minimum(a.y_true_n, 1)),
    },
    "not-repeatable": {"repeats": False},
    "overfitting": {
        "train": answers(2000, 1.0, 7),
        "validation": answers(1000, 0.75, 8),
    },
    "too-complex": {
        "train": answers(2000, 1.0, 7),
        "validation": answers(1000, 0.75, 8),
        "parameters": 3_000_000,
    },
    "too-small": {
        "parameters": 500,
        "signals": measured(**FLAT),
        "train": answers(2000, 0.75, 9),
        "validation": answers(1000, 0.75, 10),
    },
    "underfitting": {
        "train": answers(2000, 0.6, 11),
        "validation": answers(1000, 0.6, 12),
    },
}


def names(evidence: Evidence) -> list[str]:
    return [finding.name for finding in diagnose(evidence)]


def test_nothing_is_found_in_a_sound_training() -> None:
    assert diagnose(sound()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(name: str) -> None:
    found = {finding.name: finding for finding in diagnose(sound(**FAULTS[name]))}
    assert name in found
    finding = found[name]
    assert finding.evidence.endswith(".")
    assert finding.advice.endswith(".")
    assert any(character.isdigit() for character in finding.evidence) or name == "not-repeatable"
    assert finding.plot is not None or name == "not-repeatable"
    assert finding.settings or "mien data" in finding.advice
    json.dumps(finding.to_dict(), allow_nan=False)


def test_every_rule_has_a_fault_here() -> None:
    assert len(FAULTS) == len(RULES)
    assert set(EXPLAINED_BY) <= set(FAULTS)
    assert set().union(*EXPLAINED_BY.values()) <= set(FAULTS)


def test_few_validation_images_of_a_class_are_a_warning() -> None:
    held = answers(1000, 0.88, 2)
    for few, severity in ((12, "warning"), (0, "serious")):
        own = np.flatnonzero(held.y_true_n == 2)
        kept = np.setdiff1d(np.arange(1000), own[few:])
        assert held.probs_nk is not None
        rare = Answers(held.y_true_n[kept], held.probs_nk[kept], held.opinion_nk[kept])
        history = [metrics(i, validation_n=len(kept)) for i in range(1, EPOCHS + 1)]
        found = {f.name: f for f in diagnose(sound(validation=rare, history=history))}
        assert found["validation-classes"].severity == severity
        assert f"{few} of " in found["validation-classes"].evidence
    # A sample of a larger split cannot tell what that lacks.
    history = [metrics(i, validation_n=4000) for i in range(1, EPOCHS + 1)]
    assert "validation-classes" not in names(sound(validation=rare, history=history))


def test_consequences_are_left_out() -> None:
    evidence = sound(**{**FAULTS["underfitting"], **FAULTS["step-too-large"]})
    assert names(evidence) == ["step-too-large"]


def test_the_serious_comes_first() -> None:
    both = sound(**FAULTS["dead-units"], **FAULTS["leak"])
    assert names(both) == ["leak", "dead-units"]


def test_settings_are_such_that_a_recipe_takes_them() -> None:
    from mien.train.networks.registry import network_options
    from mien.train.recipe.convert import apply_setting

    for name, changes in FAULTS.items():
        for finding in diagnose(sound(**changes)):
            for setting in finding.settings:
                values: dict[str, Any] = {"name": name, "network": {"name": "poster"}}
                apply_setting(values, setting)
                changed = recipe_from_dict(values)
                network_options(changed.network.name, changed.network.options)


def test_votes_are_not_called_noisy() -> None:
    evidence = sound(recipe=recipe(targets={"kind": "votes"}), **FAULTS["label-noise"])
    assert "label-noise" not in names(evidence)


def test_noise_in_training_labels_alone_is_told_from_the_clean_validation() -> None:
    evidence = sound(
        train=answers(2000, 0.9, 5, opinion=0.9, noise=0.3),
        validation=answers(1000, 0.9, 6, opinion=0.9),
    )
    (finding,) = diagnose(evidence)
    assert "training labels" in finding.title


def test_a_rare_class_that_is_learnt_all_the_same_is_no_finding() -> None:
    assert names(sound(mass_k=np.array([2000.0, 100.0, 1000.0]))) == []
    balanced = recipe(loss={"class_weights": "balanced"})
    assert names(sound(recipe=balanced, **FAULTS["class-imbalance"])) == []


def test_weights_that_grow_tell_a_step_that_batch_normalisation_hides() -> None:
    evidence = sound(initial=dict.fromkeys(LAYERS, 0.02))
    assert names(evidence) == ["step-too-large"]


SOUND_START = StartSignals(1.2, 0.8, dict.fromkeys(LAYERS, 0.1))


def test_steps_that_wreck_the_first_epoch_are_named_whatever_follows() -> None:
    wild = {n: LayerSignals(0.01, 0.1, 4e-2) for n in LAYERS}
    dead = {"gain": 0.95, "gradient_norm": 0.1, "stuck": {"body.2": 1.0}}
    moved = [epoch(1, layers=wild, start=SOUND_START), *measured(**dead)[1:]]
    assert "step-too-large" in names(sound(signals=moved))
    # Muon's steps have the length that the rate says: that alone is no fault of theirs.
    muon = recipe(optimizer={"name": "muon", "lr": 0.05})
    assert "step-too-large" not in names(sound(signals=moved, recipe=muon))
    spiked = [epoch(1, losses=(1.2, 500.0, 3.0, 1.1), start=SOUND_START), *measured(**dead)[1:]]
    assert "step-too-large" in names(sound(signals=spiked))


def test_what_steps_did_is_not_blamed_on_the_design() -> None:
    vanished = {n: LayerSignals(10.0 ** (3 * i - 9), 0.1, 1e-3) for i, n in enumerate(LAYERS)}
    late = [epoch(1, start=SOUND_START), *measured(layers=vanished)[1:]]
    assert names(sound(signals=late)) == []
    by_design = replace(
        SOUND_START, gradients={n: 10.0 ** (3 * i - 9) for i, n in enumerate(LAYERS)}
    )
    early = [epoch(1, start=by_design, layers=vanished), *measured(layers=vanished)[1:]]
    assert names(sound(signals=early)) == ["vanishing-gradients"]
    exploded = measured(gradient_norm=400.0)
    spiked = epoch(1, losses=(1.2, 500.0, 3.0, 1.1), start=SOUND_START)
    assert names(sound(signals=[spiked, *exploded[1:]])) == ["step-too-large"]
    huge = replace(SOUND_START, gradient_norm=400.0)
    assert "exploding-gradients" in names(sound(signals=[epoch(1, start=huge), *exploded[1:]]))


def test_weights_that_grew_before_are_no_vanishing_gradients() -> None:
    # Long weights before a short last layer: as mien-small's, when it is taught further.
    sizes = {n: (1e-4, 0.1) for n in LAYERS[:-1]} | {LAYERS[-1]: (2e-2, 0.03)}
    layers = {n: LayerSignals(gradient, weight, 1e-3) for n, (gradient, weight) in sizes.items()}
    anew, begun = recipe(), recipe(fit={"init_from": "mien-small"})
    assert names(sound(recipe=anew, signals=measured(layers=layers))) == ["vanishing-gradients"]
    assert names(sound(recipe=begun, signals=measured(layers=layers))) == []
    assert names(sound(recipe=begun, **FAULTS["vanishing-gradients"])) == ["vanishing-gradients"]


def test_decay_that_rules_is_underfitting_and_not_a_step() -> None:
    decayed = recipe(optimizer={"lr": 0.05, "weight_decay": 0.5})
    signals = measured(gain=0.3, lr=0.05)
    evidence = sound(recipe=decayed, signals=signals, **FAULTS["underfitting"])
    (finding,) = diagnose(evidence)
    assert finding.settings == ("optimizer.weight_decay=5e-4",)
    shrunk = measured(gain=0.3, lr=0.05, gradient_norm=400.0)
    evidence = sound(recipe=decayed, signals=shrunk, **FAULTS["underfitting"])
    assert names(evidence) == ["underfitting"]


def test_a_small_gap_is_overfitting_where_training_is_known_by_heart() -> None:
    validation = answers(1000, 0.93, 8)
    assert names(sound(train=answers(2000, 1.0, 7), validation=validation)) == ["overfitting"]
    assert names(sound(train=answers(2000, 0.98, 7), validation=validation)) == []


def test_subjects_on_both_sides_are_a_leak() -> None:
    (finding,) = diagnose(sound(shared_subjects=3))
    assert finding.name == "leak"
    assert "3 subjects" in finding.evidence


def test_a_lower_rate_is_suggested_the_more_steps_overshoot() -> None:
    assert smaller_rate(0.1, 0.4, 1.0) == pytest.approx(0.1 / 3)
    assert smaller_rate(0.1, -3.0, 1.0) == pytest.approx(0.005)
    assert smaller_rate(0.1, 0.8, 10.0) == pytest.approx(0.001)


def test_a_range_test_places_the_rate_and_gives_the_setting() -> None:
    test = RangeTest(
        (1e-5, 1e-4, 1e-3, 1e-2), (1.1, 1.0, 0.8, 3.0), (1.0, 0.9, 0.2, -9.0), 1e-3, 2e-4
    )
    (large,) = diagnose(sound(range_test=test, **FAULTS["step-too-large"]))
    assert large.settings == ("optimizer.lr=0.0002",)
    assert "suggests 0.0002: this rate is 5 times that" in large.evidence
    assert large.plot is not None
    assert large.plot.mark == 1e-3
    assert min(v for v in large.plot.lines["range test"] if v is not None) == -2
    # A suggestion that goes the other way than the finding is not repeated.
    (small,) = diagnose(sound(range_test=test, **FAULTS["step-too-small"]))
    assert small.settings == ("optimizer.lr=0.1",)


def test_without_any_epoch_the_reason_still_stands() -> None:
    evidence = sound(**FAULTS["diverged"])
    train, validation = (replace(a, probs_nk=None) for a in (evidence.train, evidence.validation))
    bare = replace(evidence, history=[], signals=[], train=train, validation=validation)
    assert [f.name for f in diagnose(bare)] == ["diverged"]


def test_confident_error_finds_the_noise_and_not_the_hardness() -> None:
    hard, noisy = answers(4000, 0.7, 1), answers(4000, 0.7, 1, noise=0.25)
    assert hard.probs_nk is not None
    assert noisy.probs_nk is not None
    assert confident_error(hard.y_true_n, hard.probs_nk).high < 0.02
    assert confident_error(noisy.y_true_n, noisy.probs_nk).value == pytest.approx(0.25, abs=0.06)


def test_differences_and_slopes() -> None:
    gap = difference(wilson(900, 1000), wilson(800, 1000))
    assert gap.low < 0.1 < gap.high
    assert gap.low == pytest.approx(0.069, abs=0.002)  # Newcombe's method 10
    assert falling(sound(signals=measured(**FLAT))) == pytest.approx(0, abs=1e-9)
    assert falling(sound()) > 0.1


def test_findings_with_plots_become_a_image() -> None:
    drawn = [f for changes in FAULTS.values() for f in diagnose(sound(**changes)) if f.plot]
    assert len({f.name for f in drawn}) >= 10
    image = draw_findings(drawn, title="faults")
    assert image is not None
    assert image.startswith(b"\x89PNG")
    assert draw_findings(diagnose(sound(repeats=False)), title="none") is None
