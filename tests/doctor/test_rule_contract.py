"""The contract that every registered rule keeps; a new rule is tested here without further code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.doctor.faults import FAULTS, healthy, program

from mien.doctor import requirements
from mien.doctor.diagnose import apply_rules, diagnose
from mien.doctor.evidence import Evidence, PixelStatistics, Predictions
from mien.doctor.finding import Finding
from mien.doctor.requirements import Requirement
from mien.doctor.rule import RULES, Abstention, rule
from mien.doctor.thresholds import Thresholds
from mien.train.networks.registry import network_options
from mien.train.recipe.convert import apply_setting
from mien.train.recipe.recipe import recipe_from_dict

ROOT = Path(__file__).parents[2]
LIMITS = Thresholds()
EXPERIMENTS = ("too-little-data",)
"""Findings of `mien doctor --deep` that no rule has."""
NO_LABELS = Predictions(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)))
NO_PIXELS = PixelStatistics(0.0, 0.0, 0.0, np.zeros(0), np.zeros(0))


def signals(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(e, signals=[replace(epoch, **changes) for epoch in e.signals])


def unpredicted(split: str) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(e, **{split: replace(getattr(e, split), probs_nk=None)})


WITHOUT: dict[str, Callable[[Evidence], Evidence]] = {
    "epochs": lambda e: replace(e, history=[]),
    "losses": signals(losses=()),
    "measured steps": signals(measured=0),
    "measured steps or losses": signals(measured=0, losses=()),
    "gradient norms": signals(gradient_norm=None),
    "layers": signals(layers={}),
    "activations": signals(stuck={}),
    "training predictions": unpredicted("train"),
    "validation predictions": unpredicted("validation"),
    "baseline": lambda e: replace(e, train=NO_LABELS),
    "baseline of each split": lambda e: replace(e, train=NO_LABELS),
    "scores beside the baseline's": unpredicted("train"),
    "scores of both splits": unpredicted("validation"),
    "validation labels": lambda e: replace(e, validation=NO_LABELS),
    "pixels": lambda e: replace(e, pixels={"train": NO_PIXELS, "validation": NO_PIXELS}),
    "duplicate search": lambda e: replace(e, duplicates=(0.0, 0)),
    "split comparison": lambda e: replace(e, domain_shift_auc=float("nan")),
    "class counts": lambda e: replace(e, class_counts_k=np.zeros(3)),
    "classes that are no tokens": lambda e: replace(e, program=program(vocabulary=True)),
    "replay": lambda e: replace(e, is_reproducible=None),
    "watched loop": lambda e: replace(e, program=None),
}
"""The evidence of a healthy run without what a requirement asks for, by its name."""


def planted(name: str) -> Finding:
    outcome = RULES[name].judge(healthy(**FAULTS[name]), LIMITS)
    assert isinstance(outcome, Finding)
    return outcome


def test_every_rule_has_a_planted_fault() -> None:
    assert set(RULES) == set(FAULTS)


def test_every_requirement_can_be_missing() -> None:
    declared = [v for v in vars(requirements).values() if isinstance(v, Requirement)]
    assert {need.name for need in declared} == set(WITHOUT)
    used = {need.name for one in RULES.values() for need in one.needs}
    assert used == set(WITHOUT)


def test_a_healthy_run_has_no_finding_and_every_rule_can_judge_it() -> None:
    diagnosis = apply_rules(healthy(program=program()))
    assert diagnosis.findings == []
    assert diagnosis.not_judged == {}
    run = apply_rules(healthy())
    assert run.findings == []
    about_loops = {name for name in RULES if requirements.PROGRAM in RULES[name].needs}
    assert set(run.not_judged) == about_loops


@pytest.mark.parametrize("name", RULES)
def test_a_rule_abstains_with_a_reason_without_its_evidence(name: str) -> None:
    for need in RULES[name].needs:
        # With its fault planted: missing evidence must win over what else would raise it.
        for evidence in (healthy(), healthy(**FAULTS[name])):
            lacking = WITHOUT[need.name](evidence)
            if need.is_met(lacking):
                continue  # the fault itself is evidence, such as the reason of a failed run
            outcome = RULES[name].judge(lacking, LIMITS)
            assert isinstance(outcome, Abstention)
            assert len(outcome.reason.split()) > 3
            assert not outcome.reason.endswith(".")
        assert not need.is_met(WITHOUT[need.name](healthy()))


@pytest.mark.parametrize("name", RULES)
def test_a_planted_fault_raises_its_finding(name: str) -> None:
    finding = planted(name)
    assert finding in diagnose(healthy(**FAULTS[name]))
    assert finding.name == name
    assert finding.severity in RULES[name].severities
    assert finding.evidence.endswith(".")
    assert finding.remedy.endswith(".")
    # A replay has one outcome: it gives neither a figure nor a plot.
    if name != "not-reproducible":
        assert re.search(r"\d", finding.evidence)
        assert finding.numbers
        assert finding.plot is not None
    json.dumps(finding.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", RULES)
def test_a_remedy_names_recipe_keys_or_commands_that_exist(name: str) -> None:
    finding = planted(name)
    if requirements.PROGRAM in RULES[name].needs:
        assert finding.settings == ()  # a loop has code, not recipe keys
        assert "mien" not in finding.remedy
        return
    commands = re.findall(r"\bmien ((?:data )?[a-z]+)", finding.remedy)
    assert finding.settings or commands
    for setting in finding.settings:
        values: dict[str, Any] = {"name": name, "network": {"name": "poster"}}
        apply_setting(values, setting)
        changed = recipe_from_dict(values)
        network_options(changed.network.name, changed.network.options)
    for command in commands:
        assert command in COMMANDS


COMMANDS = {"data import", "data audit", "data show", "doctor"}


def test_the_commands_of_the_remedies_exist() -> None:
    from mien.cli.application import command_line

    for command in COMMANDS:
        found: Any = command_line()
        for part in command.split():
            found = found.commands[part]


@pytest.mark.parametrize("name", [*RULES, *EXPERIMENTS])
def test_a_finding_has_a_section_in_the_docs(name: str) -> None:
    text = (ROOT / "docs" / "doctor-findings.md").read_text(encoding="utf-8")
    assert re.search(rf"^### {name}\n", text, re.MULTILINE)


def test_the_docs_name_no_rule_that_is_gone() -> None:
    text = (ROOT / "docs" / "doctor-findings.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^### (\S+)$", text, re.MULTILINE))
    assert sections == {*RULES, *EXPERIMENTS}
    listed = re.findall(r"\[([a-z-]+)\]\(#\1\)", text.split("## ", 1)[0])
    assert sorted(listed) == sorted(sections)


@pytest.mark.parametrize("name", RULES)
def test_the_declared_docs_lead_to_the_rule_s_section(name: str) -> None:
    file, anchor = RULES[name].docs.split("#")
    assert f"### {anchor}\n" in (ROOT / file).read_text(encoding="utf-8")


def test_findings_are_explained_by_rules_that_exist() -> None:
    for one in RULES.values():
        assert one.explained_by <= set(RULES) - {one.name}
        assert one.follows <= set(RULES) - {one.name} - one.explained_by
        # No circle: what it may follow from follows from nothing.
        assert all(not RULES[cause].follows for cause in one.follows)


def test_a_rule_is_registered_once_and_declares_what_it_needs() -> None:
    with pytest.raises(ValueError, match="'overfitting' is registered already"):
        rule("overfitting", needs=(requirements.EPOCHS,))
    with pytest.raises(ValueError, match="declare the evidence"):
        rule("a-new-rule", needs=())
