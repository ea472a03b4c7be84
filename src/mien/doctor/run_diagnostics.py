"""A visit to the doctor: look at a run, name what is wrong, write it down: read `visit` first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import gather
from mien.doctor.figure import draw_findings
from mien.doctor.replay import repeats
from mien.errors import TrainingError
from mien.files import write_bytes, write_json
from mien.train.loop.find_lr import find_lr, read_range_test, write_range_test

if TYPE_CHECKING:
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.doctor.finding import Finding
    from mien.train.loop.find_lr import RangeTest
    from mien.train.run.folder import RunFolder

JSON, IMAGE = "doctor.json", "doctor.png"
ABOUT_RATE = frozenset({"step-too-large", "step-too-small", "diverged"})


def visit(run: RunFolder, dataset: Dataset, *, test_rates: bool = False) -> list[Finding]:
    """Return what is wrong with a run, and leave doctor.json and doctor.png in its folder.

    Args:
        run: finished, interrupted or failed.
        dataset: it was trained on.
        test_rates: make a range test of learning rates where a finding is about the rate and
            none was made; it is left in the run's folder.

    Raises:
        RunFolderError: the folder is damaged.
        DataError: the data cannot be trained on with the run's recipe.
        WriteError: the two files could not be written.
    """
    evidence = replace(
        gather(run, dataset), repeats=repeats(run, dataset), range_test=read_range_test(run.path)
    )
    findings = diagnose(evidence)
    about_rate = any(finding.name in ABOUT_RATE for finding in findings)
    if test_rates and about_rate and evidence.range_test is None:
        evidence = replace(evidence, range_test=_tested(run, dataset))
        findings = diagnose(evidence)
    write_findings(run, findings)
    return findings


def _tested(run: RunFolder, dataset: Dataset) -> RangeTest | None:
    try:
        test = find_lr(run.recipe, dataset)
    except TrainingError:
        return None  # the loss is no number at any rate, which other findings say
    write_range_test(test, run.path)
    return test


def write_findings(run: RunFolder, findings: list[Finding], **more: Any) -> None:
    """Write doctor.json, and doctor.png where a finding has a plot."""
    write_json(run.path / JSON, {"findings": [finding.to_dict() for finding in findings], **more})
    image = draw_findings(findings, title=f"{run.recipe.name}: what the doctor found")
    path: Path = run.path / IMAGE
    if image is None:
        path.unlink(missing_ok=True)
    else:
        write_bytes(path, image)
