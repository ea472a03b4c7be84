"""Remedies of watched loops that say enough to remove the fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.doctor.faults import epoch, healthy, program
from tests.doctor.loops import train
from torch import nn

import mien.doctor.rules  # noqa: F401 - registers the rules
from mien.doctor.evidence import Evidence, Predictions
from mien.doctor.finding import Finding
from mien.doctor.programs.measurements import Settings
from mien.doctor.programs.remedies import for_program
from mien.doctor.rule import RULES
from mien.doctor.thresholds import Thresholds


def judged(name: str, evidence: Evidence) -> Finding:
    outcome = RULES[name].judge(evidence, Thresholds())
    assert isinstance(outcome, Finding)
    return for_program(outcome, evidence)


def held_back(rate: float, steps: int = 400, **settings: Any) -> str:
    """Return the remedy for an optimiser, SGD if not said otherwise, that lacks parameters."""
    values = {"is_plain_sgd": True, "momentum": 0.0, **settings}
    evidence = healthy(
        program=program(not_optimized=("0.weight",), steps=steps, settings=Settings(**values)),
        signals=[epoch(1, lr=rate)],
    )
    return judged("parameters-not-optimized", evidence).remedy


def test_a_repaired_optimiser_must_not_stay_too_slow() -> None:
    assert "use torch.optim.AdamW at 0.003 (" in held_back(1e-3)
    assert "more than 400 steps" in held_back(1e-3)
    assert "use torch.optim.AdamW at 0.001, or" in held_back(1e-3, steps=2000)
    adam: dict[str, Any] = {"is_plain_sgd": False, "momentum": 0.9}
    assert held_back(1e-3, **adam).endswith("tried on them: in 400 steps Adam may need 0.003.")
    enough = [held_back(0.1), held_back(1e-3, momentum=0.9), held_back(2e-3, **adam),
              held_back(1e-3, steps=2000, **adam), held_back(1e-5, **adam)]  # fmt: skip
    assert not any("Adam" in text for text in enough)


def merged(trained: list[float], taken: int) -> Finding:
    """Return the finding on class 1 without an example, whose validation ones are taken for one."""
    truth = np.arange(300) % 3
    guess = np.where(truth == 1, taken, truth)
    held = Predictions(truth, np.eye(3)[guess] + 0.01, np.eye(3)[guess] + 0.01)
    evidence = healthy(program=program(), class_counts_k=np.array(trained), validation=held)
    return judged("class-imbalance", evidence)


def test_a_class_that_was_merged_into_another_is_named_with_it() -> None:
    found = merged([300.0, 0.0, 600.0], 2)
    one, two = found.numbers["class"], found.numbers["merged_into"]
    assert found.remedy.startswith(
        f"Correct the mapping of the training labels: it seems to turn {one} into {two}."
    )
    assert "makes up 67% of training and 33% of validation" in found.evidence


def test_a_class_without_examples_is_not_merged() -> None:
    # Its validation examples are taken for another class, which is as common as it should be.
    for found in (merged([450.0, 0.0, 450.0], 2), merged([300.0, 0.0, 600.0], 0)):
        assert found.numbers["merged_into"] is None
        assert found.remedy.startswith("Add examples of the missing class")


def test_large_batches_are_told_to_become_smaller() -> None:
    truth = np.arange(300) % 3
    flat = Predictions(truth, np.full((300, 3), 1 / 3), np.eye(3)[truth] + 0.01)
    large = "Use smaller batches, such as 32, or train longer: 15 steps with batches of 1,348 are"
    for size, start in (
        (1348, large),
        (32, "Train longer, until the validation loss stops falling: 15 steps are few."),
    ):
        evidence = healthy(program=program(steps=15, batch_size=size), train=flat)
        assert judged("underfitting", evidence).remedy.startswith(start)


def noise(copies: int, of_class: int, labelled: int) -> Finding | None:
    """Watch a training in which examples of a class come a second time with another label."""
    torch.manual_seed(0)
    y = torch.arange(360) % 3
    x = torch.randn(360, 12)
    x[torch.arange(360), y] += 4
    rows = torch.nonzero(y[:240] == of_class).flatten()[:copies]
    # The first three quarters are trained on: the copies come first.
    x, y = torch.cat([x[rows], x]), torch.cat([torch.full((len(rows),), labelled), y])
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    watch = train(model, nn.CrossEntropyLoss(), x, y, epochs=5, lr=1e-2, batch=32)
    return next((f for f in watch.report().findings if f.name == "label-noise"), None)


@pytest.mark.parametrize(("copies", "pair"), [(80, ("class 0", "class 2")), (30, (None, None))])
def test_copies_with_another_label_are_named(
    copies: int, pair: tuple[str | None, str | None]
) -> None:
    found = noise(copies, 0, 2)
    assert found is not None
    assert (found.numbers["kept"], found.numbers["copied_as"]) == pair
    assert found.remedy.startswith("Look at the examples that occur twice, and keep one label each")
    assert ("leave these copies in class 2 out" in found.remedy) == (pair[0] is not None)
