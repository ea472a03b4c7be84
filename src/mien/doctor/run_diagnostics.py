"""Diagnose a training run and write what was found: read `run_diagnostics` first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.doctor.diagnose import apply_rules, own_rules
from mien.doctor.evidence import gather
from mien.doctor.figure import draw_findings
from mien.doctor.replay import is_reproducible
from mien.doctor.report import Report
from mien.errors import TrainingError
from mien.files import read_json, write_bytes, write_json
from mien.train.loop.find_lr import find_lr, read_range_test, write_range_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.train.loop.find_lr import RangeTest
    from mien.train.run.folder import RunFolder

JSON, IMAGE = "doctor.json", "doctor.png"
ABOUT_LEARNING_RATE = frozenset({"learning-rate-too-high", "learning-rate-too-low", "diverged"})


def run_diagnostics(run: RunFolder, dataset: Dataset, *, test_rates: bool = False) -> list[Finding]:
    """Return what is wrong with a run, and write doctor.json and doctor.png into its folder.

    doctor.json also names the rules that could not judge the run, with the reason.

    Args:
        run: finished, interrupted or failed.
        dataset: that it was trained on.
        test_rates: make a learning-rate range test where a finding is about the learning rate and
            the run's folder holds none; the test is written into that folder.

    Raises:
        RunFolderError: the folder is damaged.
        DataError: the data do not fit the run's recipe.
        WriteError: the two files could not be written.
    """
    evidence = replace(
        gather(run, dataset),
        is_reproducible=is_reproducible(run, dataset),
        range_test=read_range_test(run.path),
    )
    diagnosis = apply_rules(evidence)
    about_rate = any(finding.name in ABOUT_LEARNING_RATE for finding in diagnosis.findings)
    # A range test costs a short training: only where it answers a question.
    if test_rates and about_rate and evidence.range_test is None:
        evidence = replace(evidence, range_test=_range_test(run, dataset))
        diagnosis = apply_rules(evidence)
    write_findings(run, diagnosis.findings, diagnosis.not_judged)
    return diagnosis.findings


def _range_test(run: RunFolder, dataset: Dataset) -> RangeTest | None:
    try:
        test = find_lr(run.recipe, dataset)
    except TrainingError:
        return None  # the loss is NaN at any rate: other findings say why
    write_range_test(test, run.path)
    return test


def report_of(run: RunFolder, findings: Sequence[Finding]) -> Report:
    """Return findings as a report, with the rules that could not judge the run by its doctor.json.

    Rules about watched loops do not count: they are for trainings that are not mien's.

    Args:
        run: that was diagnosed before.
        findings: of the run.

    Raises:
        SourceError: doctor.json is missing or damaged.
    """
    known = read_json(run.path / JSON).get("not_judged", {})
    rules = [rule.name for rule in own_rules()]
    return Report(
        f"{run.recipe.name}: findings of the doctor",
        tuple(findings),
        not_judged={name: known[name] for name in rules if name in known},
        rules=len(rules),
    )


def write_findings(
    run: RunFolder, findings: Sequence[Finding], not_judged: Mapping[str, str] | None = None
) -> None:
    """Write doctor.json, and doctor.png where a finding has a plot.

    Args:
        run: its folder gets the files.
        findings: to write.
        not_judged: name of each rule that abstained → the reason; None keeps what an earlier
            doctor.json says, for findings that are added to it.

    Raises:
        SourceError: the earlier doctor.json is damaged.
        WriteError: a file could not be written.
    """
    path: Path = run.path / JSON
    if not_judged is None:
        not_judged = read_json(path).get("not_judged", {}) if path.exists() else {}
    values = {"findings": [finding.to_dict() for finding in findings], "not_judged": not_judged}
    write_json(path, values)
    image = draw_findings(findings, title=f"{run.recipe.name}: findings of the doctor")
    if image is None:
        # A plot of an earlier diagnosis would contradict the new doctor.json.
        (run.path / IMAGE).unlink(missing_ok=True)
    else:
        write_bytes(run.path / IMAGE, image)
